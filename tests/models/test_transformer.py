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


def test_blocks_of_twice_the_side_hold_their_eight():
    x = network_inputs()[0]
    fine, coarse = (tokens.to_tokens(x[..., None], p) for p in (2, 4))
    found = tokens.merge(fine).reshape(2, 4, 2, 2, 2, 2, 2, 2)  # s, ijk, uvw
    expected = coarse.reshape(2, 4, 2, 2, 2, 2, 2, 2)  # s, iu jv kw
    expected = expected.transpose(0, 1, 2, 4, 6, 3, 5, 7)
    blocks = zip(found[0].reshape(-1, 8), expected[0].reshape(-1, 8), strict=True)
    kept = [np.array_equal(own, other) for own, other in blocks]
    # Those at x <= y <= z are as they lie, others may be seen as an image: 20 are kept.
    assert sum(kept) >= 20
    for own, other in blocks:
        np.testing.assert_array_equal(np.sort(own), np.sort(other))


def test_every_block_is_part_of_the_one_that_holds_it():
    rng = np.random.default_rng(2)
    fine = jnp.asarray(rng.normal(size=(2, 20, 3)), jnp.float32)
    np.testing.assert_array_equal(tokens.split(tokens.merge(fine), 20), fine)


@pytest.mark.parametrize(
    "options", [{}, {"patch": 4, "remat": True}, {"outer": 1, "outer_width": 4}]
)
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
        ({"outer": 1, "outer_width": 3}, "3 channels do not divide by 2 attention"),
        ({"outer": 1, "patch": 8}, "1 blocks along an octant do not pair up"),
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
