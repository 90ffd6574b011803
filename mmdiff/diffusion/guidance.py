"""Guidance as functions from denoiser to denoiser.

Classifier-free guidance (arXiv 2207.12598) in x0 form extrapolates from the
unconditional to the conditional estimate. Where a property of the estimate is known
with its gradient, `posterior_step` solves for its target value.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmdiff.diffusion.conditions import NULL
from mmdiff.linalg import multipliers
from mmdiff.typing import Array, Denoiser, Float


def classifier_free_guidance(denoise: Denoiser, weight: float) -> Denoiser:
    """Return D(c) <- D(null) + weight (D(c) - D(null)).

    Weight 1 is the plain conditional estimate and returns `denoise` itself; weight 0
    is the unconditional one. Both need a single pass per evaluation, others two.
    """
    if weight == 1:
        return denoise

    def unconditional(x, t, x0_prev, cond):
        return denoise(x, t, x0_prev, jnp.full_like(cond, NULL))

    if weight == 0:
        return unconditional

    def guided(x, t, x0_prev, cond):
        free = unconditional(x, t, x0_prev, cond)
        return free + weight * (denoise(x, t, x0_prev, cond) - free)

    return guided


def posterior_step(
    x0: Float[Array, "n n n"],
    residual: Float[Array, "k"],
    jacobian: Float[Array, "k n n n"],
    *,
    smooth: Callable | None = None,
    longest: float = 3.0,
    softest: float = 0.98,
) -> Float[Array, "n n n"]:
    """Move an estimate of binary voxels by one Newton step towards given properties.

    Half the log-odds a = arctanh(x0) of the voxels are taken as normal with a
    covariance W. With D = 1 - x0^2, the slope of x0 by a, the most likely change that
    cancels the residual to first order is

      a += W D J^T l,  (J D W D J^T) l = residual.

    Where W = 1 / D, voxels are independent, each with the variance D of a binary one.
    Where it is a smooth matrix G, undecided voxels lead, those beside them follow and
    decided ones hardly move: surfaces advance as a whole, and stay smooth.

    Args:
      x0: estimate in [-1, 1].
      residual: target minus present properties; NaN for those that are left free.
      jacobian: derivatives of the properties by x0, as symmetric as x0.
      smooth: applies G to (n, n, n), symmetric and non-negative definite; None for
        independent voxels.
      longest: largest change of half the log-odds of a voxel; longer steps are scaled.
      softest: |x0| above which voxels count as decided no more firmly than that.

    Returns:
      the moved estimate, within +-`softest` before the step.
    """
    x0 = jnp.clip(x0, -softest, softest)
    counts = ~jnp.isnan(residual)
    jacobian = jnp.where(counts[:, None, None, None], jacobian, 0.0)
    slopes = jacobian * (1 - x0**2)[None]
    moves = jacobian if smooth is None else jax.vmap(smooth)(slopes)
    weights = multipliers(jnp.einsum("ixyz,jxyz->ij", slopes, moves), residual)
    step = jnp.einsum("i,ixyz->xyz", weights, moves)
    shrink = jnp.minimum(1.0, longest / jnp.maximum(jnp.abs(step).max(), 1e-20))
    return jnp.tanh(jnp.arctanh(x0) + shrink * step)
