"""Flaws and ranking of optimized cells.

Nothing is dropped: a start that failed ranks last, with its reasons in words.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.design.optimize.resumable import Outcome
from mmdiff.topopt import interface, objectives
from mmdiff.topopt.binary import SLACK
from mmdiff.topopt.problem import Limits, Problem, constraints
from mmdiff.typing import Float, UInt8

DOUBLED = "doubled"  # name of the cell that was optimized again at twice its edge


@dataclasses.dataclass(frozen=True)
class Entry:
    """A start, such as number 3 of the kind "random", its outcome and its flaws.

    The name is the stem of its files, "" where none are written.
    """

    name: str
    start: int
    kind: str
    outcome: Outcome
    flaws: tuple[str, ...] = ()

    @property
    def edge(self) -> int:
        """Voxels per side of the cell."""
        return 2 * self.outcome.octant.shape[0]

    @property
    def run(self) -> str:
        """Name of this run of the design loop in tables and plots."""
        return f"start {self.start}" + (", doubled" if self.name == DOUBLED else "")

    @property
    def volume(self) -> float:
        """Solid share of the binary cell."""
        return float(self.outcome.octant.mean())


def flaws(outcome: Outcome, problem: Problem, limits: Limits) -> tuple[str, ...]:
    """Return the flaws of an outcome, each as a phrase with its numbers."""
    if not outcome.octant.any():
        return ("no connected part that bears load is left",)
    found = unmet(outcome.octant, outcome.constants, problem, limits)
    if outcome.converged:
        return found
    return (f"finite elements stopped at residual {outcome.residual:.1e}", *found)


def unmet(
    octant: UInt8[np.ndarray, "n n n"],
    constants: Float[np.ndarray, "k"],
    problem: Problem,
    limits: Limits,
) -> tuple[str, ...]:
    """Return the constraints that a binary cell does not meet, with its numbers.

    They count as met within `binary.SLACK`, the volume also within half an orbit or,
    for a target tensor, `interface.VOLUME_SLACK`.
    """
    volume, asked, band = octant.mean(), float(limits.volume), 1 + float(limits.band)
    tensor = interface.to_tensor(constants)
    excess = np.asarray(constraints(problem, limits, tensor, volume))
    aimed = problem.objective is objectives.nearness
    grain = interface.VOLUME_SLACK if aimed else 3 / octant.size
    moduli = elasticity.moduli(elasticity.voigt_to_cubic(tensor))
    texts = [f"volume {volume:.4f} exceeds {asked:g}"]
    if problem.equality:
        texts.append(f"volume {volume:.4f} is below {asked:g}")
    if problem.isotropic:
        within = f"{1 / band:.3f} to {band:.3f}"
        texts += 2 * [f"Zener ratio {moduli['zener']:.3f} is not within {within}"]
    if problem.stiff:
        texts.append(
            f"Young's modulus {moduli['E']:.4g} (base E = 1) is below its floor "
            f"{float(limits.young):.4g}"
        )
    slack = np.full(len(texts), SLACK)
    slack[: 1 + problem.equality] += grain / asked
    over = excess > slack.astype(excess.dtype)
    return tuple(t for t, off in zip(texts, over, strict=True) if off)


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, best first; those with flaws last, empty ones at the end."""

    def order(entry):
        value = float(entry.outcome.value)
        return (bool(entry.flaws), not entry.outcome.octant.any(), -value, entry.edge)

    return sorted(entries, key=order)


def named(order: Sequence[Entry], count: int) -> list[Entry]:
    """Return the best `count` cells, named for their files, and the doubled one.

    Of all runs, best first; cells without solid are left out.
    """
    solid = [entry for entry in order if entry.outcome.octant.any()]
    coarse = [entry for entry in solid if entry.name != DOUBLED][:count]
    names = {id(entry): f"cell_{i:02d}" for i, entry in enumerate(coarse)}
    return [
        dataclasses.replace(entry, name=names.get(id(entry), DOUBLED))
        for entry in solid
        if id(entry) in names or entry.name == DOUBLED
    ]


def failures(entries: Sequence[Entry]) -> list[str]:
    """Return a sentence about each start that did not give what was asked for."""
    return [
        f"{entry.run} ({entry.kind}) is ranked last: {'; '.join(entry.flaws)}."
        for entry in entries
        if entry.flaws
    ]
