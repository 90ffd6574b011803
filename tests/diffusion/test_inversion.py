"""DDIM inversion on a closed-form denoiser: sampling leads back to the start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from fem_helpers import quick_jit

from mmdiff.diffusion import samplers
from mmdiff.diffusion.inversion import invert
from mmdiff.diffusion.schedule import ExponentialSchedule

_SCHEDULE = ExponentialSchedule()


def _two_points(x, t, x0_prev, cond):
    """Posterior mean of x0 in {-1, +1}, each as likely as the other, given x_t."""
    gamma = _SCHEDULE.gamma(t)[:, None, None, None]
    return jnp.tanh(jnp.sqrt(gamma) / (1 - gamma) * x)


@functools.partial(quick_jit, static_argnames="iterations")
def _there_and_back(x, times, iterations=3):
    """Return the noise of x and what it is sampled to: the state and the estimate."""
    cond = jnp.zeros((len(x), 1))
    options = {"schedule": _SCHEDULE, "iterations": iterations}
    noise = invert(_two_points, x, cond, times, **options)
    return noise, samplers.ddim(_two_points, noise, cond, times, schedule=_SCHEDULE)


def _error(steps, iterations):
    with jax.enable_x64(True):
        times = np.linspace(0.9, 0.4, steps + 1)
        x = np.linspace(-1.2, 1.2, 16).reshape(2, 2, 2, 2)
        _, (back, _) = _there_and_back(x, times, iterations)
        return float(abs(np.asarray(back) - x).max())


def test_iterated_inversion_is_exact():
    # The fixed point contracts by about 1 / steps each time.
    assert _error(16, 40) < 1e-12


def test_one_iteration_leaves_an_error_of_second_order():
    counts = np.array([32, 64, 128])
    errors = [_error(int(steps), 1) for steps in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # The next order still shows at 32 steps.
    assert 1.8 < slope < 2.35


def test_more_iterations_are_better():
    errors = [_error(16, k) for k in (1, 2, 4)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_estimates_that_follow_the_state_are_inverted_over_long_steps():
    # The posterior mean of a wide Gaussian: a plain iteration diverges from 2 sigma on.
    def wide(x, t, x0_prev, cond):
        gamma = _SCHEDULE.gamma(t)[:, None, None, None]
        return jnp.sqrt(gamma) * 100 / (gamma * 100 + 1 - gamma) * x

    with jax.enable_x64(True):
        times, cond = np.array([0.16, 0.04]), jnp.zeros((1, 1))
        sigma = np.sqrt(1 - np.asarray(_SCHEDULE.gamma(times)))
        assert sigma[0] > 3.5 * sigma[1]
        x = np.linspace(-0.5, 0.5, 8).reshape(1, 2, 2, 2)
        options = {"schedule": _SCHEDULE, "clip": np.inf}
        errors = []
        for iterations in (4, 16):
            args = jnp.asarray(x), cond, jnp.asarray(times)
            above = invert(wide, *args, iterations=iterations, **options)
            back, _ = samplers.ddim(wide, above, *args[1:], **options)
            errors.append(float(abs(back - x).max()))
    # By 0.74 each time, where the plain one grows by 3.
    assert errors[1] < 0.05 * errors[0] < 0.02


def test_a_binary_octant_comes_back():
    x0 = np.random.default_rng(0).choice(np.float32([-1, 1]), (1, 4, 4, 4))
    times = samplers.time_grid(16)
    noise, (_, back) = _there_and_back(np.sqrt(_SCHEDULE.gamma(times[-1])) * x0, times)
    assert np.std(noise) > 0.1 and np.isfinite(noise).all()
    np.testing.assert_array_equal(np.sign(back), x0)
