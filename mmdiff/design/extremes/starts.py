"""The starts of a quest for extreme cells: edge cells, generated, random, plates.

Each is an `Extreme` with its shape before anything is optimized. All but random ones
are cells whose surface is moved on; a random one is a density, which design steps turn
into a cell first. These do not depend on what a printer asks, and serve all quests of
one aim. Samples, designs and shapes are kept in files, so that a killed run does not
make them again.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.cells import grey
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.design.generate.search import in_turn, search
from mmdiff.design.optimize import starts
from mmdiff.design.optimize.method import Method
from mmdiff.fem import accuracy
from mmdiff.run import console, saved
from mmdiff.targets.target import of_constants
from mmdiff.topopt import finish
from mmdiff.typing import Float, Key


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What the quests of a run share."""

    data: Dataset  # of the edge cells
    network: Network
    method: Method
    folder: pathlib.Path
    num_starts: int  # generated ones, and as many random ones
    num_edges: int  # edge cells that are optimized themselves
    num_plates: int  # plate lattices that are optimized
    waves: int = 4  # highest wave number of random starts
    seed: int = 0  # of random starts
    workers: int = 0  # processes for the starts, 0 for one on every core
    recheck: bool = False  # whether best cells are homogenized on finer grids, too

    @property
    def state(self) -> pathlib.Path:
        """Folder of what is kept."""
        return self.folder / "state"


def make_starts(
    quest: Quest, rows: Sequence[int], key: Key, setup: Setup
) -> list[tuple[Extreme, bool]]:
    """Return all starts of a quest, and whether each is to be optimized.

    Edge cells, generated, random ones, plates. The rows are those of edge cells of the
    dataset; the key is that of the samples.
    """
    edges = edge_starts(quest, rows, setup)
    generated = generated_starts(quest, edges, jax.random.fold_in(key, 0), setup)
    if len(generated) < setup.num_starts:
        console.note(
            f"{quest.name}: {len(generated)} of {setup.num_starts} generated starts "
            "are connected cells."
        )
    random, plates = random_starts(quest, setup), plate_starts(quest, setup)
    counts = [setup.num_edges, len(generated), len(random), setup.num_plates]
    return [
        (start, i < count)
        for kind, count in zip((edges, generated, random, plates), counts, strict=True)
        for i, start in enumerate(kind)
    ]


def shape_of(psi: Float[np.ndarray, "n n n"]) -> Shape:
    """Return a field with the constants of its surface, NaN where it bears no load."""
    if grey.connected(psi)[1]:
        return Shape(psi, np.full(3, np.nan))
    result = accuracy.estimate(psi)
    return Shape(psi, np.where(result.converged, result.constants, np.nan))


def _shapes(file: pathlib.Path, make: Callable[[], Sequence]) -> list[Shape]:
    """Return the shapes of fields, from a file if they were made before."""

    def made():
        shapes = [shape_of(psi) for psi in make()]
        return {
            "psi": [shape.psi for shape in shapes],
            "constants": [shape.constants for shape in shapes],
        }

    known = saved.once(file, made)
    return [Shape(*one) for one in zip(known["psi"], known["constants"], strict=True)]


def edge_starts(quest: Quest, rows: Sequence[int], setup: Setup) -> list[Extreme]:
    """Return cells of the dataset as starts, as they are; see `edges.edge_rows`."""
    data, found = setup.data, []
    for i, row in enumerate(rows):
        shape = Shape(data.fields(row), data.constants[row])
        found.append(Extreme(quest.name, "edge", i, f"dataset {row}", shape))
    return found


def generated_starts(
    quest: Quest, edges: Sequence[Extreme], key: Key, setup: Setup
) -> list[Extreme]:
    """Return cells that the model draws for the properties of edge cells, as sampled.

    They are divided over the edge cells; refused samples may leave fewer. The network
    is compiled only where samples are drawn.
    """
    count, network = setup.num_starts, setup.network
    file = setup.state / f"generated_{quest.aim}_{quest.void}.npz"
    open_void = quest.printing.drainable
    known = saved.once(file, lambda: _drawn(edges, key, network, count, open_void))
    found = []
    for i, psi in enumerate(known["psi"]):
        shape, text = Shape(psi, known["constants"][i]), f"for {known['source'][i]}"
        spent = int(known["spent"][i])
        found.append(Extreme(quest.name, "generated", i, text, shape, spent=spent))
    return found


def _drawn(edges, key, network, count, drainable) -> dict[str, np.ndarray]:
    """Return cells drawn for edge cells, with their sources and what they cost."""
    parts = np.array_split(np.arange(count), len(edges))
    rows = []
    for i, (part, edge) in enumerate(zip(parts, edges, strict=True)):
        cells, counts = search(
            jax.random.fold_in(key, i),
            of_constants(edge.before.constants, edge.before.volume),
            draw=network.make_draw(drainable=drainable),
            check=in_turn(network.check),
            num_best=len(part),
        )
        # Samples that were refused have been paid for as well.
        each = network.solutions(network.steps) + 1
        paid = round(counts["sampled"] * each / max(len(cells), 1))
        rows += [(edge.source, cell, paid) for cell in cells]
    fields = np.array([cell.psi for _, cell, _ in rows])
    return {
        "source": np.array([source for source, _, _ in rows], "U32"),
        "psi": fields.reshape(-1, network.n, network.n, network.n),
        "constants": np.array([c.constants for _, c, _ in rows]).reshape(-1, 3),
        "spent": np.array([paid for _, _, paid in rows], int),
    }


def random_starts(quest: Quest, setup: Setup) -> list[Extreme]:
    """Return smooth random densities as cells of the quest's volume."""

    def fields():
        grids = densities(quest, setup)
        return [finish.field_of(np.float64(g), quest.volume)[0] for g in grids]

    shapes = _shapes(setup.state / f"random_{quest.aim}.npz", fields)
    return [
        Extreme(quest.name, "random", i, "random", shape)
        for i, shape in enumerate(shapes)
    ]


def densities(quest: Quest, setup: Setup) -> list[Float[np.ndarray, "n n n"]]:
    """Return the densities that the designs of random starts begin with."""
    options = {"waves": setup.waves, "seed": setup.seed}
    count, n = setup.num_starts, setup.method.n
    made = starts.random_starts(count, n, quest.volume, **options)
    return [grid for _, grid in made]


def plate_starts(quest: Quest, setup: Setup) -> list[Extreme]:
    """Return plate lattices of the quest's volume, isotropic mixtures first."""
    n, file = setup.method.n, setup.state / f"plates_{quest.volume:g}.npz"
    lattices = starts.plate_lattices(file, n, quest.volume)
    return [
        Extreme(quest.name, "plates", i, name, Shape(psi, known))
        for i, (name, (psi, known, *_)) in enumerate(lattices.items())
    ]
