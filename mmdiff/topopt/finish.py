"""From a grey design to the surface that counts.

A density becomes a level-set field of the volume asked for, without loose pieces. Its
surface is moved to raise the objective under the constraints (`topopt.ascent`) or, of a
target tensor, to meet it (`topopt.move`), on a grid of one element per sample. A grid
twice as fine shows how far that is off; the difference is added and the steps go on.
What is too thin to print is mended on the way (`cells.mend`).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from mmdiff import elasticity
from mmdiff.cells import mend, surface
from mmdiff.cells.grey import connected, of_density, repaired
from mmdiff.cells.mend import PRINTING, Printing
from mmdiff.fem import accuracy
from mmdiff.fem.accuracy import Estimate
from mmdiff.topopt import ascent, move, objectives
from mmdiff.topopt.ascent import SLACK, Ascended, Outputs
from mmdiff.topopt.move import Evaluation
from mmdiff.topopt.problem import Limits, Problem, constraints
from mmdiff.topopt.room import widths
from mmdiff.typing import AnyArray, Float

STEEP = 4.0  # slope at which a density is cut off round its surface
VOLUME_SLACK = 0.01  # difference from the volume that a target tensor may cost
VOLUME_OFF = 1e-4  # and what is corrected before the fine grid, relative
NEARBY = 0.3  # spacings by which the surface may move for that
ROUNDS = 4  # of moving and looking at the fine grid
AFTER = 5  # steps of each round that mends, at most
GOAL = 1e-4  # error at which a target is met


@dataclasses.dataclass(frozen=True)
class Design:
    """A field and the tensor of its surface; None where no connected part was left.

    Attributes:
      psi: see `mmdiff.cells.surface`.
      estimate: of its constants.
      value: objective of these.
      violation: of the worst constraint, see `problem.constraints`; at most 0 is met.
      flaw: what keeps it from being printed as asked, "" for nothing.
      history: (value, violation, volume) of the design's surface and after each
        accepted step, as known at that step.
      solves: finite-element solutions.
    """

    psi: Float[np.ndarray, "n n n"] | None = None
    estimate: Estimate | None = None
    value: float = -np.inf
    violation: float = np.inf
    flaw: str = ""
    history: tuple[tuple[float, float, float], ...] = ()
    solves: int = 0


def finish(
    density: AnyArray,
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    steps: int = 20,
    printing: Printing = PRINTING,
    solver: Mapping[str, float] | None = None,
) -> Design:
    """Return the best surface found for the physical density of a grey design.

    Where the volume is but bounded, the cell gets the design's own if that is less.

    Args:
      density: (n, n, n) in [0, 1].
      problem: objective and constraints.
      limits: numbers of these.
      evaluate: see `move.make_evaluate`, on a grid of one element per sample.
      symmetry: "cubic" or "orthotropic".
      steps: most accepted steps before what is too thin is mended; 0 for none at all.
      printing: what the cell must comply with.
      solver: void, nu, tol and maxiter of the fine grid.
    """
    density = np.asarray(density, np.float64)
    volume = float(limits.volume)
    if not problem.equality:
        volume = min(volume, density.mean())
    psi, flaw = field_of(density, volume, symmetry)
    if flaw:
        return Design()
    return improve(
        psi,
        problem,
        limits._replace(volume=volume),
        evaluate,
        symmetry=symmetry,
        steps=steps,
        printing=printing,
        solver=solver,
    )


def finish_field(
    psi: Float[np.ndarray, "n n n"],
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    **options,
) -> Design:
    """Return the best surface found by moving that of a known cell.

    It gets the volume of the limits first, by moving alike everywhere. Arguments see
    `finish`.
    """
    psi = surface.shift_to_volume(np.asarray(psi, np.float64), float(limits.volume))
    psi, flaw = connected(psi, symmetry)
    if flaw:
        return Design()
    return improve(psi, problem, limits, evaluate, symmetry=symmetry, **options)


def improve(
    psi: Float[np.ndarray, "n n n"],
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    steps: int = 20,
    printing: Printing = PRINTING,
    solver: Mapping[str, float] | None = None,
) -> Design:
    """Return the best surface found by moving that of a field; see `finish`.

    The volume of the limits is kept in any case.
    """
    options = {"symmetry": symmetry, **(solver or {})}
    make_task = _approach if problem.objective is objectives.nearness else _ascent
    task = make_task(problem, limits, symmetry, printing)
    history, found, solves, left = [], [], 0, steps
    shift, fields = np.zeros(3 if symmetry == "cubic" else 9), None
    for i in range(ROUNDS + 1):
        moved = task.improve(psi, move.shifted(evaluate, shift), left)
        history += moved.history[bool(history) :]
        psi, coarse = moved.psi, moved.evaluation.values[:-1] - shift
        result = accuracy.estimate(psi, coarse=coarse, fields=fields, **options)
        solves, shift = solves + moved.solves + 1, result.constants - coarse
        fields = result.fields
        mended, report = mend.mend(psi, **printing._asdict())
        flaw = printing.flaw(report.before)
        value, violation = task.judge(result.constants, result.volume)
        found.append(Design(psi, result, value, violation, flaw))
        if not steps or (not flaw and task.ended(value, violation)):
            break
        left = max(steps - len(history) + 1, AFTER)
        if i >= ROUNDS - 2:  # what steps leave too thin is mended, at last as it is
            psi, left = mended, AFTER if i < ROUNDS - 1 else 0
    best = min(found, key=lambda d: (max(d.violation, SLACK), bool(d.flaw), -d.value))
    return dataclasses.replace(best, history=tuple(history), solves=solves)


def field_of(
    density: Float[np.ndarray, "n n n"], volume: float, symmetry: str = "cubic"
) -> tuple[Float[np.ndarray, "n n n"], str]:
    """Return the field of a density at a volume, and why it is no good, or ""."""
    level = float(np.quantile(density, 1 - volume))
    return of_density(STEEP * (density - level), volume, symmetry)


def _to_volume(moved: Ascended, volume: float, evaluate) -> Ascended:
    """Return a field shifted to a volume nearby, its surface moved alike everywhere."""
    if abs(moved.evaluation.values[-1] / volume - 1) < VOLUME_OFF:
        return moved

    def excess(shift):
        return surface.volume(moved.psi + shift) - volume

    if excess(-NEARBY) > 0 or excess(NEARBY) < 0:
        return moved
    psi = moved.psi + optimize.brentq(excess, -NEARBY, NEARBY, xtol=1e-5)
    there = evaluate(psi, moved.evaluation.fields)
    return dataclasses.replace(
        moved, psi=psi, evaluation=there, solves=moved.solves + 1
    )


def most_steps(steps: int) -> int:
    """Return the most steps that `finish` accepts in all of its rounds."""
    return steps + ROUNDS * AFTER if steps else 0


class _Task(NamedTuple):
    """How the surfaces of a problem are moved, and what they are worth.

    Attributes:
      improve: `improve(psi, evaluate, steps) -> Ascended`.
      judge: `judge(constants, volume) -> value, violation`.
      ended: `ended(value, violation)`, whether nothing is left to be done.
    """

    improve: Callable[..., Ascended]
    judge: Callable[..., tuple[float, float]]
    ended: Callable[[float, float], bool]


def _ascent(problem, limits, symmetry, printing) -> _Task:
    """Return the task of an objective to maximize."""
    outputs = make_outputs(problem, limits)

    def improve(psi, evaluate, steps):
        moved = ascent.ascend(
            psi,
            outputs,
            evaluate,
            steps=steps,
            widths=widths(psi, printing),
            repair=lambda trial: repaired(trial, symmetry),
            symmetry=symmetry,
        )
        return _to_volume(moved, limits.volume, evaluate)

    def judge(constants, volume):
        known = outputs(np.append(constants, volume))
        return float(known.values[0]), known.violation

    return _Task(improve, judge, lambda value, violation: violation <= SLACK)


def _approach(problem, limits, symmetry, printing) -> _Task:
    """Return the task of a target tensor: its value is the negative range error."""
    if symmetry != "cubic":
        raise ValueError(f"targets are tensors of cubic cells; symmetry is {symmetry}.")
    target, volume = np.asarray(limits.params, np.float64), limits.volume

    def violation(found):
        return max(0.0, abs(found - volume) - VOLUME_SLACK)

    def improve(psi, evaluate, steps):
        moved = move.newton(
            psi,
            move.target_residual(target),
            evaluate,
            volume=volume,
            steps=steps,
            goal=GOAL / 4,
            repair=lambda trial: repaired(trial, symmetry),
            widths=widths(psi, printing),
        )
        pairs = zip(moved.errors, moved.values[:, 3].tolist(), strict=True)
        history = tuple((-error, violation(v), v) for error, v in pairs)
        return Ascended(moved.psi, moved.evaluation, history, moved.solves)

    def judge(constants, found):
        return -float(elasticity.range_error(constants, target)), violation(found)

    return _Task(improve, judge, lambda value, off: -value <= GOAL and off <= 0)


def make_outputs(problem: Problem, limits: Limits) -> Callable[[np.ndarray], Outputs]:
    """Return `values -> Outputs` of constants and volume, which is prescribed."""
    numbers = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), limits)
    run = _functions(problem)

    def outputs(values):
        found = run(jnp.asarray(values, jnp.float32), numbers)
        found, rows = (np.asarray(part, np.float64) for part in found)
        return Outputs(found, rows, np.arange(len(found)) == 1)

    return outputs


@functools.lru_cache(maxsize=16)
def _functions(problem: Problem):
    """Return `(values, limits) -> (outputs, rows)` of an `Outputs`."""

    def outputs(known, limits):
        tensor = elasticity.constants_to_voigt(known[:-1])
        g = constraints(problem, limits, tensor, known[-1])
        value = problem.objective(limits.params)(tensor)
        # The pair of inequalities of a prescribed volume is one equality.
        out = jnp.concatenate([value[None], g[:1], g[1 + problem.equality :]])
        return out, out

    @jax.jit
    def run(values, limits):
        rows, found = jax.jacrev(outputs, has_aux=True)(values, limits)
        return found, rows

    return run
