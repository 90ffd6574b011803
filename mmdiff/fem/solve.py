"""Preconditioned conjugate gradients for one right-hand side.

The tolerance is relative, in the plain 2-norm, and the outcome is reported. Several
right-hand sides are so many solves, see `device.each`: each has its own steps and stops
on its own, and what one needs does not touch the others.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.programs import keep_namedtuple
from mmdiff.typing import AnyArray, Array, Bool, Float, Int, Scalar

# Rounding of a solution after some iterations, in units of eps |D x|: 0.7 to 2 were
# seen on binary, graded and random cells of 16^3 to 64^3 after 7 to 50 iterations.
ROUNDINGS = 4


@keep_namedtuple
class SolveInfo(NamedTuple):
    """Outcome of a solve.

    The residual is the final |b - K x| / |b|: of `pcg` as the iteration sees it, of
    `verified` that of the solution as it is stored.
    """

    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def _dot(a, b):
    # Planes first: XLA vectorizes sums over leading axes, not those over the last one.
    # The barrier keeps it from merging the two.
    product = a * b
    size = product.shape[-1]
    plane = round(size ** (1 / 3)) ** 2
    if size % plane:  # a box, not a cube
        product = jnp.pad(product, [(0, 0), (0, plane - size % plane)])
    planes = product.reshape(-1, plane).sum(0)
    return lax.optimization_barrier(planes).sum()


def _norm(a):
    return jnp.sqrt(_dot(a, a))


class Limits(NamedTuple):
    """When a solve ends.

    Attributes:
      tol: target of |b - K x| / |b|.
      floor: rounding level of |b|: a b below it counts as zero.
      maxiter: most iterations.
      gain: a step that lowers the energy by less than this share of it is the last one,
        as later ones lower it by less and less; 0 for the residual alone.
      whole: energy of x = 0; that of others is whole - 2 b^T x + x^T K x.
    """

    tol: Scalar
    floor: Scalar
    maxiter: Scalar
    gain: Scalar = 0.0
    whole: Scalar = 0.0


def pcg(
    apply: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    b: Float[Array, "3 s"],
    x0: Float[AnyArray, "3 s"],
    limits: Limits,
) -> tuple[Float[Array, "3 s"], SolveInfo]:
    """Solve K x = b from x0, K symmetric and positive (semi)definite.

    `precondition` applies a symmetric positive definite approximation of its inverse.
    """
    tol, floor, maxiter, gain, whole = limits
    norm_b = _norm(b)
    target = jnp.where(norm_b > floor, tol * norm_b, floor)
    r = b - apply(x0)

    def settled(lowered, energy):
        return (gain > 0) & (lowered <= gain * energy)

    def cond(state):
        k, *_, lowered, energy, residual = state
        return (k < maxiter) & (residual > target) & ~settled(lowered, energy)

    def body(state):
        k, x, r, p, rho_old, _, energy, _ = state
        z = precondition(r)
        rho = _dot(r, z)
        p = z + jnp.where(k > 0, rho / rho_old, 0) * p
        kp = apply(p)
        curvature = _dot(p, kp)
        # An exactly solved system must not divide zero by zero.
        alpha = jnp.where(
            curvature > 0, rho / jnp.where(curvature > 0, curvature, 1), 0
        )
        x = x + alpha * p
        r = r - alpha * kp
        lowered = alpha * rho
        scalars = lowered, energy - lowered, _norm(r)
        return k + 1, x, r, p, jnp.where(rho > 0, rho, 1), *scalars

    one = jnp.ones_like(norm_b)
    scalars = one, one * jnp.inf, whole - _dot(x0, b + r), _norm(r)
    start = (jnp.int32(0), x0, r, jnp.zeros_like(b), *scalars)
    k, x, *_, lowered, energy, residual = lax.while_loop(cond, body, start)
    done = settled(lowered, energy)
    return x, _outcome(k, residual, target, norm_b, floor, done)


def _outcome(iterations, residual, target, norm_b, floor, settled):
    met = residual <= target
    zero = met & (norm_b <= floor)
    relative = residual / jnp.where(norm_b > floor, norm_b, 1)
    return SolveInfo(iterations, jnp.where(zero, 0, relative), met | settled)


def verified(
    apply: Callable[[Array], Array],
    b: Float[Array, "3 s"],
    x: Float[Array, "3 s"],
    info: SolveInfo,
    limits: Limits,
    *,
    diagonal: Float[Array, "d s"],
) -> SolveInfo:
    """Return the outcome as it is, with the residual of x computed anew.

    The iteration cannot see that x is stored with relative errors eps, whose forces are
    of the order eps |D x| with D the diagonal of K: in float32 about 1e-5 |b| on grids
    of 32^3, and growing with n. They are rough and carry next to no energy, and no
    further iteration removes them. A solve counts as converged if its residual is below
    the tolerance and `ROUNDINGS` times that level together, as a root mean square. With
    a `gain` the iteration's own word counts, too: its energy has settled.
    """
    tol, floor, _, gain, _ = limits
    norm_b, residual = _norm(b), _norm(b - apply(x))
    rounding = ROUNDINGS * jnp.finfo(x.dtype).eps * _norm(diagonal * x)
    allowed = jnp.where(norm_b > floor, jnp.hypot(tol * norm_b, rounding), floor)
    settled = (gain > 0) & info.converged
    return _outcome(info.iterations, residual, allowed, norm_b, floor, settled)


def scaled(
    inverse: Callable[[Array], Array], b: Float[Array, "l 3 x y z"]
) -> Float[Array, "l 3 x y z"]:
    """Return the linear `inverse` of b, applied to loads of largest entry one.

    The norms of tiny right-hand sides underflow, and divisions give NaN.
    """
    size = abs(b).max((1, 2, 3, 4), keepdims=True)
    size = jnp.where(size == 0, 1, size)
    return size * inverse(b / size)


def no_tangent(value: Array) -> Any:
    """Return the zero tangent of a value that is not differentiated."""
    if jnp.issubdtype(value.dtype, jnp.inexact):
        return jnp.zeros_like(value)
    return np.zeros(value.shape, jax.dtypes.float0)
