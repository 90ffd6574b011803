"""Ascent on a level-set field: move a surface to raise an objective under constraints.

Each step is the change of the field that promises most, by the slopes of objective and
constraints, among those that move the surface by less than a trust radius, close the
gaps of the constraints and leave walls and gaps at their least widths: a quadratic
program with bounds of each displacement, solved through its dual, whose unknowns are
the few multipliers. Steps are verified by finite elements and kept if they help; what
holds is never given up again.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize

from mmdiff.cells import surface
from mmdiff.cells.symmetry import symmetrize
from mmdiff.topopt.move import FLAT, Evaluation
from mmdiff.topopt.room import BAND, Widths, displacements
from mmdiff.typing import Bool, Float

SLACK = 2e-3  # violation of a constraint that is accepted
START, LONGEST, SHORTEST = 0.5, 0.7, 0.02  # radius of a step, in spacings
EAGER = 1.25  # displacement that the objective alone asks for, in radii (rms)
SMOOTH = 1.25  # spacings over which slopes and displacements are averaged
NEAR = 0.05  # constraints nearer to their limit than this count in a step
CLOSE = 0.2  # share of the radius below which there is no room
ROUND = 0.7  # spacings over which what there is no room for is rounded off
TRUE, FALSE = 0.6, 0.25  # shares of the promise at which the radius grows and shrinks
PATIENCE, LEAST_GAIN = 3, 1e-3  # steps in which too little is gained, relative
TINY = 1e-3  # objectives below count as that where a gain is relative to them


class Outputs(NamedTuple):
    """Objective and constraints of a field, and how they change with what it has.

    Attributes:
      values: the objective, then the constraints, met where <= 0.
      rows: their derivatives by the constants and the volume.
      equal: which of these are equalities, met at 0; not the objective.
    """

    values: Float[np.ndarray, "c"]
    rows: Float[np.ndarray, "c k"]
    equal: Bool[np.ndarray, "c"]

    @property
    def violation(self) -> float:
        """Violation of the worst constraint, at most 0 where all are met."""
        g = np.where(self.equal, abs(self.values), self.values)[1:]
        return float(g.max(initial=0.0))


@dataclasses.dataclass(frozen=True)
class Ascended:
    """A moved field and the way there.

    Attributes:
      psi: the field.
      evaluation: of that field.
      history: (value, violation, volume) at the start and after each accepted step.
      solves: finite-element solutions, also of steps that were not accepted.
    """

    psi: Float[np.ndarray, "n n n"]
    evaluation: Evaluation
    history: tuple[tuple[float, float, float], ...]
    solves: int


def ascend(
    psi: Float[np.ndarray, "n n n"],
    outputs: Callable[[np.ndarray], Outputs],
    evaluate: Callable[..., Evaluation],
    *,
    steps: int = 20,
    widths: Widths = Widths(),  # noqa: B008  (immutable)
    repair: Callable = lambda psi: psi,
    symmetry: str = "cubic",
) -> Ascended:
    """Return the best field found by moving the surface of one.

    Violations beyond `SLACK` are mended first, at whatever cost; from there on the
    objective rises with each step.

    Args:
      psi: field of the octant.
      outputs: of an evaluation's values.
      evaluate: see `move.make_evaluate`.
      steps: most accepted steps.
      widths: walls and gaps that are not to get thinner, and thicker where they are.
      repair: `psi -> psi` for each trial, None where it is beyond repair.
      symmetry: of the field.
    """
    here, solves, radius = evaluate(psi), 1, START
    known = outputs(here.values)
    history = [_merit(known, here)]
    size = max(abs(known.values[0]), TINY)

    def resting():
        past = history[-1 - PATIENCE :]
        met = past[0][1] <= SLACK and len(past) > PATIENCE
        return met and past[-1][0] - past[0][0] < LEAST_GAIN * size

    while len(history) <= steps and radius > SHORTEST and not resting():
        room = displacements(psi, widths, radius)
        change, promise = best_change(psi, here, known, room, symmetry)
        trial = repair(psi + change)
        better = False
        if trial is not None:
            there = evaluate(trial, here.fields)
            solves += 1
            merit = _merit(outputs(there.values), there)
            better = there.converged and _order(merit) < _order(history[-1])
        if not better:
            radius *= FALSE
            continue
        # Where a violation is mended the objective promises nothing.
        mending = history[-1][1] > SLACK
        share = 1.0 if mending else (merit[0] - history[-1][0]) / max(promise, 1e-12)
        psi, here, known = trial, there, outputs(there.values)
        history.append(merit)
        if share > TRUE:
            radius = min(1.5 * radius, LONGEST)
        elif share < FALSE:
            radius /= 2
    return Ascended(psi, here, tuple(history), solves)


def _merit(known: Outputs, evaluation: Evaluation) -> tuple[float, float, float]:
    return float(known.values[0]), known.violation, float(evaluation.values[-1])


def _order(merit):
    """Return what is less for the better of two: violation first, then value."""
    return max(merit[1], SLACK), -merit[0]


def best_change(
    psi: Float[np.ndarray, "n n n"],
    here: Evaluation,
    known: Outputs,
    room: Float[np.ndarray, "2 n n n"],
    symmetry: str = "cubic",
) -> tuple[Float[np.ndarray, "n n n"], float]:
    """Return the change of a field that promises most, and what it promises.

    The displacement is that of samples near the surface, smoothed over `SMOOTH`
    spacings, d, in M d + F: F is what the room demands where a wall or gap is too thin,
    M vanishes there and where there is no room. It maximizes p0 d - d^2 / 2 under p d =
    gap and bounds of d, p being the slopes; the change is the slope of the field times
    the displacement.
    """
    n, g = psi.shape[-1], known.values[1:]
    steep = np.sqrt((surface.slopes(psi, surface.centres(n, n)) ** 2).sum(0))
    weight = _smooth(np.clip(steep, FLAT, 1.0))
    low, high = room
    tight = np.minimum(-low, high) < CLOSE * np.maximum(-low, high)
    mask = np.clip(1 - 2 * _smooth(tight.astype(float), ROUND), 0.0, 1.0)
    forced = weight * _smooth(np.clip(0.0, low, high), ROUND)
    active = known.equal[1:] | (g > -NEAR)
    rows = np.concatenate([known.rows[:1], known.rows[1:][active]])
    slopes = np.tensordot(rows, here.slopes, 1)
    band = abs(psi) < BAND
    ways = np.stack([_smooth(mask * weight * slope)[band] for slope in slopes])
    given = np.tensordot(slopes, forced, 3)
    bounds = np.minimum(low, 0.0)[band], np.maximum(high, 0.0)[band]
    free = ~known.equal[1:][active]
    moved = _program(ways[0], ways[1:], -g[active] - given[1:], free, bounds)
    displacement = np.zeros_like(psi)
    displacement[band] = moved
    change = symmetrize(mask * weight * _smooth(displacement) + forced, symmetry)
    return change, float(ways[0] @ moved + given[0])


def _program(aim, rows, gap, free, bounds) -> Float[np.ndarray, "p"]:
    """Return d within bounds that maximizes t aim d - d^2 / 2, rows d = gap.

    `free` rows are inequalities, rows d <= gap. Gaps that cannot be closed are closed
    as far as the bounds allow.
    """
    sizes = np.sqrt((rows**2).mean(1)) + 1e-30
    rows, gap = rows / sizes[:, None], gap / sizes
    fit = np.linalg.lstsq(rows.T, aim, rcond=None)[0]
    rest = np.sqrt(((aim - fit @ rows) ** 2).mean()) + 1e-30
    scale = EAGER * bounds[1].max() / rest

    def dual(multipliers):
        wish = scale * aim - multipliers @ rows
        d = np.clip(wish, *bounds)
        return float((wish * d - d**2 / 2).sum() + multipliers @ gap), gap - rows @ d

    start = np.where(free, np.maximum(scale * fit, 0), scale * fit)
    most = 1e3 * (scale * np.sqrt((aim**2).mean()) + bounds[1].max())
    found = optimize.minimize(
        dual,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0 if f else -most, most) for f in free],
        options={"ftol": 1e-15, "gtol": 1e-8},
    )
    return np.clip(scale * aim - found.x @ rows, *bounds)


def _smooth(field, sigma=SMOOTH):
    return ndimage.gaussian_filter(field, sigma, mode="reflect")
