"""From a grey design to the binary cell that counts.

A design is thresholded to its exact volume, freed of loose pieces and homogenized
without interpolation. Its surface is then moved to raise the objective: the same
minimum-norm motion as in `interface`, for a small gain, for no change of the active
constraints and for the residual of the volume. Every step is verified by
finite elements; the length of the next one follows from its success.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.symmetry import gather_independent, spread, symmetrize
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.topopt import interface, objectives
from mmdiff.topopt.interface import Evaluation
from mmdiff.topopt.problem import Limits, Problem, constraints
from mmdiff.typing import AnyArray

SLACK = 2e-3  # violation of a constraint that is accepted
GAIN = 0.02  # of the objective that a step of length 1 aims at, relative
SHORTEST, LONGEST = 0.01, 4.0  # lengths of steps
# A relative loss of the objective that makes up for a unit of violation: at first, and
# at most.
PRICE, HIGHEST_PRICE = 1.0, 16.0
TINY = 1e-3  # objectives below count as that where something is relative to them


@dataclasses.dataclass(frozen=True)
class Design:
    """A binary octant, all void where no connected part was left, and its evaluation.

    Attributes:
      violation: of the worst constraint, see `problem.constraints`; at most 0 is met.
      pieces_found: periodic pieces before the clean-up.
      history: (value, violation, volume) after each accepted step, the cleaned design
        first.
    """

    octant: np.ndarray
    evaluation: Evaluation | None
    value: float
    violation: float
    pieces_found: int
    history: tuple[tuple[float, float, float], ...]


def finish(
    density: AnyArray,
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    steps: int = 20,
) -> Design:
    """Return the refined binary cell of a grey design, of its physical density.

    Where the volume is but bounded, the cell gets the design's own if that is less. At
    most `steps` are accepted of the refinement; 0 leaves the thresholded design.
    """
    density = np.asarray(density, np.float64)
    volume = float(limits.volume)
    if not problem.equality:
        volume = min(volume, density.mean())
    octant, pieces = binarize(density, volume, symmetry)
    if not is_load_bearing(octant):
        nothing = np.zeros_like(octant)
        return Design(nothing, None, -np.inf, np.inf, pieces, ())
    limits = limits._replace(volume=volume)
    improve = approach if problem.objective is objectives.nearness else refine
    design = improve(octant, problem, limits, evaluate, symmetry=symmetry, steps=steps)
    return dataclasses.replace(design, pieces_found=pieces)


def binarize(
    density: np.ndarray, volume: float, symmetry: str = "cubic"
) -> tuple[np.ndarray, int]:
    """Threshold to a volume and keep the largest periodic piece.

    What the clean-up takes away is added to the next threshold's volume.

    Returns:
      the octant, empty where no symmetric piece is left, and the pieces found at first.
    """
    goal, pieces = volume, 0
    for _ in range(4):
        trial = threshold_to_volume(density, min(goal, 1.0), symmetry)
        octant, found, _ = clean_octant(trial, symmetry)
        pieces = pieces or found
        residual = volume - octant.mean()
        if not octant.any() or abs(residual) < 1e-3:
            break
        goal += residual
    return octant, pieces


def doubled(octant: np.ndarray) -> np.ndarray:
    """Return a start of twice the edge for a design to go on from: blurred, no voxels.

    Values stay within [0.05, 0.95], so that every variable can still move.
    """
    fine = octant.repeat(2, 0).repeat(2, 1).repeat(2, 2).astype(np.float64)
    blurred = ndimage.gaussian_filter(fine, 1.0, mode="reflect")
    return (0.05 + 0.9 * blurred).astype(np.float32)


def refine(
    octant: np.ndarray,
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    steps: int = 20,
) -> Design:
    """Return the best octant found by moving the surface of a connected one.

    The volume is kept in any case. Constraints that are violated by more than `SLACK`
    cost as much of the objective as it takes to mend them, if it can be done. The
    octant is never disconnected; at most `steps` are accepted.
    """
    numbers = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), limits)

    def look(octant, fields=None):
        result = evaluate(octant, fields)
        constants = jnp.asarray(result.constants, jnp.float32)
        volume = jnp.float32(octant.mean())
        outputs, rows = _functions(problem)(constants, volume, numbers)
        outputs, rows = np.asarray(outputs, np.float64), np.asarray(rows, np.float64)
        off = abs(octant.mean() / float(numbers.volume) - 1)
        violation = max(off, *outputs[1:]) if len(outputs) > 1 else off
        return _Known(result, outputs, rows, (outputs[0], violation, octant.mean()))

    here = look(octant)
    history = [here.merit]
    size, price, length = max(abs(here.merit[0]), TINY), PRICE, 1.0

    def worth(merit):
        return merit[0] / size - price * max(merit[1] - SLACK, 0)

    def attempt(length):
        """Return an octant and what is known of it, None where it is no good."""
        trial = _step(octant, here, float(numbers.volume), length, symmetry)
        if np.array_equal(trial, octant) or not is_load_bearing(trial):
            return None
        there = look(trial, here.result.fields)
        better = there.result.converged and worth(there.merit) > worth(here.merit)
        # What holds is never given up again, whatever it might buy.
        better = better and there.merit[1] <= max(here.merit[1], SLACK)
        return (trial, there) if better else None

    while len(history) <= steps:
        found = attempt(length)
        # Cells react to long steps in leaps: half of a good one may be better still.
        while found and (half := attempt(length / 2)):
            if worth(half[1].merit) <= worth(found[1].merit):
                break
            found, length = half, length / 2
        if found:
            octant, here = found
            history.append(here.merit)
            length = min(2 * length, LONGEST)
        else:
            length /= 2
        if length < SHORTEST:
            if here.merit[1] <= SLACK or price >= HIGHEST_PRICE:
                break
            # Stuck on a violated constraint: let it cost more of the objective.
            price, length = 4 * price, 1.0
    if len(history) > 1:
        # The answer must not depend on the way it was reached.
        here = look(octant)
        history[-1] = here.merit
    value, violation, _ = here.merit
    return Design(octant, here.result, value, violation, 1, tuple(history))


def approach(
    octant: np.ndarray,
    problem: Problem,
    limits: Limits,
    evaluate: Callable[..., Evaluation],
    *,
    symmetry: str = "cubic",
    steps: int = 20,
) -> Design:
    """Move the surface of a cubic octant towards the target of `objectives.nearness`.

    All constants are aimed at together, see `interface.polish`. The value is the
    negative range error; the volume may stray by `interface.VOLUME_SLACK`.
    """
    if symmetry != "cubic":
        raise ValueError(f"targets are tensors of cubic cells; symmetry is {symmetry}.")
    target = np.asarray(limits.params, np.float64)
    volume = float(limits.volume)
    polished = interface.polish(
        octant,
        interface.target_residual(target),
        evaluate,
        volume=volume,
        steps=steps,
        price=1.0,
    )
    history = tuple(
        (-error, max(0.0, abs(v - volume) - interface.VOLUME_SLACK), v)
        for error, v in zip(polished.history, polished.volumes, strict=True)
    )
    value, violation, _ = history[-1]
    return Design(polished.octant, polished.evaluation, value, violation, 1, history)


class _Known(NamedTuple):
    """Finite elements of an octant, and its merit (value, violation, volume).

    The outputs are the objective, then the constraints other than the volume; the rows
    are their derivatives by the constants and the volume (the last column).
    """

    result: Evaluation
    outputs: np.ndarray
    rows: np.ndarray
    merit: tuple[float, float, float]


@functools.lru_cache(maxsize=16)
def _functions(problem: Problem):
    """Return `(constants, volume, limits) -> (outputs, rows)` of a `_Known`."""

    def outputs(known, limits):
        tensor = interface.to_tensor(known[:-1])
        g = constraints(problem, limits, tensor, known[-1])
        value = problem.objective(limits.params)(tensor)
        out = jnp.append(value, g[1 + problem.equality :])
        return out, out

    @jax.jit
    def run(constants, volume, limits):
        known = jnp.append(constants, volume)
        rows, values = jax.jacrev(outputs, has_aux=True)(known, limits)
        return values, rows

    return run


def _step(octant, here, volume, length, symmetry) -> np.ndarray:
    """Return the octant after a motion of a length, 1 for a gain of `GAIN`."""
    n = octant.shape[0]
    # Voxels change the volume directly, the constants by their energies.
    share = np.full((1, n, n, n), n**-3.0)
    change = interface.surface_density(octant, here.result.sensitivity)
    change = np.concatenate([change, share])
    value, g = here.outputs[0], here.outputs[1:]
    active = g > -SLACK
    size = max(abs(value), TINY)
    last = np.eye(len(change))[-1] / volume
    rows = [here.rows[0] / size, *here.rows[1:][active], last]
    goal = [GAIN * length, *(-min(length, 1) * g[active]), 1 - octant.mean() / volume]
    density = symmetrize(np.tensordot(np.stack(rows), change, 1), symmetry)
    solid = interface.advance(
        interface.thresholds(octant, symmetry),
        gather_independent(density, symmetry),
        np.array(goal),
        n,
        symmetry,
    )
    return clean_octant(spread(solid.astype(np.uint8), n, symmetry), symmetry)[0]
