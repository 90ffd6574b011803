"""The network as a denoiser: meaning of its output.

A network with `binary=False` predicts x0 itself, as in arXiv 2401.13570. Otherwise its
output F is half the log-odds that a voxel is solid by what surrounds it, and Bayes'
rule adds the evidence of the voxel itself: x_t = a x0 + s eps with x0 in {-1, +1} has
the log-likelihood ratio 2 a x_t / s^2, hence the posterior mean

  x0 = tanh(F + a x_t / s^2),  a^2 = gamma(t),  s^2 = 1 - gamma(t).

Where there is little noise the answer is right before anything is learned, so a network
that sees patches need not carry single voxels through its coarse channels.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmdiff.diffusion.schedule import Schedule
from mmdiff.models.unet import UNet
from mmdiff.typing import Array, Float


def make_denoiser(
    model: UNet,
    schedule: Schedule,
    *,
    variance: Float[np.ndarray, "n n n"] | None = None,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `apply(params, x, t, x0_prev, cond)`, the estimate of x0 (b, n, n, n).

    The variance of the noise by voxel, one unless given, divides the likelihood.
    """

    def apply(params: Any, x, t, x0_prev, cond):
        output = model.apply({"params": params}, x, t, x0_prev, cond)
        if not model.binary:
            return output
        gamma = schedule.gamma(t)[:, None, None, None]
        own = jnp.sqrt(gamma) / (1 - gamma) * x
        if variance is not None:
            own = own / jnp.asarray(variance, x.dtype)[None]
        return jnp.tanh(output + own)

    return apply
