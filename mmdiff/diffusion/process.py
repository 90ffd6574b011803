"""The forward process on symmetric fields and the self-conditioned training loss.

Noise is drawn on the independent samples only and spread by symmetry, so that every
one has unit variance; drawing it on all of them and averaging over permutations, as
the paper does, leaves a noise level that differs by place. Every example has its own
key, hence the numbers do not depend on how a batch is split over devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import symmetry
from mmdiff.diffusion.schedule import Schedule
from mmdiff.typing import AnyArray, Array, Denoiser, Float, Key, Keys, Scalar

# (key, n, dtype) -> octant of noise
Noise = Callable[..., Float[Array, "n n n"]]


def symmetric_noise(key: Key, n: int, dtype=jnp.float32) -> Float[Array, "n n n"]:
    """Draw cubic-symmetric Gaussian noise with unit variance at every voxel."""
    values = jax.random.normal(key, (symmetry.num_independent(n),), dtype)
    return symmetry.spread(values, n)


def averaged_noise(key: Key, n: int, dtype=jnp.float32) -> Float[Array, "n n n"]:
    """Draw Gaussian noise on all voxels and average it over the six permutations.

    The noise of arXiv 2401.13570, for comparison. Its variance is that of
    `averaged_variance`: 1/6 at most voxels, 1/3 on the planes of two equal indices and
    1 on the diagonal, so that one time stands for three signal-to-noise ratios.
    """
    return symmetry.symmetrize(jax.random.normal(key, (n, n, n), dtype))


def averaged_variance(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the variance of `averaged_noise`: one over the size of a voxel's orbit."""
    return symmetry.spread(1 / symmetry.multiplicity(n), n)


def q_sample(
    x0: Float[AnyArray, "*b n n n"],
    noise: Float[AnyArray, "*b n n n"],
    gamma: Float[AnyArray, "*b"],
) -> Float[Array, "*b n n n"]:
    """Return x_t = sqrt(gamma) x0 + sqrt(1 - gamma) noise."""
    gamma = gamma[..., None, None, None]
    return jnp.sqrt(gamma) * x0 + jnp.sqrt(1 - gamma) * noise


def noised_example(
    key: Key,
    x0: Float[Array, "n n n"],
    *,
    schedule: Schedule,
    noise: Noise = symmetric_noise,
    late: float = 0.0,
) -> tuple[Float[Array, "n n n"], Float[Array, ""]]:
    """Draw (x_t, t) for one example, t in [0, 1) with a density that grows as t^late.

    Fields are smooth: their coarse shape, which conditions tell, is open only where
    there is much noise.
    """
    key_time, key_noise = jax.random.split(key)
    t = jax.random.uniform(key_time, dtype=x0.dtype) ** (1 / (1 + late))
    drawn = noise(key_noise, x0.shape[-1], x0.dtype)
    return q_sample(x0, drawn, schedule.gamma(t)), t


def self_conditioned(
    denoise: Denoiser,
    x: Float[Array, "b n n n"],
    t: Float[Array, "b"],
    cond: Float[Array, "b k"],
) -> Float[Array, "b n n n"]:
    """Return x0_prev: a first estimate for every other example, zeros for the rest.

    The paper draws a coin with probability 1/2 for each batch. Taking the even
    positions of a shuffled batch has the same share, costs one forward pass on half
    the batch, and stays the same when an even-sized batch is split over devices.
    """
    half = x[::2]
    first = denoise(half, t[::2], jnp.zeros_like(half), cond[::2])
    first = jax.lax.stop_gradient(jnp.clip(first, -1.0, 1.0))
    pairs = jnp.stack([first, jnp.zeros_like(first)], 1)
    return pairs.reshape(-1, *x.shape[1:])[: x.shape[0]]


def without_previous(denoise: Denoiser) -> Denoiser:
    """Return the denoiser without self-conditioning: its x0_prev is always zero.

    For training and sampling alike; compilers drop the first pass that no one reads.
    """

    def forgetful(x, t, x0_prev, cond):
        return denoise(x, t, jnp.zeros_like(x0_prev), cond)

    return forgetful


def training_loss(
    denoise: Denoiser,
    keys: Keys,
    x0: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    *,
    schedule: Schedule,
    noise: Noise = symmetric_noise,
    late: float = 0.0,
    weight: Callable[[Float[Array, "b"]], Float[Array, "b"]] | None = None,
) -> Float[Array, "b"]:
    """Return the squared error of the x0 estimate, mean over samples, per example.

    Args:
      denoise: the network with its parameters bound.
      keys: one typed key per example, shape (b,).
      x0: clean fields in [-1, 1].
      cond: normalised conditions, -1 where dropped.
      schedule: noise schedule.
      noise: draws the noise of an example.
      late: power of the density of times, see `noised_example`.
      weight: of errors at some times; None for 1.
    """

    def noised(key, x0):
        return noised_example(key, x0, schedule=schedule, noise=noise, late=late)

    x, t = jax.vmap(noised)(keys, x0)
    x0_prev = self_conditioned(denoise, x, t, cond)
    estimate = denoise(x, t, x0_prev, cond)
    loss = jnp.mean((estimate - x0) ** 2, (1, 2, 3))
    return loss if weight is None else weight(t) * loss


def loss_at(
    denoise: Denoiser,
    keys: Keys,
    x0: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    t: Scalar,
    *,
    schedule: Schedule,
    noise: Noise = symmetric_noise,
) -> Float[Array, "b"]:
    """Return the self-conditioned error per example at one fixed noise level."""
    n = x0.shape[-1]
    drawn = jax.vmap(lambda key: noise(key, n, x0.dtype))(keys)
    times = jnp.full((x0.shape[0],), t, x0.dtype)
    x = q_sample(x0, drawn, schedule.gamma(times))
    first = jnp.clip(denoise(x, times, jnp.zeros_like(x), cond), -1.0, 1.0)
    estimate = denoise(x, times, first, cond)
    return jnp.mean((estimate - x0) ** 2, (1, 2, 3))
