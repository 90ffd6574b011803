"""The U-Net as a function: shapes, symmetry, conditions, options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_helpers import (
    FIELDS,
    check_uses_every_input,
    fresh_params,
    network_inputs,
    perturbed,
)

from mmdiff.errors import InputError
from mmdiff.models.unet import UNet

_FIELDS = dict(patch=2, width=4, multipliers=(1, 2), middle=0, groups=2, embedding=4)


@pytest.mark.parametrize(
    "options",
    [{}, {"refine": 3, "middle": 1, "attention": (1,), "heads": 2, "remat": True}],
)
def test_output_is_cubic_and_uses_every_input(options):
    check_uses_every_input(UNet(**{**_FIELDS, **options}))


def test_examples_do_not_see_each_other():
    apply = perturbed(UNet(**_FIELDS))
    args = network_inputs()
    # Another batch size may sum in another order; outputs are of order one.
    np.testing.assert_allclose(
        apply(*args)[:1], apply(*[a[:1] for a in args]), atol=1e-4
    )


def test_a_new_network_guesses_zero():
    x, t, prev, cond = network_inputs(n=4)
    params = {"params": fresh_params()}
    out = jax.jit(UNet(**FIELDS).apply)(params, x, t, prev, cond)
    assert np.abs(out).max() == 0


def test_bfloat16_is_close_to_float32():
    full = perturbed(UNet(**_FIELDS))(*network_inputs())
    # The mixed types of this option are meant, inside flax too.
    with jax.numpy_dtype_promotion("standard"):
        half = perturbed(UNet(**_FIELDS, dtype="bfloat16"))(*network_inputs())
    assert half.dtype == jnp.float32
    # bfloat16 keeps 8 bits; some twenty layers add up to a few percent of the scale.
    assert np.abs(half - full).max() < 0.1 * np.abs(full).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, r"8\^3 voxels do not divide by .* = 6. Lower `patch`"),
        ({"multipliers": ()}, "needs a level. Give `multipliers`"),
        ({"attention": (1,), "heads": 3}, "8 channels do not divide by 3 attention"),
        ({"dtype": "float8"}, "no compute type 'float8'. Use float32 or bfloat16"),
        ({"conditions": 3}, "has 3 conditions and was given 5"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes, message):
    model = UNet(**{**_FIELDS, **changes})
    with pytest.raises(InputError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), *network_inputs())
