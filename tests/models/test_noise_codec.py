"""Cells that come back from their noise, and noises that are noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells.symmetry import is_cubic
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.diffusion import samplers
from mmdiff.diffusion.inversion import invert
from mmdiff.diffusion.process import without_previous
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.models import noise_codec

SCHEDULE = ExponentialSchedule()
FREE = jnp.full(4, -1.0)
WAVE = np.cos(np.pi * (np.arange(8) + 0.5) / 8)
FIELD = WAVE[:, None, None] + WAVE[:, None] + WAVE
BALL, FRAME = (
    2.0 * threshold_to_volume(field, share) - 1
    for field, share in ((-FIELD, 0.3), (FIELD, 0.4))
)


def _denoise(x, t, x0_prev, cond):
    """The posterior mean of voxels of -1 and +1, and what it remembers."""
    gamma = SCHEDULE.gamma(t)[:, None, None, None]
    return jnp.tanh(jnp.sqrt(gamma) / (1 - gamma) * x + 3 * x0_prev)


@pytest.fixture(scope="module")
def codec():
    return noise_codec.make_noise_codec(_denoise, SCHEDULE, steps=16)


@pytest.fixture(scope="module")
def noises(codec):
    keys = jax.random.split(jax.random.key(0))
    return [
        codec.encode(key, jnp.asarray(cell, jnp.float32), FREE)
        for key, cell in zip(keys, (BALL, FRAME), strict=True)
    ]


def test_the_ends_of_the_arc_are_the_two_cells(codec, noises):
    for theta, cell in zip((0.0, np.pi / 2), (BALL, FRAME), strict=True):
        x0 = codec.decode(noise_codec.spherical(*noises, theta), FREE)
        assert noise_codec.returned(x0, cell) == 1
    assert noise_codec.returned(codec.decode(noises[1], FREE), BALL) < 0.9


def test_noises_keep_the_symmetry_and_have_the_variance_of_noise(noises):
    times = samplers.time_grid(16)
    denoise = without_previous(_denoise)
    for cell, noise in zip((BALL, FRAME), noises, strict=True):
        assert is_cubic(np.asarray(noise))
        assert 0.8 < noise.std() < 1.2
        # What a clean octant leads to, with none of the noise of the last time.
        x = jnp.sqrt(SCHEDULE.gamma(times[-1])) * cell
        x = x[None].astype(jnp.float32)
        clean = invert(denoise, x, FREE[None], times, schedule=SCHEDULE)
        # Two values only; absolute values of a normal variable have 0.6 here.
        assert abs(clean).std() < 0.01 and 0.4 < abs(noise).std() < 0.8


def test_guidance_acts_when_decoding_alone():
    seen = []

    def guide(x0, t, target_values):
        seen.append(target_values.shape)
        return 0 * x0 + target_values[None, None, None]

    guided = noise_codec.make_noise_codec(_denoise, SCHEDULE, steps=4, guide=guide)
    x0 = jnp.asarray(BALL, jnp.float32)
    noise = guided.encode(jax.random.key(0), x0, FREE)
    back = guided.decode(noise, FREE)
    assert not seen and noise_codec.returned(back, BALL) == 1
    assert (guided.decode(noise, FREE, jnp.ones(1)) == 1).all() and seen


def test_points_of_the_arc_keep_the_variance():
    first, second = np.random.default_rng(0).normal(size=(2, 20, 20, 20))
    for theta in np.linspace(0, np.pi / 2, 6):
        # 8000 samples: the standard deviation is within 1/sqrt(16000), three times.
        assert abs(noise_codec.spherical(first, second, theta).std() - 1) < 0.024
