"""The starts of a quest for extreme cells: edge cells, generated, random, plates.

Each is an `Extreme` that knows its binary shape before anything is optimized, beside
the density that the design loop begins with. What costs time is kept in files, so that
a killed run does not make it again.
"""

import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.cells.voxels import agreement, pack
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.design.generate import pipeline
from mmdiff.design.optimize import starts
from mmdiff.errors import InputError
from mmdiff.run import saved
from mmdiff.targets.target import of_constants
from mmdiff.topopt import binary
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import Float, Key, UInt8

Evaluate = Callable[..., Evaluation]
Start = tuple[Extreme, Float[np.ndarray, "n n n"]]


def density(octant: np.ndarray, n: int) -> Float[np.ndarray, "n n n"]:
    """Return a binary octant of n or n / 2 voxels a side as a start."""
    return starts.soften(octant) if octant.shape[0] == n else binary.doubled(octant)


def shape_of(octant: np.ndarray, evaluate: Evaluate) -> Shape:
    """Return an octant with its constants, NaN where it bears no load."""
    result = evaluate(octant) if is_load_bearing(octant) else None
    if result is None or not result.converged:
        return Shape(octant, np.full(3, np.nan))
    return Shape(octant, np.asarray(result.constants))


def edge_rows(
    quest: Quest,
    octants: UInt8[np.ndarray, "N n n n"],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    *,
    count: int,
    band: float,
    isotropy: float,
    alike: float,
) -> list[int]:
    """Return the rows of the best cells near a quest, best first, mutually different.

    Args:
      quest: what is asked.
      octants: of the dataset.
      constants: of the dataset.
      volume: of the dataset.
      count: rows wanted.
      band: largest difference from the quest's volume.
      isotropy: half width of the band of the Zener ratio around 1, where it is asked.
      alike: share of equal voxels from which two cells count as one.

    Raises:
      InputError: no cell of the dataset is near.
    """
    moduli = elasticity.moduli(constants)
    allowed = abs(volume - quest.volume) <= band
    if quest.is_isotropic:
        allowed &= abs(np.log(moduli["zener"])) <= math.log1p(isotropy)
    else:
        allowed &= moduli["E"] >= quest.limits.young
    shares = bounds.hashin_shtrikman_ratios(constants, volume)
    if quest.is_isotropic:
        merit = shares[quest.goal.label[0]]
    else:
        merit = quest.merit(moduli["nu"])
    near = np.flatnonzero(allowed)
    chosen: list[int] = []
    for row in near[np.argsort(-merit[near], kind="stable")]:
        if len(chosen) == count:
            break
        known = pack(octants[chosen]) if chosen else []
        if all(
            agreement(octants[row], one[None], half_shift=True)[0] < alike
            for one in known
        ):
            chosen.append(int(row))
    if not chosen:
        raise InputError(
            f"no cell of the dataset is near the quest {quest.name!r} at volume "
            f"{quest.volume:g}. Widen --config.edge_band={band:g} or "
            f"--config.edge_isotropy={isotropy:g}."
        )
    return chosen


def edge_starts(quest: Quest, rows: Sequence[int], octants, constants, n: int):
    """Return cells of a dataset as starts; see `edge_rows`.

    Args:
      quest: what is asked.
      rows: numbers of the cells.
      octants: (N, m, m, m) of the dataset.
      constants: (N, 3) of the dataset.
      n: voxels per side of the starts.
    """
    return [
        (
            Extreme(
                quest.name,
                "edge",
                i,
                f"dataset {row}",
                Shape(octants[row], np.asarray(constants[row])),
            ),
            density(octants[row], n),
        )
        for i, row in enumerate(rows)
    ]


def generated_starts(
    file: pathlib.Path,
    quest: Quest,
    edges: Sequence[Start],
    key: Key,
    make_draw: Callable[[], Callable],
    evaluate: Evaluate,
    *,
    count: int,
    spent: int,
    n: int,
) -> list[Start]:
    """Return cells that a model draws for the properties of edge cells, as sampled.

    Args:
      file: where they are kept.
      quest: what is asked.
      edges: the edge cells, which the starts are divided over.
      key: of the samples.
      make_draw: returns the sampler of a batch; called only where samples are drawn.
      evaluate: finite elements on octants of the model's size.
      count: starts wanted; refused samples may leave fewer.
      spent: finite-element solutions of one sample, its homogenization aside.
      n: voxels per side of the starts.
    """
    held = saved.load_if_good(file)
    if held is None:
        parts = np.array_split(np.arange(count), len(edges))
        rows = []
        for i, (part, (edge, _)) in enumerate(zip(parts, edges, strict=True)):
            cells, counts = pipeline.generate(
                jax.random.fold_in(key, i),
                of_constants(edge.before.constants, edge.before.volume),
                draw=make_draw(),
                evaluate=evaluate,
                num_best=len(part),
            )
            # Samples that were refused have been paid for as well.
            paid = round(counts["sampled"] * (spent + 1) / max(len(cells), 1))
            rows += [(edge.source, cell, paid) for cell in cells]
        m = edges[0][0].before.octant.shape[0]
        held = {
            "source": np.array([source for source, _, _ in rows], "U32"),
            "octant": np.array([cell.octant for _, cell, _ in rows], np.uint8).reshape(
                -1, m, m, m
            ),
            "constants": np.array([c.constants for _, c, _ in rows]).reshape(-1, 3),
            "spent": np.array([paid for _, _, paid in rows], int),
        }
        saved.save(file, held)
    columns = (held[name] for name in ("source", "octant", "constants", "spent"))
    return [
        (
            Extreme(
                quest.name,
                "generated",
                i,
                f"for {source}",
                Shape(octant, constants),
                spent=int(paid),
            ),
            density(octant, n),
        )
        for i, (source, octant, constants, paid) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def random_starts(
    file: pathlib.Path,
    quest: Quest,
    n: int,
    evaluate: Evaluate,
    *,
    count: int,
    waves: int,
    seed: int,
) -> list[Start]:
    """Return smooth random densities; their shapes are those of the quest's volume.

    Args:
      file: where their shapes are kept.
      quest: what is asked.
      n: voxels per side.
      evaluate: finite elements on octants of this size.
      count: starts wanted.
      waves: see `initial.random_start`.
      seed: of the densities.
    """
    made = starts.random_starts(count, n, quest.volume, waves=waves, seed=seed)
    held = saved.load_if_good(file)
    if held is None:
        shapes = [
            shape_of(binary.binarize(grid, quest.volume)[0], evaluate)
            for _, grid in made
        ]
        held = {
            "octant": np.stack([shape.octant for shape in shapes]),
            "constants": np.stack([shape.constants for shape in shapes]),
        }
        saved.save(file, held)
    triples = zip(held["octant"], held["constants"], made, strict=True)
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
