"""DDIM inversion: the noise from which the deterministic sampler makes a given field.

A DDIM step from time t to s < t is x_s = a_s D + (sigma_s / sigma_t) (x_t - a_t D) with
D = D(x_t, t). Its inverse is implicit in x_t and solved by fixed-point iteration, so
that `samplers.ddim` with the same times leads back; one iteration leaves an error of
second order in the step. A plain iteration diverges where sigma_t > 2 sigma_s and the
estimate follows the state, as it does for smooth fields at small times: it is damped.
Reference: arXiv 2010.02502, section 4.3.
"""

import jax
import jax.numpy as jnp

from mmdiff.diffusion.schedule import Schedule
from mmdiff.typing import Array, Denoiser, Float


def invert(
    denoise: Denoiser,
    x: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    times: Float[Array, "s"],
    *,
    schedule: Schedule,
    clip: float = 1.0,
    iterations: int = 3,
) -> Float[Array, "b n n n"]:
    """Return the state at times[0] that DDIM takes to x at times[-1].

    The sampler hands each estimate to the next evaluation (self-conditioning), and the
    inversion walks the other way: it hands over the estimate of the smaller time. Where
    a network hardly depends on that, this makes no difference.

    Args:
      denoise: predicts x0.
      x: state at times[-1]; for a clean field x0, sqrt(gamma) x0.
      cond: conditions handed to the denoiser.
      times: descending times as for `samplers.ddim`.
      schedule: noise schedule.
      clip: bound of |x0|; `inf` for none.
      iterations: evaluations of the denoiser per step.
    """
    gamma = schedule.gamma(times)
    alpha = jnp.sqrt(gamma).astype(x.dtype)
    sigma = jnp.sqrt(1 - gamma).astype(x.dtype)

    def step(carry, inputs):
        below, x0 = carry
        t, a, s, a_below, s_below = inputs
        time = jnp.broadcast_to(t, (below.shape[0],))

        def above(x0):
            return a * x0 + (s / s_below) * (below - a_below * x0)

        # With a slope of the estimate by the state of 0 to 1, as of posterior means,
        # the error is multiplied by +-rise / (2 + rise) at most.
        rise = (s / s_below) * a_below - a

        def iterate(_, x0):
            found = jnp.clip(denoise(above(x0), time, x0, cond), -clip, clip)
            return x0 + 2 / (2 + rise) * (found - x0)

        x0 = jax.lax.fori_loop(0, iterations, iterate, x0)
        return (above(x0), x0), None

    # From the smallest time up.
    pairs = (times[:-1].astype(x.dtype), alpha[:-1], sigma[:-1], alpha[1:], sigma[1:])
    inputs = jax.tree.map(jnp.flip, pairs)
    start = jnp.clip(x / alpha[-1], -clip, clip)
    return jax.lax.scan(step, (x, start), inputs)[0][0]
