"""The transformer as a function: tokens, symmetry, conditions, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_helpers import check_uses_every_input, network_inputs, perturbed

from mmdiff.cells import symmetry
from mmdiff.errors import InputError
from mmdiff.models import tokens
from mmdiff.models.network import fields_of, make_network
from mmdiff.models.transformer import Transformer, half_product
from mmdiff.models.unet import UNet
from mmdiff.models.weights import init_params, load_weights, save_weights

FIELDS = {"patch": 2, "width": 8, "depth": 2, "heads": 2, "ratio": 2, "embedding": 8}


@pytest.mark.parametrize("p", [1, 2, 4])
def test_tokens_hold_all_that_a_field_has(p):
    x = jnp.stack(network_inputs()[:1])[0]
    blocks = tokens.to_tokens(x[..., None], p)
    assert blocks.shape == (2, symmetry.num_independent(8 // p), p**3)
    np.testing.assert_array_equal(tokens.to_field(blocks, 8), x)


def test_of_blocks_on_planes_of_symmetry_ordered_samples_count():
    rng = np.random.default_rng(0)
    blocks = jnp.asarray(rng.normal(size=(2, 20, 8)), jnp.float32)
    field = tokens.to_field(blocks, 8)
    assert symmetry.is_cubic(field)
    # The first block, at the corner, is its own image: samples 000 001 011 111.
    np.testing.assert_array_equal(field[:, 0, 0, 1], blocks[:, 0, 1])
    np.testing.assert_array_equal(field[:, 1, 0, 1], blocks[:, 0, 3])
    assert not np.isin(blocks[:, 0, [2, 4, 5, 6]], field).any()


def test_derivatives_of_fields_are_those_of_plain_gathers():
    rng = np.random.default_rng(1)
    blocks = jnp.asarray(rng.normal(size=(2, 20, 8)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(2, 8, 8, 8)), jnp.float32)
    place, _ = tokens._places(8, 2)

    def plain(blocks):
        return symmetry.spread(blocks.reshape(2, -1)[:, place], 8)

    def slope(function):
        return jax.grad(lambda b: (function(b) ** 2 * weights).sum())(blocks)

    own, other = slope(lambda b: tokens.to_field(b, 8)), slope(plain)
    np.testing.assert_allclose(own, other, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"patch": 4, "remat": True}])
def test_output_is_cubic_and_uses_every_input(options):
    check_uses_every_input(Transformer(**{**FIELDS, **options}))


def test_far_samples_and_no_other_examples_are_seen():
    apply = perturbed(Transformer(**FIELDS))
    x, *rest = network_inputs()
    out = apply(x, *rest)
    corner = x.at[0, 7, 7, 7].add(1.0)
    moved = np.abs(apply(corner, *rest) - out)
    assert moved[0, 0, 0, 0] > 1e-5 and moved[1].max() == 0


def test_a_new_network_guesses_zero():
    model = Transformer(**FIELDS, linear=True)
    params, inputs = init_params(model, jax.random.key(0), 8), network_inputs()
    out = model.apply({"params": params}, *inputs, inputs[0])
    assert np.abs(out).max() == 0


def test_factors_in_bfloat16_are_close_to_float32():
    full, half = (
        perturbed(Transformer(**FIELDS, dtype=dtype))(*network_inputs())
        for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == jnp.float32
    # bfloat16 keeps 8 bits; a dozen layers add up to a few percent of the scale.
    assert 0 < np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_half_products_have_half_products_as_derivatives():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5, 16)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(16, 6)), jnp.float32)
    g = jnp.asarray(rng.normal(size=(2, 5, 6)), jnp.float32)
    out, back = jax.vjp(half_product, x, kernel)
    plain, plain_back = jax.vjp(jnp.matmul, x, kernel)
    for own, other in zip((out, *back(g)), (plain, *plain_back(g)), strict=True):
        assert own.dtype == jnp.float32
        # Each factor is rounded to 8 bits; sums are of 5 to 16 terms of order one.
        np.testing.assert_allclose(own, other, atol=0.1)
        assert np.abs(own - other).max() > 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"patch": 3}, "octants of 8.3 samples do not divide into blocks of 3.3"),
        ({"heads": 3}, "8 channels do not divide by 3 attention heads"),
        ({"dtype": "float16"}, "no compute type 'float16'"),
        ({"conditions": 4}, "has 4 conditions and was given 5"),
    ],
)
def test_what_does_not_fit_is_told(options, part):
    model = Transformer(**{**FIELDS, **options})
    with pytest.raises(InputError, match=part):
        jax.eval_shape(model.init, jax.random.key(0), *network_inputs())


def test_networks_are_made_of_their_kind_and_fields():
    settings = {"kind": "transformer", **FIELDS, "multipliers": (1, 2), "refine": 0}
    fields = fields_of(settings)
    assert fields == {"kind": "transformer", **FIELDS}
    assert make_network(**fields) == Transformer(**FIELDS)
    assert make_network(patch=2) == UNet(patch=2)  # files of before there were kinds
    with pytest.raises(InputError, match="no network is called 'mlp'. Use unet or"):
        make_network(kind="mlp")


def test_files_of_both_kinds_are_read(tmp_path):
    fields = {"kind": "transformer", **FIELDS, "conditions": 5, "linear": True}
    params = init_params(make_network(**fields), jax.random.key(0), 8)
    meta = {"model": fields, "octant": 8}
    path = save_weights(tmp_path / "w.npz", params, meta)
    found, header = load_weights(path)
    assert header["model"] == fields
    jax.tree.map(np.testing.assert_array_equal, found, params)
