"""From a target to ranked, finite-element-checked binary cells.

Samples of the diffusion model are thresholded, freed of loose pieces, refused when they
do not carry load, homogenized, and ranked by their distance from the target. The
surface of the best is then moved until they meet it (`mmdiff.topopt.interface`).
Nothing is returned that is not one piece, load bearing and verified; refused samples
are counted and replaced by new ones. With a time budget this goes on, batch after
batch, until the budget is used or every cell wanted meets the target.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable

import jax
import numpy as np
from scipy import ndimage

from mmdiff.design import target as targets
from mmdiff.design.target import Target
from mmdiff.symmetry import octant_to_cell, symmetrize
from mmdiff.topopt import interface
from mmdiff.topopt.interface import Evaluation
from mmdiff.voxels import (
    clean_octant,
    is_load_bearing,
    periodic_pieces,
    threshold_to_volume,
)

ROUNDS = 4  # batches of samples drawn before giving up
MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold
SUPPORT = 0.5  # weight of a voxel's neighbours in what becomes solid first
GOAL = 2e-4  # error at which a cell meets its target


@dataclasses.dataclass(frozen=True)
class Cell:
    """A verified binary cell, base E = 1.

    Attributes:
      octant: (n, n, n) uint8, symmetric under permutations of its axes.
      constants: C11, C12, C44 by finite elements on this very octant.
      volume: solid share of the octant.
      pieces: periodic pieces of this very octant's cell; always one.
      pieces_found: periodic pieces before loose ones were removed.
      error: `target.error`, of all three constants the range error (arXiv 2401.13570,
        Eq. 3), a fraction.
      relative_error: `target.relative_error`, a fraction.
      residual: relative residual of the solve.
      history: error of the sample, then after each accepted polishing step.
      volumes: volume of the sample, then after each accepted polishing step.
      sampled: constants of the sample, before its surface was moved.
    """

    octant: np.ndarray
    constants: np.ndarray
    volume: float
    pieces: int
    pieces_found: int
    error: float
    relative_error: float
    residual: float
    history: tuple[float, ...]
    volumes: tuple[float, ...]
    sampled: np.ndarray


def binarize(field: np.ndarray, volume: float | None) -> tuple[np.ndarray, str, int]:
    """Turn a sampled field into a connected binary octant.

    Args:
      field: (n, n, n) sample, solid where positive.
      volume: wanted solid share; None thresholds at zero.

    Returns:
      the octant, the reason for refusing it ("" if it is good), and the number of
      pieces found before loose ones were removed.
    """
    if volume is None:
        octant, pieces, share = clean_octant((field > 0).astype(np.uint8))
    else:
        # Samples are nearly saturated: without their neighbours, voxels that the volume
        # asks for in addition would be dust in the void instead of thicker walls.
        near = ndimage.gaussian_filter(
            np.asarray(field, np.float64), 1.0, mode="reflect"
        )
        field = field + SUPPORT * symmetrize(near)
        wanted = volume
        # What the clean-up takes away is asked for again.
        for _ in range(3):
            octant, pieces, share = clean_octant(threshold_to_volume(field, wanted))
            missing = volume - octant.mean()
            if share < MIN_SHARE or abs(missing) < 1e-3:
                break
            wanted = min(wanted + missing, 1.0)
    if share < MIN_SHARE:
        return octant, "disconnected", pieces
    if not is_load_bearing(octant):
        return octant, "not load bearing", pieces
    return octant, "", pieces


def generate(
    key,
    target: Target,
    *,
    draw: Callable,
    evaluate: Callable[..., Evaluation],
    num_best: int,
    polish_steps: int = 0,
    rounds: int = ROUNDS,
    time_left: Callable[[], bool] | None = None,
) -> tuple[list[Cell], dict[str, int]]:
    """Return the best cells for a target, best first.

    Args:
      key: typed random key.
      target: what is asked for.
      draw: `draw(key, target) -> (b, n, n, n)` sampled fields.
      evaluate: finite elements on one octant, `interface.make_evaluate`.
      num_best: cells wanted; further batches are drawn while there are fewer.
      polish_steps: most accepted steps of the refinement of each of the best cells.
      rounds: most batches; of no account with a time budget.
      time_left: of a time budget, whether some is left; asked before each batch but the
        first and before each cell that is polished. What it leaves no time for is
        returned as sampled. None for no budget.

    Returns:
      the cells, and counts: "sampled", "refused" by reason, "unconverged".
    """
    counts = collections.Counter()
    waiting, done, seen = [], [], set()

    def best():
        return sorted(waiting + done, key=lambda cell: cell.error)[:num_best]

    for i in itertools.count():
        fields = np.asarray(draw(jax.random.fold_in(key, i), target))
        waiting += _verified(fields, target, evaluate, seen, counts)
        if time_left is None:
            if len(waiting) < num_best and i + 1 < rounds:
                continue
            waiting = best()
        else:
            waiting.sort(key=lambda cell: cell.error)
        # Of each batch as many are polished as are wanted in all.
        for _ in range(min(num_best, len(waiting)) if polish_steps else 0):
            if time_left is not None and not time_left():
                break
            done.append(refine(waiting.pop(0), target, evaluate, polish_steps))
        met = [cell for cell in best() if cell.error <= GOAL]
        if time_left is None or not time_left() or len(met) == num_best:
            return best(), dict(counts)


def _verified(fields, target, evaluate, seen, counts) -> list[Cell]:
    """Return the new, connected and converged cells of a batch; count the others."""
    cells = []
    counts["sampled"] += len(fields)
    for field in fields:
        octant, reason, pieces = binarize(field, target.volume)
        if not reason and octant.tobytes() in seen:
            reason = "duplicate"
        if not reason:
            seen.add(octant.tobytes())
            result = evaluate(octant)
            reason = "" if result.converged else "unconverged"
        if reason:
            counts[reason] += 1
        else:
            cells.append(make_cell(octant, result, target, pieces))
    return cells


def refine(cell: Cell, target: Target, evaluate: Callable, steps: int) -> Cell:
    """Return the cell with its surface moved towards the target."""
    polished = interface.polish(
        cell.octant,
        targets.residual(target),
        evaluate,
        volume=target.volume,
        steps=steps,
        goal=GOAL,
    )
    return make_cell(
        polished.octant,
        polished.evaluation,
        target,
        cell.pieces_found,
        history=polished.history,
        volumes=polished.volumes,
        sampled=cell.sampled,
    )


def make_cell(
    octant: np.ndarray,
    result: Evaluation,
    target: Target,
    pieces_found: int,
    history: tuple[float, ...] = (),
    volumes: tuple[float, ...] = (),
    sampled: np.ndarray | None = None,
) -> Cell:
    """Return the record of an octant and its finite-element result."""
    error = float(targets.error(target, result.constants))
    volume = float(octant.mean())
    return Cell(
        octant=octant,
        constants=result.constants,
        volume=volume,
        pieces=periodic_pieces(octant_to_cell(octant))[1],
        pieces_found=pieces_found,
        error=error,
        relative_error=float(targets.relative_error(target, result.constants)),
        residual=result.residual,
        history=history or (error,),
        volumes=volumes or (volume,),
        sampled=result.constants if sampled is None else sampled,
    )
