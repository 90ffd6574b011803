"""The starts of a quest for extreme cells: edge cells, generated, random, plates.

Each is an `Extreme` with its binary shape before anything is optimized, beside the
density that the design loop begins with. Samples and shapes are kept in files, so that
a killed run does not make them again.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.design.generate.search import search
from mmdiff.design.optimize import starts
from mmdiff.design.optimize.method import Method
from mmdiff.design.optimize.resumable import Outcome
from mmdiff.run import console, saved
from mmdiff.targets.target import of_constants
from mmdiff.topopt import binary
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import Float, Key

Evaluate = Callable[..., Evaluation]
# A start that is not optimized has no density.
Start = tuple[Extreme, Float[np.ndarray, "n n n"] | None]


@dataclasses.dataclass(frozen=True)
class StartCounts:
    """How many starts are made, and of which seed.

    Attributes:
      starts: generated starts, and as many random ones.
      edges: edge cells that are optimized themselves.
      plates: plate lattices that are optimized.
      waves: highest wave number of random starts.
      seed: of random starts.
    """

    starts: int
    edges: int
    plates: int
    waves: int
    seed: int


def make_starts(
    quest: Quest,
    rows: Sequence[int],
    data: Dataset,
    *,
    counts: StartCounts,
    network: Network,
    method: Method,
    key: Key,
    state: pathlib.Path,
) -> list[Start]:
    """Return all starts of a quest: edge cells, generated, random, plates.

    Args:
      quest: what is asked.
      rows: edge cells of the dataset, see `edges.edge_rows`.
      data: the dataset.
      counts: how many of each kind.
      network: draws the generated ones.
      method: how designs are found.
      key: of the samples.
      state: folder of what is kept.
    """
    n, evaluate = method.n, method.evaluate
    edges = edge_starts(quest, rows, data, n)
    generated = generated_starts(
        state / f"generated_{quest.name}.npz",
        quest,
        edges,
        jax.random.fold_in(key, 0),
        network,
        count=counts.starts,
        n=n,
    )
    if len(generated) < counts.starts:
        console.note(
            f"{quest.name}: {len(generated)} of {counts.starts} generated starts are "
            "connected cells."
        )
    random = random_starts(
        state / f"random_{quest.name}.npz", quest, n, evaluate, counts
    )
    plates = plate_starts(state / f"plates_{quest.volume:g}.npz", quest, n, evaluate)
    return [
        *_some(edges, counts.edges),
        *generated,
        *random,
        *_some(plates, counts.plates),
    ]


def _some(found: Sequence[Start], count: int) -> list[Start]:
    """Return starts of which only the first `count` are to be optimized."""
    return [
        (start, grid if i < count else None) for i, (start, grid) in enumerate(found)
    ]


def density(octant: np.ndarray, n: int) -> Float[np.ndarray, "n n n"]:
    """Return a binary octant of n or n / 2 voxels a side as a start."""
    return starts.soften(octant) if octant.shape[0] == n else binary.doubled(octant)


def shape_of(octant: np.ndarray, evaluate: Evaluate) -> Shape:
    """Return an octant with its constants, NaN where it bears no load."""
    if not is_load_bearing(octant):
        return Shape(octant, np.full(3, np.nan))
    return solved(octant, evaluate(octant))


def solved(octant: np.ndarray, result: Evaluation | Outcome) -> Shape:
    """Return an octant with the constants of a result, NaN if it did not converge."""
    constants = np.asarray(result.constants, np.float64)
    return Shape(octant, np.where(result.converged, constants, np.nan))


def edge_starts(
    quest: Quest, rows: Sequence[int], data: Dataset, n: int
) -> list[Start]:
    """Return cells of a dataset as starts; see `edges.edge_rows`.

    Args:
      quest: what is asked.
      rows: numbers of the cells.
      data: the dataset.
      n: voxels per side of the starts.
    """
    shapes = [Shape(data.octants[row], data.constants[row]) for row in rows]
    return [
        (
            Extreme(quest.name, "edge", i, f"dataset {row}", shape),
            density(shape.octant, n),
        )
        for i, (row, shape) in enumerate(zip(rows, shapes, strict=True))
    ]


def generated_starts(
    file: pathlib.Path,
    quest: Quest,
    edges: Sequence[Start],
    key: Key,
    network: Network,
    *,
    count: int,
    n: int,
) -> list[Start]:
    """Return cells that a model draws for the properties of edge cells, as sampled.

    Args:
      file: where they are kept.
      quest: what is asked.
      edges: the edge cells, which the starts are divided over.
      key: of the samples.
      network: the model; compiled only where samples are drawn.
      count: most starts; refused samples may leave fewer.
      n: voxels per side of the starts.
    """
    known = saved.once(file, lambda: _drawn(edges, key, network, count))
    columns = (known[name] for name in ("source", "octant", "constants", "spent"))
    found = []
    for i, row in enumerate(zip(*columns, strict=True)):
        source, octant, constants, spent = row
        start = Extreme(
            quest.name,
            "generated",
            i,
            f"for {source}",
            Shape(octant, constants),
            spent=int(spent),
        )
        found.append((start, density(octant, n)))
    return found


def _drawn(edges, key, network, count) -> dict[str, np.ndarray]:
    """Return cells drawn for edge cells, with their sources and what they cost."""
    parts = np.array_split(np.arange(count), len(edges))
    rows = []
    for i, (part, (edge, _)) in enumerate(zip(parts, edges, strict=True)):
        cells, counts = search(
            jax.random.fold_in(key, i),
            of_constants(edge.before.constants, edge.before.volume),
            draw=network.draw,
            evaluate=network.evaluate,
            num_best=len(part),
        )
        # Samples that were refused have been paid for as well.
        each = network.solutions(network.steps) + 1
        paid = round(counts["sampled"] * each / max(len(cells), 1))
        rows += [(edge.source, cell, paid) for cell in cells]
    m = edges[0][0].before.octant.shape[0]
    octants = np.array([cell.octant for _, cell, _ in rows], np.uint8)
    return {
        "source": np.array([source for source, _, _ in rows], "U32"),
        "octant": octants.reshape(-1, m, m, m),
        "constants": np.array([c.constants for _, c, _ in rows]).reshape(-1, 3),
        "spent": np.array([paid for _, _, paid in rows], int),
    }


def random_starts(
    file: pathlib.Path,
    quest: Quest,
    n: int,
    evaluate: Evaluate,
    counts: StartCounts,
) -> list[Start]:
    """Return smooth random densities; their shapes are those of the quest's volume.

    Args:
      file: where their shapes are kept.
      quest: what is asked.
      n: voxels per side.
      evaluate: finite elements on octants of this size.
      counts: how many, of which wave number and seed.
    """
    made = starts.random_starts(
        counts.starts, n, quest.volume, waves=counts.waves, seed=counts.seed
    )

    def shapes():
        octants = [binary.binarize(grid, quest.volume)[0] for _, grid in made]
        constants = [shape_of(octant, evaluate).constants for octant in octants]
        return {"octant": octants, "constants": constants}

    known = saved.once(file, shapes)
    triples = zip(known["octant"], known["constants"], made, strict=True)
    return [
        (Extreme(quest.name, "random", i, "random", Shape(octant, constants)), grid)
        for i, (octant, constants, (_, grid)) in enumerate(triples)
    ]


def plate_starts(
    file: pathlib.Path, quest: Quest, n: int, evaluate: Evaluate
) -> list[Start]:
    """Return plate lattices of the quest's volume, isotropic mixtures first."""
    lattices = starts.stored_plates(file, n, quest.volume, evaluate)
    return [
        (Extreme(quest.name, "plates", i, name, Shape(*known)), density(known[0], n))
        for i, (name, known) in enumerate(lattices.items())
    ]
