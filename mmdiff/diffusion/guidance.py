"""Guidance as functions from denoiser to denoiser.

Classifier-free guidance (arXiv 2207.12598) in x0 form extrapolates from the
unconditional to the conditional estimate. Where a property of the estimate is known
with its gradient, `field_step` solves for its target value.
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


def field_step(
    field: Float[Array, "n n n"],
    residual: Float[Array, "k"],
    jacobian: Float[Array, "k n n n"],
    *,
    smooth: Callable,
    longest: float = 1.0,
) -> Float[Array, "n n n"]:
    """Move an estimated field by one Newton step towards given properties.

    With a change that is normal with the covariance G, the most likely one that cancels
    the residual to first order is G J^T l, (J G J^T) l = residual. Where G is smooth,
    surfaces advance as a whole, and stay smooth.

    Args:
      field: estimate, of any scale.
      residual: target minus present properties; NaN for those that are left free.
      jacobian: derivatives of the properties by the field, as symmetric as it is.
      smooth: applies G to (n, n, n), symmetric and non-negative definite.
      longest: largest change of a sample; longer steps are scaled.
    """
    counts = ~jnp.isnan(residual)
    jacobian = jnp.where(counts[:, None, None, None], jacobian, 0.0)
    moves = jax.vmap(smooth)(jacobian)
    weights = multipliers(jnp.einsum("ixyz,jxyz->ij", jacobian, moves), residual)
    step = jnp.einsum("i,ixyz->xyz", weights, moves)
    shrink = jnp.minimum(1.0, longest / jnp.maximum(jnp.abs(step).max(), 1e-20))
    return field + shrink * step
