"""Blocks of the U-Net against plain convolutions, inverses and symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mmdiff.cells import symmetry
from mmdiff.models import layers

_NUMBERS = ("NDHWC", "DHWIO", "NDHWC")


def test_conv_by_planes_equals_plain_convolution_with_gradients():
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 3, 5))

    def plain(x, k):
        return lax.conv_general_dilated(
            x, k, (1, 1, 1), "VALID", dimension_numbers=_NUMBERS
        )

    def loss(conv):
        return lambda x, k: jnp.sum(jnp.sin(conv(x, k)))

    # 81 products of order one, summed in another order: a few 1e-6.
    np.testing.assert_allclose(
        layers.conv3d_by_planes(x, kernel), plain(x, kernel), atol=2e-5
    )
    fast = jax.jit(jax.grad(loss(layers.conv3d_by_planes), (0, 1)))(x, kernel)
    slow = jax.jit(jax.grad(loss(plain), (0, 1)))(x, kernel)
    for a, b in zip(fast, slow, strict=True):
        # The kernel gradient sums over 240 voxels.
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_mirror_conv_sees_the_repeated_edge():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 4, 2))
    conv = layers.MirrorConv(3)
    params = jax.eval_shape(conv.init, jax.random.key(1), x)
    # On the mirrored cell the octant's mirror planes lie inside, so the result there
    # must agree with that on the octant, if the kernel is mirror-symmetric.
    shape = params["params"]["conv"]["kernel"].shape
    kernel = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for axis in range(3):
        kernel = (kernel + np.flip(kernel, axis)) / 2
    params = {"params": {"conv": {"kernel": kernel, "bias": np.zeros(3, np.float32)}}}
    cell = jnp.moveaxis(symmetry.octant_to_cell(jnp.moveaxis(x, -1, 1)), 1, -1)
    apply = jax.jit(conv.apply)
    on_cell = apply(params, cell)[:, :4, :4, :4]
    # Sums of 54 products in another order.
    np.testing.assert_allclose(apply(params, x), on_cell, atol=2e-5)


def test_space_to_depth_and_back():
    x = jnp.arange(2 * 8**3 * 3.0).reshape(2, 8, 8, 8, 3)
    y = layers.space_to_depth(x, 4)
    assert y.shape == (2, 2, 2, 2, 192)
    np.testing.assert_array_equal(layers.depth_to_space(y, 4), x)
    np.testing.assert_array_equal(y[1, 0, 1, 1].reshape(4, 4, 4, 3), x[1, :4, 4:, 4:])


def test_repeat2_doubles_every_voxel():
    x = jax.random.normal(jax.random.key(0), (1, 2, 2, 2, 3))
    y = layers.repeat2(x)
    for axis in (1, 2, 3):
        x = jnp.repeat(x, 2, axis)
    np.testing.assert_array_equal(y, x)


def test_cubic_projection_is_exact_and_self_adjoint():
    x, g = jax.random.normal(jax.random.key(0), (2, 3, 5, 5, 5))
    y, pullback = jax.vjp(layers.cubic_projection, x)
    assert symmetry.is_cubic(y)
    # <P x, g> = <x, P^T g>; 375 terms of order one in float32.
    np.testing.assert_allclose(jnp.vdot(y, g), jnp.vdot(x, pullback(g)[0]), rtol=1e-4)
    np.testing.assert_allclose(pullback(g)[0], symmetry.symmetrize(g), atol=1e-6)


def test_null_embedding_replaces_only_free_components():
    embed = layers.ScalarEmbeddings(6)
    values = jnp.asarray([[0.3, -1.0], [0.3, 0.0]])
    out, params = jax.jit(embed.init_with_output)(jax.random.key(0), values)
    np.testing.assert_array_equal(out[0, 0], out[1, 0])
    np.testing.assert_array_equal(out[0, 1], params["params"]["null"][1])
    assert not np.allclose(out[0, 1], out[1, 1])


@pytest.mark.slow
def test_residual_branches_start_as_the_identity():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 4, 8))
    emb = jax.random.normal(jax.random.key(1), (2, 6))
    for module, args in (
        (layers.ResBlock(8), (x, emb)),
        (layers.SelfAttention(2), (x,)),
    ):
        init = jax.jit(module.init_with_output)
        np.testing.assert_array_equal(init(jax.random.key(2), *args)[0], x)
