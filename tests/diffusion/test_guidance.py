"""Guidance as functions from denoiser to denoiser."""

import functools

import jax.numpy as jnp
import numpy as np
from fem_helpers import quick_jit

from mmdiff.cells import symmetry
from mmdiff.diffusion.guidance import classifier_free_guidance, field_step
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
    """Symmetric weights of k linear properties, and an estimate."""
    rng = np.random.default_rng(seed)
    weights = symmetry.symmetrize(rng.normal(size=(k, n, n, n))) / n**3
    field = symmetry.symmetrize(rng.uniform(-0.5, 0.5, (n, n, n)))
    return jnp.asarray(weights, jnp.float32), jnp.asarray(field, jnp.float32)


def _smooth(field):
    return gaussian_filter(field, 1.0)


_step = quick_jit(functools.partial(field_step, smooth=_smooth, longest=9.0))


def test_a_step_reaches_given_linear_properties():
    weights, field = _linear()

    def values(field):
        return np.einsum("kxyz,xyz->k", weights, field)

    target = values(field) + np.float32([0.01, -0.02])
    for _ in range(2):
        field = _step(field, target - values(field), weights)
    # Newton's method, but for the ridge of 1e-4 and float32.
    np.testing.assert_allclose(values(field), target, atol=1e-5)
    assert symmetry.is_cubic(np.round(field, 5))


def test_free_properties_do_not_guide():
    weights, field = _linear()
    alone = _step(field, jnp.asarray([0.01]), weights[:1])
    free = _step(field, jnp.asarray([0.01, jnp.nan]), weights)
    np.testing.assert_allclose(free, alone, atol=1e-6)
    none = _step(field, jnp.full(2, jnp.nan), weights)
    np.testing.assert_array_equal(none, field)


def test_steps_are_bounded_and_of_the_same_direction():
    weights, field = _linear()
    far = jnp.asarray([1e3, -1e3])
    moved = field_step(field, far, weights, smooth=_smooth, longest=0.5) - field
    # Differences of float32 numbers of order one.
    np.testing.assert_allclose(abs(moved).max(), 0.5, atol=1e-5)
    whole = _step(field, 1e-5 * far, weights) - field
    np.testing.assert_allclose(
        moved / abs(moved).max(), whole / abs(whole).max(), atol=1e-4
    )


def test_neighbours_move_together():
    weights, field = _linear(n=12)

    def roughness(smooth):
        step = quick_jit(functools.partial(field_step, smooth=smooth))
        change = step(field, np.float32([0.01, -0.01]), weights) - field
        return (np.diff(change, axis=0) ** 2).mean() / (change**2).mean()

    # Of white noise twice its variance; of a field blurred by 1 voxel 2 (1 - e^-1/4).
    assert roughness(lambda field: field) > 1.5
    assert roughness(_smooth) < 0.6
