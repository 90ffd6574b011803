"""DDIM inversion on a closed-form denoiser: sampling leads back to the start."""

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.diffusion import samplers
from mmdiff.diffusion.inversion import invert
from mmdiff.diffusion.schedule import ExponentialSchedule

_SCHEDULE = ExponentialSchedule()


def _two_points(x, t, x0_prev, cond):
    """Posterior mean of x0 in {-1, +1}, each as likely as the other, given x_t."""
    gamma = _SCHEDULE.gamma(t)[:, None, None, None]
    return jnp.tanh(jnp.sqrt(gamma) / (1 - gamma) * x)


def _setup(steps, last=0.4):
    times = samplers.time_grid(_SCHEDULE, steps, first=0.9, last=last)
    x = jnp.linspace(-1.2, 1.2, 16, dtype=jnp.float64).reshape(2, 2, 2, 2)
    return x, jnp.zeros((2, 1)), times


def _error(steps, iterations):
    with jax.enable_x64(True):
        x, cond, times = _setup(steps)
        noise = invert(
            _two_points, x, cond, times, schedule=_SCHEDULE, iterations=iterations
        )
        back, _ = samplers.ddim(_two_points, noise, cond, times, schedule=_SCHEDULE)
        return float(abs(back - x).max())


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


def test_a_binary_octant_comes_back():
    x0 = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (1, 4, 4, 4)))
    x0 = x0.astype(jnp.float32)
    times = samplers.time_grid(_SCHEDULE, 16)
    cond = jnp.zeros((1, 1))
    start = jnp.sqrt(_SCHEDULE.gamma(times[-1])) * x0
    noise = invert(_two_points, start, cond, times, schedule=_SCHEDULE)
    assert noise.std() > 0.1 and jnp.isfinite(noise).all()
    _, back = samplers.ddim(_two_points, noise, cond, times, schedule=_SCHEDULE)
    np.testing.assert_array_equal(jnp.sign(back), x0)
