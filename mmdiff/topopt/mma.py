"""The method of moving asymptotes (MMA) for several constraints.

Each function is replaced by a convex separable one between asymptotes, which widen
while a variable keeps its direction and narrow when it turns back: Svanberg, Int. J.
Numer. Methods Eng. 24 (1987) 359 and SIAM J. Optim. 12 (2002) 555. With asymptotes at
x - span and x + span, and t = (x_new - x) / span, a function of gradient a becomes

  f + sum_i span_i (a_i t_i + w_i t_i^2) / (1 - t_i^2),   w_i = 1.002 |a_i| + small,

which is his p / (U - x) + q / (x - L). The subproblem is solved through its dual, whose
few multipliers are bounded by a penalty, so starts that violate the constraints are
welcome. The inner iterations that would make every step a descent are left out.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.errors import InputError
from mmdiff.topopt.oc import Optimizer
from mmdiff.typing import AnyArray, Array, Float, Scalar

CONVEXITY = 0.001  # share of |gradient| in the term that it does not belong to
FLATTEST = 1e-5  # curvature of what has no gradient, in terms of the mean gradient
FARTHEST = 10.0  # asymptotes, in terms of the range of a variable
REACH = 0.9  # of the way to the asymptote
EVALUATIONS = 30  # of the dual, at most
OPPOSED = 1e-4  # 1 + cosine of two gradients that count as each other's negative


@dataclasses.dataclass(frozen=True)
class Asymptotes:
    """How far the asymptotes stand from a design.

    Attributes:
      start: distance of the first ones, in terms of the range.
      grow: factor of the distance while a variable keeps its direction.
      shrink: factor of the distance when a variable turns back.
      nearest: least distance, in terms of the range: iterates come this near to a
        minimum where no constraint holds them, and turn back and forth.
    """

    start: float = 0.5
    grow: float = 1.2
    shrink: float = 0.7
    nearest: float = 0.001


class MmaState(NamedTuple):
    """The last design, its change (0 where it is rounding), and asymptotes at +- span.

    At convergence the multipliers are those of the problem: df/dx + multipliers @ dg/dx
    = 0 where x is inside its bounds.
    """

    last: Float[Array, "m"]
    change: Float[Array, "m"]
    span: Float[Array, "m"]
    multipliers: Float[Array, "k"]


def mma(
    *,
    num_constraints: int,
    low: Scalar | Float[AnyArray, "m"] | Sequence[float] = 0.0,
    high: Scalar | Float[AnyArray, "m"] | Sequence[float] = 1.0,
    move: float = 0.2,
    asymptotes: Asymptotes = Asymptotes(),  # noqa: B008  (frozen)
    penalty: float = 1000.0,
) -> Optimizer:
    """Return the `(init, update)` pair of MMA.

    The iterates do not depend on the units of f and g: each function is divided by the
    change that its gradient promises over the whole range of x, sum_i |a_i| (high_i -
    low_i). An equality is passed as the pair g <= 0, -g <= 0. Where f is constant, the
    design is changed as little as the constraints allow.

    Args:
      num_constraints: k.
      low: bounds of the design variables, scalars or one for each.
      high: upper bounds.
      move: largest change of a variable per step, in terms of its range.
      asymptotes: how they follow the designs.
      penalty: cost of violating a constraint, in terms of the divided functions: their
        largest multiplier. Must exceed the multipliers of the solution.

    Returns:
      see `Optimizer`; designs must lie within the bounds.
    """

    def box(design):
        sides = (jnp.asarray(side, design.dtype) for side in (low, high))
        return [jnp.broadcast_to(side, design.shape) for side in sides]

    def init(design):
        lowest, highest = box(design)
        multipliers = jnp.zeros(num_constraints, design.dtype)
        span = asymptotes.start * (highest - lowest)
        return MmaState(design, jnp.zeros_like(design), span, multipliers)

    def update(gradient, state, design, constraints, jacobian):
        if jacobian.shape != (num_constraints, design.size):
            raise InputError(
                f"expected a jacobian of shape {(num_constraints, design.size)} for "
                f"{num_constraints} constraints, got {jacobian.shape}."
            )
        lowest, highest = box(design)
        width = highest - lowest
        change = design - state.last
        # A variable at its bound does not turn, though it may move by rounding.
        still = abs(change) <= 8 * jnp.finfo(design.dtype).eps * width
        change = jnp.where(still, 0, change)
        turn = change * state.change
        grow, shrink = asymptotes.grow, asymptotes.shrink
        factor = jnp.where(turn > 0, grow, jnp.where(turn < 0, shrink, 1.0))
        span = jnp.clip(
            state.span * factor, asymptotes.nearest * width, FARTHEST * width
        )

        farthest = jnp.minimum(REACH, move * width / span)
        slopes = jnp.concatenate([gradient[None], jacobian])
        unit = _matmul(abs(slopes), width)
        unit = jnp.where(unit > 0, unit, 1)
        slopes = slopes / unit[:, None] * span[None]
        least = FLATTEST / span.size * span / width
        problem = _Subproblem(
            slopes,
            (1 + 2 * CONVEXITY) * abs(slopes) + least[None],
            constraints / unit[1:],
            jnp.maximum(-farthest, (lowest - design) / span),
            jnp.minimum(farthest, (highest - design) / span),
        )
        price = unit[1:] / unit[0]
        multipliers = _solve_dual(problem, state.multipliers * price, penalty)
        t, _, _ = _minimize(problem, multipliers)
        new = jnp.clip(design + span * t, lowest, highest)
        return new, MmaState(design, change, span, multipliers / price)

    return Optimizer(init, update)


class _Subproblem(NamedTuple):
    """Sums of (slope t + bend t^2) / (1 - t^2) for f and all g, and bounds of t."""

    slopes: Float[Array, "1+k m"]
    bends: Float[Array, "1+k m"]
    values: Float[Array, "k"]
    lowest: Float[Array, "m"]
    highest: Float[Array, "m"]


class _Dual(NamedTuple):
    """The dual at some multipliers: its value, gradient and negative Hessian.

    `stiffest` is the diagonal that the Hessian had, were no variable at a bound.
    """

    multipliers: Float[Array, "k"]
    value: Float[Array, ""]
    gradient: Float[Array, "k"]
    curvature: Float[Array, "k k"]
    stiffest: Float[Array, "k"]


def _matmul(one, other):
    # Accelerators would shorten float32; the dual gradient must vanish to rounding.
    return jnp.matmul(one, other, precision="highest")


def _minimize(problem, multipliers):
    """Return t (m,) of the least Lagrangian, and its coefficients of t and t^2."""
    weights = jnp.concatenate([jnp.ones(1, multipliers.dtype), multipliers])
    slope = _matmul(weights, problem.slopes)
    bend = _matmul(weights, problem.bends)
    t = -slope / (bend + jnp.sqrt((bend - slope) * (bend + slope)))
    return jnp.clip(t, problem.lowest, problem.highest), slope, bend


def _evaluate(problem, multipliers):
    """Return the dual function: the least Lagrangian of given multipliers."""
    t, slope, bend = _minimize(problem, multipliers)
    inverse = 1 / (1 - t**2)
    totals = _matmul(problem.slopes, t * inverse)
    totals = totals + _matmul(problem.bends, t**2 * inverse)
    gradient = problem.values + totals[1:]
    value = totals[0] + _matmul(multipliers, gradient)
    second = (bend + slope) / (1 - t) ** 3 + (bend - slope) / (1 + t) ** 3
    weight = inverse**2 / jnp.sqrt(second)
    rows = (weight * (1 + t**2))[None] * problem.slopes[1:]
    rows = rows + (weight * 2 * t)[None] * problem.bends[1:]
    # Variables at their bounds do not follow a change of the multipliers.
    free = (t > problem.lowest) & (t < problem.highest)
    curvature = _matmul(jnp.where(free[None], rows, 0), rows.T)
    stiffest = _matmul(rows**2, jnp.ones_like(t))
    return _Dual(multipliers, value, gradient, curvature, stiffest)


def _solve_dual(problem, guess, penalty):
    """Maximize the dual over multipliers in [0, penalty] by damped Newton steps.

    The damping grows where steps fail, as in Levenberg and Marquardt's method: with
    most variables at a bound the Hessian vanishes, and it jumps where they leave it.

    Of two constraints with opposite gradients, such as those of an equality, only one
    is active at a time. Their convex approximations leave a gap, so that the two
    together would tie the variables to where they are.
    """
    eps = jnp.finfo(guess.dtype).eps
    opposed = _opposed(problem.slopes[1:])
    identity = jnp.eye(guess.size, dtype=guess.dtype)

    def free(dual):
        """Return which multipliers may move, uphill and within their bounds."""
        at, uphill = dual.multipliers, dual.gradient
        rank = jnp.where(at > 0, jnp.inf, uphill)
        order = jnp.arange(guess.size)
        tie = (rank[None] == rank[:, None]) & (order[None] < order[:, None])
        before = (rank[None] > rank[:, None]) | tie
        bound = ((at <= 0) & (uphill <= 0)) | ((at >= penalty) & (uphill >= 0))
        return ~bound & ~(opposed & before).any(axis=1)

    def unfinished(carry):
        dual, _, count = carry
        left = jnp.where(free(dual), abs(dual.gradient), 0)
        return (left.max(initial=0) > 100 * eps) & (count < EVALUATIONS)

    def step(carry):
        dual, damping, count = carry
        moves = free(dual)
        both = moves[:, None] & moves[None]
        # Constraints that coincide make the matrix singular.
        diagonal = damping * dual.stiffest + 1e-5 * jnp.diag(dual.curvature) + 1e-10
        matrix = dual.curvature + jnp.diag(diagonal)
        direction = jnp.linalg.solve(
            jnp.where(both, matrix, identity), jnp.where(moves, dual.gradient, 0)
        )
        trial = _evaluate(problem, jnp.clip(dual.multipliers + direction, 0, penalty))
        promised = _matmul(dual.gradient, trial.multipliers - dual.multipliers)
        noise = 10 * eps * abs(dual.value)
        accept = trial.value >= dual.value + 1e-4 * promised - noise
        damping = jnp.where(accept, damping / 10, jnp.maximum(damping * 10, 1e-3))
        dual = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial, dual)
        return dual, damping, count + 1

    guess = jnp.maximum(guess - _matmul(opposed.astype(guess.dtype), guess), 0)
    first = _evaluate(problem, jnp.minimum(guess, penalty))
    carry = first, jnp.full((), 0.01, guess.dtype), jnp.ones((), jnp.int32)
    return lax.while_loop(unfinished, step, carry)[0].multipliers


def _opposed(slopes):
    """Return (k, k) which gradients are negative multiples of each other."""
    gram = _matmul(slopes, slopes.T)
    norm = jnp.sqrt(jnp.diag(gram))
    return gram < -(1 - OPPOSED) * norm[:, None] * norm[None]
