"""Flaws and ranking of optimized cells.

Nothing is dropped: a start that failed ranks last, with its reasons in words.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.design.optimize.resumable import Outcome
from mmdiff.topopt import objectives
from mmdiff.topopt.ascent import SLACK
from mmdiff.topopt.finish import VOLUME_SLACK
from mmdiff.topopt.problem import Limits, Problem, constraints
from mmdiff.typing import Float


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
        """Elements of the design along the edge of the cell."""
        return 2 * self.outcome.psi.shape[0]

    @property
    def run(self) -> str:
        """Name of this run of the design loop in tables and plots."""
        return f"start {self.start}"

    @property
    def volume(self) -> float:
        """Solid share of the cell."""
        return float(self.outcome.volume)


def flaws(outcome: Outcome, problem: Problem, limits: Limits) -> tuple[str, ...]:
    """Return the flaws of an outcome, each as a phrase with its numbers."""
    if not outcome.found:
        return ("no connected part that bears load is left",)
    found = unmet(outcome.constants, float(outcome.volume), problem, limits)
    if outcome.converged:
        return found
    return (f"finite elements stopped at residual {outcome.residual:.1e}", *found)


def unmet(
    constants: Float[np.ndarray, "k"], volume: float, problem: Problem, limits: Limits
) -> tuple[str, ...]:
    """Return the constraints that a cell does not meet, with its numbers.

    They count as met within `ascent.SLACK`, the volume of a target tensor also within
    `finish.VOLUME_SLACK`.
    """
    asked, band = float(limits.volume), 1 + float(limits.band)
    tensor = elasticity.constants_to_voigt(constants)
    excess = np.asarray(constraints(problem, limits, tensor, volume))
    aimed = problem.objective is objectives.nearness
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
    own = len(texts)
    texts += [
        f"constraint {i} is {value:.3g}, above 0"
        for i, value in enumerate(excess[own:])
    ]
    slack = np.full(len(texts), SLACK)
    slack[: 1 + problem.equality] += aimed * VOLUME_SLACK / asked
    over = excess > slack.astype(excess.dtype)
    return tuple(t for t, off in zip(texts, over, strict=True) if off)


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, best first; those with flaws last, empty ones at the end.

    Cells that comply with what print asks come before those that do not.
    """

    def order(entry):
        found = entry.outcome
        shown = bool(entry.flaws), not found.found, not found.printable
        return (*shown, -float(found.value))

    return sorted(entries, key=order)


def named(order: Sequence[Entry], count: int) -> list[Entry]:
    """Return the best `count` cells, named for their files; none without solid."""
    solid = [entry for entry in order if entry.outcome.found][:count]
    return [
        dataclasses.replace(entry, name=f"cell_{i:02d}")
        for i, entry in enumerate(solid)
    ]


def failures(entries: Sequence[Entry]) -> list[str]:
    """Return a sentence about each start that did not give what was asked for."""
    return [
        f"{entry.run} ({entry.kind}) is ranked last: {'; '.join(entry.flaws)}."
        for entry in entries
        if entry.flaws
    ]
