"""Newton steps on a level-set field: move a surface until a cell is what is asked.

Elastic constants and volume of a field `psi` (n, n, n) come from finite elements on its
volume fractions, with their exact derivatives. The smallest smooth change of the field
that cancels the residuals solves a system of as many equations as there are residuals;
steps are capped and kept while they help.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, optimize

from mmdiff.cells import surface
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.elasticity import NU, PAPER_RANGES, voigt_to_constants
from mmdiff.fem import boundary, homogenize
from mmdiff.programs import kept
from mmdiff.topopt.room import BAND, Widths, displacements, freedom
from mmdiff.typing import AnyArray, Array, Float

SMOOTH = 1.0  # standard deviation over which a change of the field is smoothed
RADIUS = 0.7  # spacings: farthest that a step moves the surface,
SHORTEST = 0.03  # and below which there is no way on
SHRINK = 0.4  # of the radius where a step did not help
FLAT = 0.2  # least slope of the field that counts
LEAST_DAMPING, MOST_DAMPING = 1e-9, 1e6  # in parts of the largest eigenvalue
PASSES = 6  # in which a change is fitted to the room there is,
CREEP = 0.01  # to so many spacings
PATIENCE, GAIN = 4, 0.1  # steps that must gain so much of what is left
GOAL = 2e-5  # mean residual at which a target is met
PRICE = 0.1  # error that a unit of volume off is worth
# Relative residual of solves: energies err with its square, constants by some 3e-6.
TOL = 1e-3


class Evaluation(NamedTuple):
    """Constants and volume of a field, and what each sample does to them.

    Attributes:
      values: C11, C12, C44 for base E = 1, of an orthotropic cell its nine constants,
        and the volume fraction.
      slopes: derivatives of each by the samples of the field.
      residual: relative residual of the worst load.
      converged: whether all loads met the tolerance.
      fields: fluctuation fields, where the solve of a similar field may start.
    """

    values: Float[np.ndarray, "k"]
    slopes: Float[np.ndarray, "k n n n"]
    residual: float
    converged: bool
    fields: Array


@functools.lru_cache(maxsize=8)
def make_evaluate(
    n: int,
    m: int | None = None,
    *,
    symmetry: str = "cubic",
    void: float = homogenize.VOID,
    nu: float = NU,
    tol: float = TOL,
    maxiter: int = homogenize.MAXITER,
) -> Callable[..., Evaluation]:
    """Return `(psi, fields=None) -> Evaluation` on m^3 elements of the octant (n).

    The symmetry is "cubic", or "orthotropic" for fields with mirror planes only.
    """
    m = n if m is None else m
    run, shape = _program(m, nu, symmetry), boundary.loads(symmetry).field_shape(m)
    scalars = jnp.float32(void), jnp.float32(tol), jnp.int32(maxiter)

    def evaluate(psi, fields=None):
        if fields is None:
            fields = jnp.zeros(shape, jnp.float32)
        psi = np.asarray(psi, np.float64)
        share, back = surface.with_transpose(psi, m, cubic=symmetry == "cubic")
        by_shares, (constants, residual, ok, fields) = run(
            jnp.asarray(share, jnp.float32), fields, *scalars
        )
        by_shares = np.concatenate([by_shares, np.full((1, m, m, m), 1 / m**3)])
        return Evaluation(
            np.append(np.asarray(constants, np.float64), share.mean()),
            back(by_shares),
            float(residual),
            bool(ok),
            fields,
        )

    return evaluate


@functools.lru_cache(maxsize=8)
def _program(m, nu, symmetry):
    """Return the compiled `shares, fields, void, tol, maxiter -> slopes, results`."""
    solver = homogenize.make_solver(m, symmetry, nu=nu)

    def constants(share, fields, void, tol, maxiter):
        stiff = homogenize.modulus(share, void, 1.0)
        tensor, info = solver(stiff, tol=tol, maxiter=maxiter, fields=fields)
        values = voigt_to_constants(tensor, symmetry)
        return values, (values, info.residual.max(), info.converged.all(), info.fields)

    return kept(jax.jacrev(constants, has_aux=True), m, nu, symmetry)


def shifted(
    evaluate: Callable[..., Evaluation], shift: Float[AnyArray, "k"]
) -> Callable[..., Evaluation]:
    """Return the evaluation with a shift added to the constants.

    With the difference of a finer grid as the shift, steps on the coarse grid aim at
    what the fine one says (deferred correction).
    """
    return lambda psi, fields=None: shift_values(evaluate(psi, fields), shift)


def shift_values(found: Evaluation, shift: Float[AnyArray, "k"]) -> Evaluation:
    """Return an evaluation with a shift added to the constants."""
    return found._replace(values=found.values + np.append(shift, 0.0))


@dataclasses.dataclass(frozen=True)
class Moved:
    """A moved field and the way there.

    Attributes:
      psi: the field.
      evaluation: of that field.
      errors: mean absolute residual at the start and after each accepted step.
      values: constants and volume at each of these.
      solves: finite-element solutions, also of steps that were not accepted.
    """

    psi: Float[np.ndarray, "n n n"]
    evaluation: Evaluation
    errors: tuple[float, ...]
    values: Float[np.ndarray, "s k"]
    solves: int


def newton(
    psi: Float[np.ndarray, "n n n"],
    residual: Callable[[Array], Array],
    evaluate: Callable[..., Evaluation],
    *,
    volume: float | None = None,
    steps: int = 20,
    goal: float = GOAL,
    repair: Callable | None = None,
    widths: Widths = Widths(),  # noqa: B008  (immutable)
) -> Moved:
    """Move the surface of a field until its constants and volume meet their targets.

    Each step is the smallest smooth change that would cancel all residuals, cut back
    until it helps. A volume that cannot be had together with the constants counts at
    `PRICE`.

    Args:
      psi: field of an octant.
      residual: targets minus values, `residual(constants) -> (k,)` of the constants of
        `evaluate`, not more than these, with base E = 1, traceable, scaled so that the
        mean of the absolute values is the error; see `target_residual`.
      evaluate: see `make_evaluate`.
      volume: target volume fraction, None to leave it free.
      steps: most accepted steps.
      goal: error, with the price of the volume, at which to stop.
      repair: `psi -> psi` for each trial, None where it is beyond repair.
      widths: of walls and gaps that are not to get thinner, and of the rim that stays.

    Returns:
      the best field found; never worse than the start.
    """
    with_slope = _with_slope(residual)
    psi = np.asarray(psi, np.float64)
    here, solves = evaluate(psi), 1

    def error(values):
        return float(np.mean(abs(with_slope(values[:-1])[0])))

    def cost(values):
        return error(values) + price(values[-1], volume)

    def merit(values):  # what each step makes less, however short
        off = price(values[-1], volume)
        return float(np.hypot(np.sqrt(np.mean(with_slope(values[:-1])[0] ** 2)), off))

    errors, values = [error(here.values)], [here.values]
    radius, merits = RADIUS, [merit(here.values)]
    while len(errors) <= steps and cost(here.values) > goal and radius > SHORTEST:
        if len(merits) > PATIENCE and merits[-1] > (1 - GAIN) * merits[-1 - PATIENCE]:
            break
        gap, slope = with_slope(here.values[:-1])
        rows = -np.tensordot(slope, here.slopes[:-1], 1)
        if volume is not None:
            worth = PRICE * np.sqrt(len(slope))
            rows = np.append(rows, worth * here.slopes[-1:], 0)
            gap = np.append(gap, worth * (volume - here.values[-1]))
        while radius > SHORTEST:
            change, length = smallest_change(psi, rows, gap, radius, widths)
            trial = psi + change if repair is None else repair(psi + change)
            if trial is not None:
                there = evaluate(trial, here.fields)
                solves += 1
                if there.converged and merit(there.values) < merit(here.values):
                    break
            radius = SHRINK * length
        else:
            break
        radius = min(max(radius, length / SHRINK), RADIUS)
        psi, here = trial, there
        merits.append(merit(here.values))
        errors.append(error(here.values))
        values.append(here.values)
    return Moved(psi, here, tuple(errors), np.stack(values), solves)


def price(volume: float, target: float | None) -> float:
    """Return the error that a difference from the target volume counts as."""
    return 0.0 if target is None else PRICE * abs(volume - target)


def smallest_change(
    psi: Float[np.ndarray, "n n n"],
    rows: Float[np.ndarray, "k n n n"],
    gap: Float[np.ndarray, "k"],
    radius: float = RADIUS,
    widths: Widths = Widths(),  # noqa: B008  (immutable)
) -> tuple[Float[np.ndarray, "n n n"], float]:
    """Return the smallest smooth change of a field that closes gaps, and its length.

    It is small in the mean square of the surface's displacement, smooth over `SMOOTH`
    spacings, and exactly cubic where field and derivatives are. Where it would move the
    surface farther than the radius (spacings), gaps that cost the longest ways are
    closed in part only (Levenberg-Marquardt). Where it would make a wall or gap too
    thin it is damped, and the rest takes over.

    Args:
      psi: the field.
      rows: derivatives of the quantities by its samples.
      gap: changes of the quantities to reach.
      radius: farthest displacement; the length returned is that of the change.
      widths: of walls and gaps that are not to get thinner, and of the rim that stays.
    """
    n, alike = psi.shape[-1], all(map(is_cubic, (psi, *rows)))
    kind = "cubic" if alike else "orthotropic"
    steep = np.sqrt((surface.slopes(psi, surface.centres(n, n)) ** 2).sum(0))
    # Displacements are changes over slopes; flat places must not take it all.
    weight = _smooth(np.clip(steep, FLAT, 1.0))
    rows = weight * rows
    low, high = displacements(psi, widths, radius)
    # What is near a place without room has none either: rims of holes have no chord.
    low = ndimage.maximum_filter(np.minimum(low, 0.0), 3, mode="reflect")
    high = ndimage.minimum_filter(np.maximum(high, 0.0), 3, mode="reflect")
    free = freedom(n, widths.rim)
    for _ in range(PASSES):
        moved, length = _displacement(psi, rows, gap, radius, free)
        allowed = np.where(moved > 0, high, -low)
        over = (abs(moved) > allowed + CREEP) & (abs(psi) < BAND)
        if not (any(widths[:2]) and over.any()):
            break
        share = np.where(over, allowed / np.maximum(abs(moved), CREEP), 1.0)
        free = free * np.sqrt(share)
    return symmetrize(weight * moved, kind), length


def _displacement(psi, rows, gap, radius, free):
    """Return the displacements of the smallest change, and the longest of them.

    `rows` are derivatives by displacements, `free` is what each sample may move in
    relation to others.
    """
    moves = np.stack([free * _smooth(free * row) for row in rows])
    flat = moves.reshape(len(moves), -1)
    gram = rows.reshape(len(rows), -1) @ flat.T
    size, axes = np.linalg.eigh(gram)
    size, along = np.maximum(size, 1e-12 * size[-1]), axes.T @ gap
    near = moves[:, abs(psi) < 1]

    def factors(damping):
        return axes @ (along / (size + damping * size[-1]))

    def length(damping):
        return float(abs(factors(damping) @ near).max(initial=0.0))

    damping = LEAST_DAMPING
    if length(damping) > radius:
        ends = np.log(LEAST_DAMPING), np.log(MOST_DAMPING)
        damping = np.exp(
            optimize.brentq(lambda a: length(np.exp(a)) - radius, *ends, xtol=0.01)
        )
    return np.tensordot(factors(damping), moves, 1), length(damping)


def _smooth(field):
    return ndimage.gaussian_filter(field, SMOOTH, mode="reflect")


def target_residual(
    target: Float[AnyArray, "3"], ranges: Float[AnyArray, "3"] = PAPER_RANGES
) -> Callable[[Array], Array]:
    """Return the residual of C11, C12, C44 over their ranges (arXiv 2401.13570)."""

    def residual(constants):
        goal = jnp.asarray(target, constants.dtype)
        return (goal - constants) / jnp.asarray(ranges, constants.dtype)

    return residual


@functools.lru_cache(maxsize=32)
def _with_slope(residual):
    """Return `constants -> (residual (k,), its derivatives (k, c))` in NumPy."""

    def both(constants):
        value = residual(constants)
        return value, value

    run = jax.jit(jax.jacfwd(both, has_aux=True))

    def with_slope(constants):
        slope, value = run(jnp.asarray(constants, jnp.float32))
        return np.asarray(value, np.float64), np.asarray(slope, np.float64)

    return with_slope
