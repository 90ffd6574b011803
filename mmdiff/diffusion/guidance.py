"""Guidance as functions from denoiser to denoiser.

Classifier-free guidance (arXiv 2207.12598) in x0 form extrapolates from the
unconditional to the conditional estimate. Classifier guidance (arXiv 2105.05233) moves
the estimate down the gradient of a user's loss of it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmdiff.diffusion.conditions import NULL
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


def loss_guidance(
    denoise: Denoiser,
    loss: Callable[[Float[Array, "n n n"]], Float[Array, ""]],
    scale: float,
) -> Denoiser:
    """Return a denoiser whose estimate is moved by -scale d loss / d x0.

    Args:
      denoise: the denoiser to guide.
      loss: scalar function of one x0 estimate in [-1, 1], e.g. of a regressor.
      scale: step length; 0 returns `denoise` itself.
    """
    if scale == 0:
        return denoise
    gradient = jax.vmap(jax.grad(loss))

    def guided(x, t, x0_prev, cond):
        x0 = denoise(x, t, x0_prev, cond)
        return x0 - scale * gradient(x0)

    return guided
