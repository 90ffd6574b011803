"""Noise schedules: monotony, the log-SNR, and plain-value round trip."""

import jax
import numpy as np
import pytest

from mmdiff.diffusion import schedule as sch

_SCHEDULES = [sch.ExponentialSchedule(), sch.CosineSchedule()]


@pytest.mark.parametrize("schedule", _SCHEDULES)
def test_the_signal_fades(schedule):
    with jax.enable_x64(True):
        t = np.linspace(0.01, 1.0, 50)
        gamma, lam = schedule.gamma(t), sch.half_log_snr(schedule, t)
        assert (np.diff(lam) < 0).all()
        # float64; near gamma = 1 the logarithm loses some four digits.
        np.testing.assert_allclose(1 / (1 + np.exp(-2 * lam)), gamma, atol=1e-10)


def test_exponential_is_the_papers():
    gamma = sch.ExponentialSchedule().gamma(np.asarray([0.0, 0.5, 1.0]))
    want = np.exp([-1e-4, -2.5001, -10.0001])
    # float32 evaluation.
    np.testing.assert_allclose(gamma, want, rtol=2e-6)


@pytest.mark.parametrize("schedule", _SCHEDULES)
def test_dictionary_round_trip(schedule):
    assert sch.schedule_from_dict(sch.schedule_to_dict(schedule)) == schedule


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="no noise schedule 'linear'"):
        sch.schedule_from_dict({"kind": "linear"})
