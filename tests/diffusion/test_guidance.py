"""Guidance as functions from denoiser to denoiser."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.cells import symmetry
from mmdiff.diffusion.guidance import classifier_free_guidance, posterior_step
from mmdiff.topopt.filters import gaussian_filter


def _counting():
    calls = []

    def denoise(x, t, x0_prev, cond):
        calls.append(cond)
        return x + cond.sum(-1)[:, None, None, None]

    return denoise, calls


_ARGS = (
    jnp.zeros((2, 2, 2, 2)),
    jnp.ones(2),
    jnp.zeros((2, 2, 2, 2)),
    jnp.ones((2, 3)),
)


def test_weight_one_is_the_denoiser_itself():
    denoise, _ = _counting()
    assert classifier_free_guidance(denoise, 1) is denoise


def test_weight_zero_is_unconditional_in_one_pass():
    denoise, calls = _counting()
    out = classifier_free_guidance(denoise, 0)(*_ARGS)
    np.testing.assert_array_equal(out, -3)
    assert len(calls) == 1


def test_other_weights_extrapolate():
    denoise, calls = _counting()
    out = classifier_free_guidance(denoise, 2.5)(*_ARGS)
    # -3 + 2.5 (3 - (-3)); exact in float32.
    np.testing.assert_array_equal(out, 12)
    assert len(calls) == 2


def _linear(seed=0, n=4, k=2):
    """Symmetric weights of k linear properties, and an undecided estimate."""
    rng = np.random.default_rng(seed)
    weights = symmetry.symmetrize(rng.normal(size=(k, n, n, n))) / n**3
    x0 = symmetry.symmetrize(rng.uniform(-0.5, 0.5, (n, n, n)))
    return jnp.asarray(weights, jnp.float32), jnp.asarray(x0, jnp.float32)


def _smooth(field):
    return gaussian_filter(field, 1.0)


@pytest.mark.parametrize("smooth", [None, _smooth])
def test_posterior_steps_reach_given_linear_properties(smooth):
    weights, x0 = _linear()
    step = quick_jit(functools.partial(posterior_step, smooth=smooth))

    def values(x0):
        return np.einsum("kxyz,xyz->k", weights, x0)

    target = values(x0) + np.float32([0.01, -0.02])
    for _ in range(4):
        x0 = step(x0, target - values(x0), weights)
    # Newton's method, but for the ridge of 1e-4 and float32.
    np.testing.assert_allclose(values(x0), target, atol=1e-5)
    assert symmetry.is_cubic(np.round(x0, 5))


def test_free_properties_do_not_guide():
    weights, x0 = _linear()
    alone = posterior_step(x0, jnp.asarray([0.01]), weights[:1])
    free = posterior_step(x0, jnp.asarray([0.01, jnp.nan]), weights)
    np.testing.assert_allclose(free, alone, atol=1e-6)
    none = posterior_step(x0, jnp.full(2, jnp.nan), weights)
    np.testing.assert_allclose(none, x0, atol=1e-6)


def test_decided_voxels_hardly_move_and_steps_are_bounded():
    weights, x0 = _linear()
    x0 = x0.at[0, 0, 0].set(0.97)
    moved = posterior_step(x0, jnp.asarray([0.01, 0.01]), weights)
    assert abs(moved - x0)[0, 0, 0] < 0.1 * abs(moved - x0).max()
    far = posterior_step(x0, jnp.asarray([1e3, -1e3]), weights, longest=0.5)
    change = jnp.arctanh(far) - jnp.arctanh(x0)
    # Float32 log-odds of values near one.
    np.testing.assert_allclose(abs(change).max(), 0.5, atol=1e-4)


def test_correlated_voxels_move_together():
    weights, x0 = _linear(n=12)

    def roughness(smooth):
        step = quick_jit(functools.partial(posterior_step, smooth=smooth))
        moved = step(x0, np.float32([0.01, -0.01]), weights)
        change = np.arctanh(moved) - np.arctanh(x0)
        return (np.diff(change, axis=0) ** 2).mean() / (change**2).mean()

    # Of white noise twice its variance; of a field blurred by 1 voxel 2 (1 - e^-1/4).
    assert roughness(None) > 1.5
    assert roughness(_smooth) < 0.6
