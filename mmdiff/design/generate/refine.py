"""Refinement of a cell until it meets its target; or at twice the resolution.

Features of one voxel, in which samples are rich, are smoothed away first, then the
surface is moved (`mmdiff.topopt.interface.polish`). A cell that stops far from the
target is made anew from what it is (`mmdiff.design.generate.rework`) and polished
again, first at the volume of the target, then at whatever volume the tensor needs; the
better one counts.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmdiff.cells.connectivity import periodic_pieces
from mmdiff.cells.prepare import prepare
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.generate.cell import Cell, binarize, make_cell, nearby
from mmdiff.design.generate.fem_guidance import target_values
from mmdiff.design.generate.rework import make_rework
from mmdiff.errors import InputError, check_ranges
from mmdiff.targets import quantities
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.topopt import binary, interface
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import UInt8

GOAL = 2e-4  # error at which a cell meets its target,
RELATIVE = 5e-3  # or this share of a soft target itself
FAR = 5.0  # times the goal: polished cells beyond are reworked
CREEP = 0.75  # see `interface.polish`: there is rework for what moves so slowly
PRICE = 0.1  # error that a unit of volume off is worth


class PolishResult(NamedTuple):
    """A polished cell and the way there.

    Attributes:
      cell: the polished cell.
      errors: distance from the target of the cell as it came, of its smoothed surface,
        then after each accepted step; fractions.
      volumes: volume fraction at each of these.
      steps: number of changes of the cell.
    """

    cell: Cell
    errors: tuple[float, ...]
    volumes: tuple[float, ...]
    steps: int


def polish(
    cell,
    target: Target | str,
    *,
    steps: int = 24,
    rework: int = 0,
    volume_price: float = PRICE,
) -> PolishResult:
    """Move the surface of a binary cell until it has the tensor of a target.

    Its surface is smoothed, then moved by small steps, each checked by finite elements
    and kept if the cell is nearer to the target and still in one piece.

    Args:
      cell: a `mmdiff.Cell`, or a full cubic cell (N, N, N) of 0 and 1, or what has one
        as its `voxels`.
      target: from `mmdiff.target`, or a text for it, such as "K=0.1,V=0.3".
      steps: most steps.
      rework: most times that a cell which ends far from the target is made anew from
        what it is, with walls that may vanish and appear.
      volume_price: error that a unit of volume off is worth: the more, the nearer the
        volume stays to that of the target.

    Returns:
      the polished cell, never worse than the one given, and its history.

    Raises:
      InputError: the array is no binary cubic cell in one piece.

    Example:
      >>> wall = np.isin(np.arange(16), [0, 1, 14, 15])
      >>> plates = wall[:, None, None] | wall[:, None] | wall
      >>> result = mm.polish(plates, "K=0.4", steps=4)
      >>> result.cell.voxels.shape, result.errors[-1] < result.errors[0]
      ((16, 16, 16), True)
    """
    counts = {"steps": steps, "rework": rework, "volume_price": volume_price}
    check_ranges(counts, dict.fromkeys(counts, "[0, inf)"))
    target = targets.parse(target) if isinstance(target, str) else target
    octant = cell.octant if isinstance(cell, Cell) else _octant(cell)
    evaluate = interface.make_evaluate(octant.shape[0])
    start = make_cell(octant, evaluate(octant), target, pieces_found=1)
    refine = make_refine(
        evaluate,
        steps=steps,
        rework=make_rework(octant.shape[0]) if rework else None,
        rounds=rework,
        price=volume_price,
    )
    best = refine(start, target)
    return PolishResult(best, best.history, best.volumes, len(best.history) - 1)


def _octant(cell) -> UInt8[np.ndarray, "n n n"]:
    """Return the octant of a full cell that can be polished."""
    voxels = np.asarray(getattr(cell, "voxels", cell))
    grid = prepare(voxels, "the cell")
    octant = (grid.density > 0.5).astype(np.uint8)
    if grid.symmetry != "cubic" or not np.array_equal(octant, grid.density):
        raise InputError(
            "the cell is not binary and cubic, or its edge is no multiple of 8. Give "
            "one of 0 and 1 with mirror planes and equal axes."
        )
    pieces = periodic_pieces(octant_to_cell(octant))[1]
    if pieces > 1:
        raise InputError(f"the cell has {pieces} solid pieces. Give one in one piece.")
    return octant


def make_refine(
    evaluate: Callable[..., Evaluation],
    *,
    steps: int,
    rework: Callable | None = None,
    rounds: int = 1,
    price: float = PRICE,
    smooth: bool = True,
) -> Callable[[Cell, Target], Cell]:
    """Return `refine(cell, target) -> Cell`, never worse than the cell.

    Not worse is what meets the goal, or is no further from the target. At most `steps`
    steps of each polishing are accepted, and a cell is made anew at most `rounds` times
    at its volume and at a free one, not without `rework`, see `make_rework`. Surfaces
    are smoothed first unless they are smooth.
    """

    def move(octant, target):
        return interface.polish(
            octant,
            targets.residual(target),
            evaluate,
            volume=target.volume,
            steps=steps,
            goal=goal(target),
            price=price,
            creep=CREEP if rework else 1.0,
        )

    def cost(polished, target):
        if not polished.evaluation.converged:
            return np.inf
        error, volume = polished.history[-1], polished.volumes[-1]
        return interface.cost(error, volume, target.volume, price)

    def polish_smoothed(cell, target):
        """Return the smoothed cell polished; the cell itself where that is worse."""
        octant = smoothed(cell.octant)
        if np.array_equal(octant, cell.octant):
            return move(octant, target)
        best = move(octant, target)
        least = interface.cost(cell.error, cell.volume, target.volume, price)
        if cost(best, target) > max(least, goal(target)):
            return move(cell.octant, target)
        return dataclasses.replace(
            best,
            history=(cell.error, *best.history),
            volumes=(cell.volume, *best.volumes),
        )

    def better(best, aim, target):
        density = rework(best.octant, target_values(aim))
        octant, refused, _ = binarize(2 * density - 1, aim.volume)
        if refused:
            return best
        again = move(octant, target)
        if cost(again, target) >= cost(best, target):
            return best
        return dataclasses.replace(
            again,
            history=best.history + again.history,
            volumes=best.volumes + again.volumes,
        )

    def refine(cell, target):
        best = polish_smoothed(cell, target) if smooth else move(cell.octant, target)
        for _ in range(rounds if rework else 0):
            before = best
            for aim in ways(target):
                if best.history[-1] > FAR * goal(target):
                    best = better(best, aim, target)
            if best is before:  # the same again would give the same
                break
        return make_cell(
            best.octant,
            best.evaluation,
            target,
            cell.pieces_found,
            history=best.history,
            volumes=best.volumes,
            sampled=cell.sampled,
        )

    return refine


def smoothed(octant: UInt8[np.ndarray, "n n n"]) -> UInt8[np.ndarray, "n n n"]:
    """Return an octant of the same volume without most features of one voxel.

    Solid is where the mean over the neighbourhood is highest; the octant is returned as
    it is where that would not hang together.
    """
    found, refused, _ = binarize(nearby(2.0 * octant - 1), float(octant.mean()))
    return octant if refused else found


def ways(target: Target) -> list[Target]:
    """Return the aims of a rework: the target, and the same at any volume."""
    if target.volume is None:
        return [target]
    return [target, dataclasses.replace(target, volume=None)]


def goal(target: Target) -> float:
    """Return the error at which a cell meets its target; less for soft ones."""
    stiff = [(name, v) for name, v in target.counted if name in quantities.STIFF]
    if not stiff:
        return GOAL
    names, values = zip(*stiff, strict=True)
    size = np.mean(np.abs(values) / quantities.scales(names))
    return float(min(GOAL, RELATIVE * size))


def double(cell: Cell, target: Target, evaluate: Callable[..., Evaluation]) -> Cell:
    """Return the cell at twice the resolution, its surface smoothed.

    Raises:
      ValueError: if smoothing tears the cell apart, or the solve does not converge.
    """
    field = 2.0 * binary.doubled(cell.octant) - 1
    octant, refused, _ = binarize(field, cell.volume)
    if refused:
        raise ValueError(f"the doubled cell is {refused}")
    result = evaluate(octant)
    if not result.converged:
        raise ValueError("the doubled cell is unconverged")
    fine = make_cell(octant, result, target, cell.pieces_found)
    return dataclasses.replace(fine, sampled=cell.sampled)
