"""Samplers on a plain denoiser: DDIM and DPM-Solver++(2M).

Each is one `lax.scan` over a fixed grid of times, so compile time does not grow with
the number of steps. The x0 estimate of each step is clipped to [-1, 1] and handed to
the next one (self-conditioning). References: DDIM arXiv 2010.02502; DPM-Solver++ arXiv
2211.01095, algorithm 2.

All take a correction of the estimate, such as one by finite elements. It enters as
in pseudoinverse guidance (Song et al., ICLR 2023): the step is made with the denoiser's
own estimate, then the next state is moved by alpha times what the correction changed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmdiff.diffusion.process import Noise, symmetric_noise
from mmdiff.diffusion.schedule import Schedule, half_log_snr
from mmdiff.typing import Array, Denoiser, Float, Key, Keys, Scalar

Sampler = Callable[..., Float[Array, "b n n n"]]
# (x0, t) -> x0 with t a scalar: moves the estimates of a batch.
Correction = Callable[
    [Float[Array, "b n n n"], Float[Array, ""]], Float[Array, "b n n n"]
]


def time_grid(
    steps: int, *, first: float = 1.0, last: float = 0.005, power: float = 1.5
) -> Float[Array, "s"]:
    """Return steps + 1 times from `first` down to `last`, denser towards the end.

    The answer is the estimate at the last time but one: of fields, unlike binary
    voxels, that is as exact as its time is small. `power` 1 is uniform in t. The last
    step ends at a small positive time; lambda would be infinite at gamma = 1.
    """
    return last + (first - last) * jnp.linspace(1.0, 0.0, steps + 1) ** power


def ddim(
    denoise: Denoiser,
    x: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    times: Float[Array, "s"],
    *,
    schedule: Schedule,
    clip: float = 1.0,
    correct: Correction | None = None,
) -> tuple[Float[Array, "b n n n"], Float[Array, "b n n n"]]:
    """Integrate the probability flow by DDIM steps (first order, deterministic).

    Args:
      denoise: predicts x0.
      x: state at times[0], standard normal if times[0] = 1.
      cond: conditions handed to the denoiser.
      times: descending times, one more than steps.
      schedule: noise schedule.
      clip: bound of |x0|; `inf` for none.
      correct: moves each estimate, see above; None to leave them.

    Returns:
      (x, x0): the state at times[-1] and the last estimate of x0.
    """
    alpha, sigma, _ = _coefficients(schedule, times, x.dtype)

    def step(carry, inputs):
        x, x0_prev = carry
        t, a, s, a_next, s_next = inputs
        x0 = jnp.clip(denoise(x, _full(t, x), x0_prev, cond), -clip, clip)
        better = x0 if correct is None else correct(x0, t)
        noise = (x - a * x0) / s
        return (a_next * better + s_next * noise, better), None

    inputs = (times[:-1].astype(x.dtype), alpha[:-1], sigma[:-1], alpha[1:], sigma[1:])
    return jax.lax.scan(step, (x, jnp.zeros_like(x)), inputs)[0]


def dpm_solver(
    denoise: Denoiser,
    x: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    times: Float[Array, "s"],
    *,
    schedule: Schedule,
    clip: float = 1.0,
    correct: Correction | None = None,
) -> tuple[Float[Array, "b n n n"], Float[Array, "b n n n"]]:
    """Integrate the probability flow by DPM-Solver++(2M), x0 form, second order.

    x_next = (s_next / s) x - a_next (exp(-h) - 1) D, with h the step of lambda and
    D = x0 + h / (2 h_prev) (x0 - x0_prev); the first step is a DDIM step. Arguments
    and returns as in `ddim`.
    """
    alpha, sigma, lam = _coefficients(schedule, times, x.dtype)
    h = jnp.diff(lam)
    # Zero for the first step, which has no previous estimate.
    weight = jnp.concatenate([jnp.zeros((1,), h.dtype), h[1:] / (2 * h[:-1])])

    def step(carry, inputs):
        x, x0_prev, own_prev = carry
        t, ratio, factor, w, a_next = inputs
        x0 = jnp.clip(denoise(x, _full(t, x), x0_prev, cond), -clip, clip)
        slope = jnp.clip(x0 + w * (x0 - own_prev), -clip, clip)
        x = ratio * x - factor * slope
        if correct is None:
            return (x, x0, x0), None
        better = correct(x0, t)
        return (x + a_next * (better - x0), better, x0), None

    ratio = sigma[1:] / sigma[:-1]
    factor = alpha[1:] * jnp.expm1(-h)
    inputs = (times[:-1].astype(x.dtype), ratio, factor, weight, alpha[1:])
    zeros = jnp.zeros_like(x)
    return jax.lax.scan(step, (x, zeros, zeros), inputs)[0][:2]


def sample(
    key: Key | Keys,
    denoise: Denoiser,
    cond: Float[Array, "b k"],
    n: int,
    *,
    schedule: Schedule,
    times: Float[Array, "s"],
    sampler: Sampler = dpm_solver,
    noise: Noise = symmetric_noise,
) -> Float[Array, "b n n n"]:
    """Draw one field per row of conditions.

    Example i starts from `fold_in(key, i)`, so that more rows do not change the first.

    Args:
      key: typed key, or one for each row in place of these.
      denoise: predicts x0, guided or not.
      cond: normalised conditions, -1 where free.
      n: octant side.
      schedule: noise schedule the denoiser was trained on.
      times: descending times, one more than evaluations of the denoiser.
      sampler: `dpm_solver` or `ddim`; with a correction bound by
        `functools.partial(sampler, correct=...)`.
      noise: draws the state at the first time, as in training.

    Returns:
      The last x0 estimate, in [-1, 1]: a field, solid where positive.
    """
    keys = key if key.ndim else numbered(key, cond.shape[0])
    x = jax.vmap(lambda key: noise(key, n))(keys)
    return sampler(denoise, x, cond, times, schedule=schedule)[1]


def numbered(key: Key, count: int, first: Scalar = 0) -> Keys:
    """Return the keys of so many examples of a batch, from number `first` on."""
    return jax.vmap(lambda i: jax.random.fold_in(key, first + i))(jnp.arange(count))


def _coefficients(schedule, times, dtype):
    """Return alpha, sigma and lambda at the times, computed once outside the scan."""
    gamma = schedule.gamma(times)
    lam = half_log_snr(schedule, times)
    return (
        jnp.sqrt(gamma).astype(dtype),
        jnp.sqrt(1 - gamma).astype(dtype),
        lam.astype(dtype),
    )


def _full(t, x):
    return jnp.broadcast_to(t, (x.shape[0],))
