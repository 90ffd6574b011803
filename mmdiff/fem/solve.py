"""Preconditioned conjugate gradients for several right-hand sides at once.

Each right-hand side has its own step lengths; converged ones are frozen, so the answer
for one load does not depend on the others. The tolerance is relative, in the plain
2-norm, and the outcome is reported per load.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from mmdiff.typing import Array, Bool, Float, Int


class SolveInfo(NamedTuple):
    """Outcome of a solve, one entry per load.

    Attributes:
      iterations: conjugate-gradient iterations used.
      residual: final |b - K x| / |b| as the iteration sees it.
      converged: whether the tolerance was met.
    """

    iterations: Int[Array, "l"]
    residual: Float[Array, "l"]
    converged: Bool[Array, "l"]


def _dot(a, b):
    # One axis at a time keeps float32 sums of 1e6 terms accurate to rounding.
    return (a * b).sum(-1).sum(-1).sum(-1).sum(-1)


def _wide(scalars):
    return scalars[:, None, None, None, None]


def pcg(
    apply: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    b: Float[Array, "l 3 m m m"],
    x0: Float[Array, "l 3 m m m"],
    *,
    tol: float,
    maxiter: int,
    floor: Float[Array, "l"],
) -> tuple[Float[Array, "l 3 m m m"], SolveInfo]:
    """Solve K x = b for every load.

    Args:
      apply: the symmetric positive (semi)definite operator.
      precondition: a symmetric positive definite approximation of its inverse.
      b: right-hand sides.
      x0: initial guesses.
      tol: wanted |b - K x| / |b|.
      maxiter: most iterations.
      floor: loads of a norm below this count as zero; the rounding level of b.

    Returns:
      the solutions and their `SolveInfo`.
    """
    norm_b = jnp.sqrt(_dot(b, b))
    target = jnp.where(norm_b > floor, tol * norm_b, floor)
    r = b - apply(x0)
    zero = jnp.zeros_like(b)
    one = jnp.ones_like(norm_b)

    def norm(r):
        return jnp.sqrt(_dot(r, r))

    def cond(state):
        k, *_, residual, _ = state
        return (k < maxiter) & jnp.any(residual > target)

    def body(state):
        k, x, r, p, rho_old, residual, iterations = state
        active = residual > target
        z = precondition(r)
        rho = _dot(r, z)
        p = z + _wide(jnp.where(k > 0, rho / rho_old, 0)) * p
        kp = apply(p)
        curvature = _dot(p, kp)
        # A frozen or exactly solved load must not divide zero by zero.
        ok = active & (curvature > 0)
        alpha = _wide(jnp.where(ok, rho / jnp.where(ok, curvature, 1), 0))
        x = x + alpha * p
        r = r - alpha * kp
        rho = jnp.where(rho > 0, rho, 1)
        residual = jnp.where(active, norm(r), residual)
        iterations = iterations + active.astype(iterations.dtype)
        return k + 1, x, r, p, rho, residual, iterations

    start = (0, x0, r, zero, one, norm(r), jnp.zeros(b.shape[0], jnp.int32))
    _, x, _, _, _, residual, iterations = lax.while_loop(cond, body, start)
    scale = jnp.where(norm_b > floor, norm_b, 1)
    relative = jnp.where(residual > target, residual / scale, 0)
    relative = jnp.where(norm_b > floor, residual / scale, relative)
    return x, SolveInfo(iterations, relative, residual <= target)
