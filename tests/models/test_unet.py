"""The U-Net as a function: shapes, symmetry, conditions, options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells import symmetry
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.models.unet import UNet

_FIELDS = dict(patch=2, width=4, multipliers=(1, 2), middle=0, groups=2, embedding=4)


def _inputs(n=8, b=2):
    keys = jax.random.split(jax.random.key(2), b)
    x = jax.vmap(lambda key: symmetric_noise(key, n))(keys)
    return x, jnp.linspace(0.2, 0.8, b), x[::-1], jnp.full((b, 4), 0.5)


def _perturbed(model):
    """Parameters away from the zero-initialised start, where the output is zero."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), *_inputs())["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes
    )


def _apply(model):
    params = _perturbed(model)
    return jax.jit(lambda *args: model.apply({"params": params}, *args))


@pytest.mark.parametrize(
    "options", [{}, {"refine": 3, "attention": (1,), "heads": 2, "remat": True}]
)
def test_output_is_cubic_and_uses_every_input(options):
    apply = _apply(UNet(**{**_FIELDS, **options}))
    x, t, prev, cond = _inputs()
    out = apply(x, t, prev, cond)
    assert out.shape == x.shape and out.dtype == jnp.float32
    assert symmetry.is_cubic(out)
    for changed in (
        (x + 0.1, t, prev, cond),
        (x, t + 0.1, prev, cond),
        (x, t, prev * 0, cond),
        (x, t, prev, cond.at[:, 2].set(-1.0)),
    ):
        assert np.abs(apply(*changed) - out).max() > 1e-4


def test_examples_do_not_see_each_other():
    apply = _apply(UNet(**_FIELDS))
    args = _inputs()
    # Another batch size may sum in another order; outputs are of order one.
    np.testing.assert_allclose(
        apply(*args)[:1], apply(*[a[:1] for a in args]), atol=1e-4
    )


def test_a_new_network_guesses_zero():
    model = UNet(**_FIELDS)
    out, _ = jax.jit(lambda key: model.init_with_output(key, *_inputs()))(
        jax.random.key(0)
    )
    assert np.abs(out).max() == 0


def test_bfloat16_is_close_to_float32():
    full = _apply(UNet(**_FIELDS))(*_inputs())
    # The mixed types of this option are meant, inside flax too.
    with jax.numpy_dtype_promotion("standard"):
        half = _apply(UNet(**_FIELDS, dtype="bfloat16"))(*_inputs())
    assert half.dtype == jnp.float32
    # bfloat16 keeps 8 bits; some twenty layers add up to a few percent of the scale.
    assert np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_wrong_side_is_refused():
    with pytest.raises(ValueError, match="octant side 6 must be a multiple of 4"):
        jax.eval_shape(UNet(**_FIELDS).init, jax.random.key(0), *_inputs(n=6))
