"""Samplers on closed-form denoisers: order of convergence, moments, batching."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.cells import symmetry
from mmdiff.diffusion import samplers
from mmdiff.diffusion.schedule import CosineSchedule, ExponentialSchedule

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


def _draw(rows, denoise=_gaussian, *, steps=5, **options):
    """Draw octants of 4^3 voxels."""

    @quick_jit
    def run():
        times = samplers.time_grid(_SCHEDULE, steps)
        known = {"schedule": _SCHEDULE, "times": times} | options
        cond = jnp.zeros((rows, 2))
        return samplers.sample(jax.random.key(5), denoise, cond, 4, **known)

    return np.asarray(run())


@pytest.mark.parametrize("grid", [samplers.time_grid, samplers.snr_grid])
@pytest.mark.parametrize(
    ("sampler", "order"), [(samplers.ddim, 1), (samplers.dpm_solver, 2)]
)
def test_order_of_convergence(sampler, order, grid):
    with jax.enable_x64(True):
        x = np.linspace(-2.0, 2.0, 8).reshape(1, 2, 2, 2)
        counts, errors = (32, 64, 128), []

        @functools.partial(quick_jit, static_argnums=0)
        def run(steps, x):
            times = grid(_SCHEDULE, steps, first=0.9, last=0.2)
            options = {"schedule": _SCHEDULE, "clip": np.inf}
            end, _ = sampler(_gaussian, x, jnp.zeros((1, 1)), times, **options)
            return end, times

        for steps in counts:
            end, times = map(np.asarray, run(steps, x))
            errors.append(np.abs(end - _exact(x, times[0], times[-1])).max())
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # The next order still shows at 32 steps.
    assert order - 0.2 < slope < order + 0.35


@pytest.mark.parametrize("schedule", [_SCHEDULE, CosineSchedule()])
def test_grids_are_descending_with_the_asked_ends(schedule):
    for grid in (samplers.time_grid, samplers.snr_grid):
        times = grid(schedule, 7)
        assert times.shape == (8,) and (np.diff(times) < 0).all()
        # The float32 round trip through the log-SNR at gamma near one.
        np.testing.assert_allclose(times[jnp.asarray([0, -1])], [1, 0.02], atol=2e-3)


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


def test_ddpm_without_fresh_noise_is_ddim():
    x = jnp.linspace(-1, 1, 16).reshape(2, 2, 2, 2)
    times = samplers.time_grid(_SCHEDULE, 6)
    args = _gaussian, x, jnp.zeros((2, 1)), times
    still = samplers.make_ddpm(jax.random.key(0), eta=0.0)
    got, want = (
        quick_jit(lambda s=sampler: s(*args, schedule=_SCHEDULE))()
        for sampler in (still, samplers.ddim)
    )
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_ddpm_draws_the_distribution_of_the_data():
    n, rows = 16, 64

    @jax.jit
    def run():
        times = samplers.time_grid(_SCHEDULE, 400, last=0.01)
        keys = jax.random.split(jax.random.key(1), rows)
        x = jax.vmap(lambda key: samplers.symmetric_noise(key, n))(keys)
        ddpm = samplers.make_ddpm(jax.random.key(2))
        args = _gaussian, x, jnp.zeros((rows, 1)), times
        return ddpm(*args, schedule=_SCHEDULE, clip=np.inf)[0]

    end = run()
    values = symmetry.gather_independent(np.asarray(end))
    # 52,000 values have standard errors of 0.002. A step takes the mean of x0 for x0
    # itself, which narrows the distribution: by 3.4 % with 200 steps, half with 400.
    np.testing.assert_allclose(values.mean(), _MEAN, atol=0.01)
    np.testing.assert_allclose(values.std(), _SCALE, rtol=0.025)
    assert symmetry.is_cubic(end)


def test_ddpm_does_not_depend_on_the_batch():
    times = samplers.time_grid(_SCHEDULE, 3)
    ddpm = samplers.make_ddpm(jax.random.key(2))

    @quick_jit
    def run(x):
        cond = jnp.zeros((len(x), 1))
        return ddpm(_gaussian, x, cond, times, schedule=_SCHEDULE)[0]

    x = np.ones((3, 4, 4, 4), np.float32)
    three, one = np.asarray(run(x)), run(x[:1])
    np.testing.assert_allclose(one, three[:1], atol=1e-6)
    assert not np.array_equal(three[0], three[1])


def test_samplers_start_from_and_add_the_noise_that_is_passed():
    def twos(key, n, dtype=jnp.float32):
        return jnp.full((n, n, n), 2.0, dtype)

    seen = []

    def watching(x, t, x0_prev, cond):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x, ordered=True)
        return jnp.zeros_like(x)

    def states(**options):
        seen.clear()
        samplers.sample(
            jax.random.key(0),
            watching,
            jnp.zeros((2, 1)),
            2,
            schedule=_SCHEDULE,
            times=samplers.time_grid(_SCHEDULE, 2),
            **options,
        ).block_until_ready()
        jax.effects_barrier()
        return [x.copy() for x in seen]

    start, _ = states(noise=twos)
    np.testing.assert_array_equal(start, 2.0)
    key = jax.random.key(1)
    plain = states(noise=twos, sampler=samplers.make_ddpm(key))
    other = states(noise=twos, sampler=samplers.make_ddpm(key, noise=twos))
    np.testing.assert_array_equal(plain[0], other[0])
    # With the estimate at zero all voxels of the second state are alike: what was kept
    # of the first and what was added are the same everywhere.
    assert np.ptp(other[1]) == 0 < np.ptp(plain[1])
