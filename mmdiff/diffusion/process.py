"""The forward process on symmetric octants and the self-conditioned training loss.

Noise is drawn on the independent voxels only and spread by symmetry, so that every
voxel has unit variance; drawing it on all voxels and averaging over permutations, as
the paper does, leaves a noise level that differs by voxel. Every example has its own
key, hence the numbers do not depend on how a batch is split over devices.
"""

import jax
import jax.numpy as jnp

from mmdiff import symmetry
from mmdiff.diffusion.schedule import Schedule
from mmdiff.typing import Array, Denoiser, Float, Key


def symmetric_noise(key: Key, n: int, dtype=jnp.float32) -> Float[Array, "n n n"]:
    """Draw cubic-symmetric Gaussian noise with unit variance at every voxel."""
    values = jax.random.normal(key, (symmetry.num_independent(n),), dtype)
    return symmetry.spread(values, n)


def q_sample(
    x0: Float[Array, "*b n n n"],
    noise: Float[Array, "*b n n n"],
    gamma: Float[Array, "*b"],
) -> Float[Array, "*b n n n"]:
    """Return x_t = sqrt(gamma) x0 + sqrt(1 - gamma) noise."""
    gamma = gamma[..., None, None, None]
    return jnp.sqrt(gamma) * x0 + jnp.sqrt(1 - gamma) * noise


def noised_example(
    key: Key, x0: Float[Array, "n n n"], *, schedule: Schedule
) -> tuple[Float[Array, "n n n"], Float[Array, ""]]:
    """Draw (x_t, t) with t uniform in [0, 1) for one example."""
    key_time, key_noise = jax.random.split(key)
    t = jax.random.uniform(key_time, dtype=x0.dtype)
    noise = symmetric_noise(key_noise, x0.shape[-1], x0.dtype)
    return q_sample(x0, noise, schedule.gamma(t)), t


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


def training_loss(
    denoise: Denoiser,
    keys: Key,
    x0: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    *,
    schedule: Schedule,
) -> Float[Array, "b"]:
    """Return the squared error of the x0 estimate, mean over voxels, per example.

    Args:
      denoise: the network with its parameters bound.
      keys: one typed key per example, shape (b,).
      x0: clean octants in {-1, +1}.
      cond: normalised conditions, -1 where dropped.
      schedule: noise schedule.
    """
    x, t = jax.vmap(lambda key, x0: noised_example(key, x0, schedule=schedule))(
        keys, x0
    )
    x0_prev = self_conditioned(denoise, x, t, cond)
    estimate = denoise(x, t, x0_prev, cond)
    return jnp.mean((estimate - x0) ** 2, (1, 2, 3))


def loss_at(
    denoise: Denoiser,
    keys: Key,
    x0: Float[Array, "b n n n"],
    cond: Float[Array, "b k"],
    t: Float[Array, ""],
    *,
    schedule: Schedule,
) -> Float[Array, "b"]:
    """Return the self-conditioned error per example at one fixed noise level."""
    n = x0.shape[-1]
    noise = jax.vmap(lambda key: symmetric_noise(key, n, x0.dtype))(keys)
    times = jnp.full((x0.shape[0],), t, x0.dtype)
    x = q_sample(x0, noise, schedule.gamma(times))
    first = jnp.clip(denoise(x, times, jnp.zeros_like(x), cond), -1.0, 1.0)
    estimate = denoise(x, times, first, cond)
    return jnp.mean((estimate - x0) ** 2, (1, 2, 3))
