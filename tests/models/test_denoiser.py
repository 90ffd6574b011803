"""What the network's output means: x0 itself, or log-odds that meet the noisy voxel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_helpers import FIELDS, fresh_params

from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.models.denoiser import make_denoiser
from mmdiff.models.unet import UNet

SCHEDULE = ExponentialSchedule()


def _inputs(seed=0, n=4):
    keys = jax.random.split(jax.random.key(seed), 2)
    x = jax.random.normal(keys[0], (3, n, n, n))
    x = (x + x.swapaxes(1, 2)) / 2
    t = jnp.asarray([0.1, 0.4, 0.9])
    return x, t, jnp.zeros_like(x), jnp.full((3, 4), 0.5)


@pytest.mark.slow
def test_plain_network_is_its_own_estimate():
    model, params = UNet(**FIELDS), fresh_params()
    inputs = _inputs()
    want = model.apply({"params": params}, *inputs)
    np.testing.assert_array_equal(make_denoiser(model, SCHEDULE)(params, *inputs), want)


def test_untrained_binary_network_is_the_posterior_of_a_fair_coin():
    model, params = UNet(**FIELDS, binary=True), fresh_params()
    x, t, *rest = _inputs()
    found = make_denoiser(model, SCHEDULE)(params, x, t, *rest)
    # Bayes' rule written out in float64 with both densities.
    gamma = np.exp(-(1e-4 + 10 * np.asarray(t, float) ** 2))[:, None, None, None]
    solid, empty = (
        np.exp(-((np.asarray(x, float) - s * np.sqrt(gamma)) ** 2) / (2 * (1 - gamma)))
        for s in (1, -1)
    )
    # The head starts at zero, so the prior of every voxel is 1/2; float32 elsewhere.
    np.testing.assert_allclose(found, (solid - empty) / (solid + empty), atol=1e-5)


def test_binary_estimates_stay_in_bounds_at_the_smallest_noise():
    model, params = UNet(**FIELDS, binary=True), fresh_params()
    x, _, *rest = _inputs()
    found = make_denoiser(model, SCHEDULE)(params, x, jnp.zeros(3), *rest)
    np.testing.assert_array_equal(found, jnp.sign(x))


def test_the_likelihood_is_that_of_the_variance_by_voxel():
    model, params = UNet(**FIELDS, binary=True), fresh_params()
    inputs = _inputs()
    variance = np.where(np.arange(64).reshape(4, 4, 4) < 32, 1.0, 0.25)
    plain = make_denoiser(model, SCHEDULE)(params, *inputs)
    found = make_denoiser(model, SCHEDULE, variance=variance)(params, *inputs)
    np.testing.assert_array_equal(found[:, :2], plain[:, :2])
    # The head starts at zero: a quarter of the variance has four times the log-odds.
    lam = jnp.sqrt(SCHEDULE.gamma(inputs[1])) / (1 - SCHEDULE.gamma(inputs[1]))
    wanted = jnp.tanh(4 * lam[:, None, None, None] * inputs[0])
    # Another order of the same products.
    np.testing.assert_allclose(found[:, 2:], wanted[:, 2:], rtol=1e-5)
