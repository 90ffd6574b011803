"""Samplers on closed-form denoisers: order of convergence, moments, batching."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.cells import symmetry
from mmdiff.diffusion import samplers
from mmdiff.diffusion.schedule import ExponentialSchedule

_SCHEDULE = ExponentialSchedule()
_MEAN, _SCALE = 0.2, 0.5


def _gaussian(x, t, x0_prev, cond):
    """Posterior mean of x0 ~ N(mean, scale^2) given x_t."""
    gamma = _SCHEDULE.gamma(t)[:, None, None, None]
    variance = gamma * _SCALE**2 + 1 - gamma
    gain = jnp.sqrt(gamma) * _SCALE**2 / variance
    return _MEAN + gain * (x - jnp.sqrt(gamma) * _MEAN)


def _exact(x, t0, t1):
    """Probability flow of a Gaussian: the standardised state is constant."""
    g0, g1 = _SCHEDULE.gamma(t0), _SCHEDULE.gamma(t1)
    unit = (x - np.sqrt(g0) * _MEAN) / np.sqrt(g0 * _SCALE**2 + 1 - g0)
    return np.sqrt(g1) * _MEAN + np.sqrt(g1 * _SCALE**2 + 1 - g1) * unit


def _draw(rows, denoise=_gaussian, *, steps=5, first=None, **options):
    """Draw octants of 4^3 voxels."""

    @quick_jit
    def run():
        times = samplers.time_grid(steps)
        known = {"schedule": _SCHEDULE, "times": times} | options
        cond = jnp.zeros((rows, 2))
        key = jax.random.key(5)
        keys = key if first is None else samplers.numbered(key, rows, first)
        return samplers.sample(keys, denoise, cond, 4, **known)

    return np.asarray(run())


def test_shares_of_a_batch_are_drawn_apart():
    whole = _draw(5)
    np.testing.assert_allclose(_draw(2, first=3), whole[3:], rtol=1e-6)
    assert len(np.unique(whole[:, 0, 0, 0])) == 5


@pytest.mark.parametrize(
    ("sampler", "order"), [(samplers.ddim, 1), (samplers.dpm_solver, 2)]
)
def test_order_of_convergence(sampler, order):
    with jax.enable_x64(True):
        x = np.linspace(-2.0, 2.0, 8).reshape(1, 2, 2, 2)
        counts, errors = (32, 64, 128), []

        @functools.partial(quick_jit, static_argnums=0)
        def run(steps, x):
            times = samplers.time_grid(steps, first=0.9, last=0.2)
            options = {"schedule": _SCHEDULE, "clip": np.inf}
            end, _ = sampler(_gaussian, x, jnp.zeros((1, 1)), times, **options)
            return end, times

        for steps in counts:
            end, times = map(np.asarray, run(steps, x))
            errors.append(np.abs(end - _exact(x, times[0], times[-1])).max())
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # The next order still shows at 32 steps.
    assert order - 0.2 < slope < order + 0.35


def test_times_fall_ever_less():
    even = samplers.time_grid(2, last=0.02, power=1.0)
    np.testing.assert_allclose(even, [1, 0.51, 0.02], rtol=1e-6)
    times = np.asarray(samplers.time_grid(16))
    np.testing.assert_allclose(times[[0, -1]], [1, 0.005], rtol=1e-6)
    assert (np.diff(times) < 0).all() and (np.diff(times, 2) > 0).all()
    # The estimate that is the answer.
    assert times[-2] < 0.03


def test_a_perfect_denoiser_is_followed_to_the_end():
    target = jnp.sign(symmetry.symmetrize(jnp.linspace(-1, 1, 64).reshape(1, 4, 4, 4)))
    for sampler in (samplers.ddim, samplers.dpm_solver):
        out = _draw(1, lambda x, t, p, c: target, sampler=sampler)
        np.testing.assert_array_equal(out, target)


def test_the_last_estimate_is_threaded_through_and_clipped():
    def counting(x, t, x0_prev, cond):
        return x0_prev + 0.3

    # 0.3 added three times, rounded.
    np.testing.assert_allclose(_draw(1, counting, steps=3), 0.9, atol=1e-6)
    np.testing.assert_array_equal(_draw(1, counting, steps=9), 1.0)


def test_samples_are_symmetric_and_do_not_depend_on_the_batch():
    three = _draw(3)
    assert symmetry.is_cubic(three)
    np.testing.assert_array_equal(_draw(1), three[:1])
    assert not np.array_equal(three[0], three[1])


@pytest.mark.parametrize("sampler", [samplers.ddim, samplers.dpm_solver])
def test_a_correction_that_changes_nothing_leaves_the_samples(sampler):
    corrected = functools.partial(sampler, correct=lambda x0, t: x0)
    # Another program, hence other roundings.
    np.testing.assert_allclose(
        _draw(2, sampler=corrected), _draw(2, sampler=sampler), atol=1e-5
    )


@pytest.mark.parametrize("sampler", [samplers.ddim, samplers.dpm_solver])
def test_a_correction_moves_the_state_by_alpha_times_its_change(sampler):
    x = jnp.linspace(-1, 1, 8).reshape(1, 2, 2, 2)
    times = jnp.asarray([0.5, 0.4])
    cond = jnp.zeros((1, 1))
    seen = []

    def correct(x0, t):
        seen.append(t.shape)
        return x0 + 0.1

    args = _gaussian, x, cond, times
    run = quick_jit(lambda: sampler(*args, schedule=_SCHEDULE))
    plain, x0 = map(np.asarray, run())
    run = quick_jit(lambda: sampler(*args, schedule=_SCHEDULE, correct=correct))
    moved, better = map(np.asarray, run())
    alpha = np.sqrt(_SCHEDULE.gamma(times[1]))
    np.testing.assert_allclose(moved - plain, 0.1 * alpha, atol=1e-6)
    np.testing.assert_allclose(better - x0, 0.1, atol=1e-6)
    assert set(seen) == {()}


def test_samples_start_from_the_noise_that_is_passed():
    def ones(key, n, dtype=jnp.float32):
        return jnp.full((n, n, n), 1.0, dtype)

    def kept(denoise, x, cond, times, *, schedule):
        return None, x

    np.testing.assert_array_equal(_draw(2, sampler=kept, noise=ones), 1.0)
