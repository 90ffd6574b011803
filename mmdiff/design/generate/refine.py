"""Refinement of a cell until it meets its target; or at twice the resolution.

Features of one voxel, in which samples are rich, are smoothed away first, which takes a
cell off its target; then the surface is moved until it is back
(`mmdiff.topopt.interface.polish`). A cell that stops far from the target is made anew
from what it is (`mmdiff.design.generate.rework`) and polished again, first at the asked
volume and, if it is far still, at whatever volume the tensor needs; what is better
counts.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from mmdiff.design.generate.cell import Cell, binarize, make_cell, nearby
from mmdiff.design.generate.fem_guidance import target_values
from mmdiff.targets import quantities
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.topopt import binary, interface
from mmdiff.topopt.interface import Evaluation

GOAL = 2e-4  # error at which a cell meets its target,
RELATIVE = 5e-3  # or this share of a soft target itself
FAR = 5.0  # times the goal: polished cells beyond are reworked
CREEP = 0.75  # see `interface.polish`: there is rework for what moves so slowly
PRICE = 0.1  # error that a unit of volume off is worth


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

    Not worse is what meets the goal, or is no further from the target.

    Args:
      evaluate: finite elements on one octant, `interface.make_evaluate`.
      steps: most accepted steps of each polishing.
      rework: see `mmdiff.design.generate.rework.make_rework`; None polishes only.
      rounds: most reworks of a cell at its volume, and at a free one.
      price: error that a unit of volume off is worth, see `interface.polish`.
      smooth: whether surfaces are smoothed first, see `smoothed`.
    """

    def polish(octant, target):
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
            return polish(octant, target)
        best = polish(octant, target)
        least = interface.cost(cell.error, cell.volume, target.volume, price)
        if cost(best, target) > max(least, goal(target)):
            return polish(cell.octant, target)
        return dataclasses.replace(
            best,
            history=(cell.error, *best.history),
            volumes=(cell.volume, *best.volumes),
        )

    def better(best, held, target):
        density = rework(best.octant, target_values(held))
        octant, refused, _ = binarize(2 * density - 1, held.volume)
        if refused:
            return best
        again = polish(octant, target)
        if cost(again, target) >= cost(best, target):
            return best
        return dataclasses.replace(
            again,
            history=best.history + again.history,
            volumes=best.volumes + again.volumes,
        )

    def refine(cell, target):
        best = polish_smoothed(cell, target) if smooth else polish(cell.octant, target)
        for _ in range(rounds if rework else 0):
            before = best
            for held in ways(target):
                if best.history[-1] > FAR * goal(target):
                    best = better(best, held, target)
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


def smoothed(octant: np.ndarray) -> np.ndarray:
    """Return an octant of the same volume without most features of one voxel.

    Solid is where the mean over the neighbourhood is highest; the octant is returned as
    it is where that would not hang together.
    """
    found, refused, _ = binarize(nearby(2.0 * octant - 1), float(octant.mean()))
    return octant if refused else found


def ways(target: Target) -> list[Target]:
    """Return what a rework may aim at: the target, and the same at any volume."""
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

    Args:
      cell: of n^3 octants.
      target: what was asked.
      evaluate: finite elements on (2 n)^3 octants.

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
