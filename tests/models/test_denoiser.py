"""What the network's output means: x0 itself, or what a linear estimate lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_helpers import FIELDS, fresh_params

from mmdiff.cells import symmetry
from mmdiff.diffusion.linear import Prior, make_linear
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.models.denoiser import make_denoiser, prior_of
from mmdiff.models.unet import UNet
from mmdiff.models.weights import init_params

SCHEDULE = ExponentialSchedule()
PRIOR = Prior(-0.1, (9.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01))


def _inputs(seed=0, n=4):
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.vmap(lambda key: symmetric_noise(key, n))(keys)
    t = jnp.asarray([0.1, 0.4, 0.9])
    return x, t, jnp.zeros_like(x), jnp.full((3, 5), 0.5)


@pytest.mark.slow
def test_plain_network_is_its_own_estimate():
    model, params = UNet(**FIELDS), fresh_params()
    inputs = _inputs()
    want = model.apply({"params": params}, *inputs)
    np.testing.assert_array_equal(make_denoiser(model, SCHEDULE)(params, *inputs), want)


def test_a_network_corrects_the_linear_estimate_in_units_of_its_error():
    model = UNet(**FIELDS, linear=True)
    params = init_params(model, jax.random.key(0), 4)
    x, t, *rest = _inputs()
    denoise = jax.jit(make_denoiser(model, SCHEDULE, PRIOR))
    first, std = make_linear(PRIOR, SCHEDULE, 4)(x, t)
    assert abs(first).max() > 1
    # A new network answers zero; another program rounds otherwise.
    found, known = denoise(params, x, t, *rest), jnp.clip(first, -1, 1)
    np.testing.assert_allclose(found, known, atol=1e-6)
    params = jax.tree.map(lambda p: p + 0.1, params)
    found = denoise(params, x, t, *rest)
    output = model.apply({"params": params}, x, t, *rest, first)
    assert abs(output).max() > 0.1
    np.testing.assert_allclose(
        found - known, std[:, None, None, None] * output, atol=1e-5
    )
    assert symmetry.is_cubic(found)
    # The estimate is one of the inputs.
    other = model.apply({"params": params}, x, t, *rest, first + 0.1)
    assert abs(other - output).max() > 1e-4


@pytest.mark.parametrize(("linear", "prior"), [(True, None), (False, PRIOR)])
def test_a_prior_belongs_to_a_network_that_corrects(linear, prior):
    with pytest.raises(ValueError, match=f"linear={linear} and the prior"):
        make_denoiser(UNet(**FIELDS, linear=linear), SCHEDULE, prior)


def test_the_prior_stands_in_the_header():
    assert prior_of({"prior": PRIOR.to_dict()}) == PRIOR
    assert prior_of({"prior": None}) is None and prior_of({}) is None
