"""Building blocks of the 3D U-Net on octants, channels last.

Convolutions see mirror padding: the mirror planes of a cell lie on voxel faces, so the
value beyond a face repeats the edge value. On CPU a 3^3 convolution runs as one 2-D
convolution over planes, with the same parameters as `flax.linen.Conv` on accelerators.
Last layers of residual branches start at zero, so a new network is near the identity.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.cells import symmetry
from mmdiff.errors import InputError
from mmdiff.typing import Array, Float


def check_network(network: Any, octant: int) -> jnp.dtype:
    """Return the compute type of a network that fits octants of some side."""
    if not network.multipliers:
        raise InputError("a network needs a level. Give `multipliers` a number for it.")
    stride = network.patch * 2 ** (len(network.multipliers) - 1)
    if octant % stride:
        raise InputError(
            f"octants of {octant}^3 voxels do not divide by patch times 2^(levels - 1) "
            f"= {stride}. Lower `patch` or shorten `multipliers`."
        )
    return check_dtype(network.dtype)


def check_dtype(name: str) -> jnp.dtype:
    """Return the compute type of a name; InputError unless it is one of two."""
    if name not in ("float32", "bfloat16"):
        raise InputError(f"no compute type {name!r}. Use float32 or bfloat16.")
    return jnp.dtype(name)


def check_conditions(count: int, given: int) -> None:
    """Raise InputError unless as many conditions are given as a network has."""
    if given != count:
        raise InputError(
            f"the network has {count} conditions and was given {given}. Give one value "
            "for each, -1 where it is free."
        )


def check_heads(channels: int, heads: int) -> None:
    """Raise InputError unless attention heads can share channels."""
    if channels % heads:
        raise InputError(
            f"{channels} channels do not divide by {heads} attention heads. Make "
            f"`width` a multiple of {heads}."
        )


@jax.custom_vjp
def conv3d_by_planes(
    x: Float[Array, "b p q r c"], kernel: Float[Array, "s1 s2 s3 c o"]
) -> Float[Array, "b p1 q1 r1 o"]:
    """Valid 3-D convolution as one 2-D convolution.

    Depth is folded into the batch and the depth taps are stacked in channels: XLA's
    2-D convolution on CPU is vectorised, its 3-D one far less so.
    """
    return _by_planes(x, kernel)


def _by_planes(x, kernel):
    b, depth, _, _, c = x.shape
    taps, s2, s3, _, out = kernel.shape
    planes = depth - taps + 1
    stacked = jnp.concatenate([x[:, i : i + planes] for i in range(taps)], -1)
    flat = stacked.reshape(b * planes, *x.shape[2:4], taps * c)
    kernel2d = kernel.transpose(1, 2, 0, 3, 4).reshape(s2, s3, taps * c, out)
    y = lax.conv_general_dilated(
        flat, kernel2d, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(b, planes, *y.shape[1:])


def _by_planes_forward(x, kernel):
    return conv3d_by_planes(x, kernel), (x, kernel)


def _by_planes_backward(saved, g):
    x, kernel = saved
    # JAX's own derivative by x is a convolution with its axes in another order, which
    # XLA on CPU puts right outside of loops only: in a sampler it is ten times slower.
    wide = ((0, 0), *((size - 1, size - 1) for size in kernel.shape[:3]), (0, 0))
    turned = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    by_kernel = jax.vjp(lambda kernel: _by_planes(x, kernel), kernel)[1](g)[0]
    return conv3d_by_planes(jnp.pad(g, wide), turned), by_kernel


conv3d_by_planes.defvjp(_by_planes_forward, _by_planes_backward)


def conv3d(x, kernel, strides, padding, **kwargs):
    """Drop-in for `lax.conv_general_dilated` in `nn.Conv`: the fastest per backend.

    Only the case used here has a CPU route: unit strides, no padding, one group.
    """
    valid = all(tuple(p) == (0, 0) for p in padding) if padding != "VALID" else True
    if jax.default_backend() != "cpu" or not valid or set(strides) != {1}:
        return lax.conv_general_dilated(x, kernel, strides, padding, **kwargs)
    return conv3d_by_planes(x, kernel)


def space_to_depth(x: Float[Array, "b n n n c"], p: int) -> Float[Array, "b m m m d"]:
    """Stack each block of p^3 voxels in channels; m = n / p, d = p^3 c."""
    b, n, c = x.shape[0], x.shape[1], x.shape[-1]
    m = n // p
    x = x.reshape(b, m, p, m, p, m, p, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, m, m, m, p**3 * c)


def depth_to_space(x: Float[Array, "b m m m d"], p: int) -> Float[Array, "b n n n c"]:
    """Inverse of `space_to_depth`."""
    b, m, c = x.shape[0], x.shape[1], x.shape[-1] // p**3
    x = x.reshape(b, m, m, m, p, p, p, c).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, m * p, m * p, m * p, c)


def repeat2(x: Float[Array, "b n n n c"]) -> Float[Array, "b m m m c"]:
    """Nearest-neighbour upsampling by 2; one broadcast, no scatter in the gradient."""
    b, n, c = x.shape[0], x.shape[1], x.shape[-1]
    x = jnp.broadcast_to(x[:, :, None, :, None, :, None], (b, n, 2, n, 2, n, 2, c))
    return x.reshape(b, 2 * n, 2 * n, 2 * n, c)


@jax.custom_vjp
def cubic_projection(x: Float[Array, "b n n n"]) -> Float[Array, "b n n n"]:
    """Average over the 6 axis permutations, symmetric to the last bit."""
    return symmetry.symmetrize(x)


def _projection_backward(_, g):
    # A self-adjoint projection: this avoids the scatter of the gather's transpose.
    g = g + g.swapaxes(-1, -2)
    return (sum(g.transpose(0, *p) for p in ((1, 2, 3), (2, 3, 1), (3, 1, 2))) / 6,)


cubic_projection.defvjp(lambda x: (symmetry.symmetrize(x), None), _projection_backward)


class MirrorConv(nn.Module):
    """3^3 convolution with the edge value repeated beyond each face."""

    features: int
    zero: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n n n c"]) -> Float[Array, "b n n n o"]:
        """Convolve; `zero` starts from a zero kernel."""
        init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)), mode="edge")
        return nn.Conv(
            self.features,
            (3, 3, 3),
            padding="VALID",
            kernel_init=init,
            dtype=self.dtype,
            conv_general_dilated=conv3d,
            name="conv",
        )(x)


class ScalarEmbeddings(nn.Module):
    """Learned sinusoidal embeddings of several scalars, each with its own weights.

    Stacked, these compile to one product instead of one per component.
    """

    features: int
    frequencies: int = 32

    @nn.compact
    def __call__(self, values: Float[Array, "b k"]) -> Float[Array, "b k c"]:
        """Embed values in [0, 1]; one below -1/2 gives its learned null vector."""
        k, c = values.shape[-1], self.features
        # Components are the initializer's batch axis: the fan-in is that of one.
        dense = nn.initializers.lecun_normal(batch_axis=0)
        zeros, normal = nn.initializers.zeros, nn.initializers.normal
        freq = self.param("freq", normal(2.0), (k, self.frequencies))
        kernel1 = self.param("kernel1", dense, (k, 2 * self.frequencies + 1, c))
        bias1 = self.param("bias1", zeros, (k, c))
        kernel2 = self.param("kernel2", dense, (k, c, c))
        bias2 = self.param("bias2", zeros, (k, c))
        null = self.param("null", normal(1.0), (k, c))
        # float32 on purpose: in bfloat16 the phases would lose the fine conditions.
        values = values.astype(jnp.float32)[..., None]
        phase = 2 * jnp.pi * values * freq[None]
        wave = jnp.concatenate([values, jnp.sin(phase), jnp.cos(phase)], -1)
        out = nn.silu(jnp.einsum("bki,kio->bko", wave, kernel1) + bias1[None])
        out = jnp.einsum("bki,kio->bko", out, kernel2) + bias2[None]
        return jnp.where(values < -0.5, null[None], out)


class ResBlock(nn.Module):
    """Two 3^3 convolutions with scale-and-shift conditioning and a skip."""

    features: int
    groups: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n n n c"], emb: Float[Array, "b f"]
    ) -> Float[Array, "b n n n o"]:
        """Return x + branch(x, emb)."""
        norm = _norm(x.shape[-1], self.groups, self.dtype, "norm1")
        h = MirrorConv(self.features, dtype=self.dtype, name="conv1")(nn.silu(norm(x)))
        zeros = nn.initializers.zeros
        film = nn.Dense(
            2 * self.features, kernel_init=zeros, dtype=self.dtype, name="film"
        )
        scale, shift = jnp.split(film(nn.silu(emb))[:, None, None, None, :], 2, -1)
        h = _norm(self.features, self.groups, self.dtype, "norm2")(h)
        h = nn.silu(h * (1 + scale) + shift)
        h = MirrorConv(self.features, zero=True, dtype=self.dtype, name="conv2")(h)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="skip")(x)
        return x + h


class SelfAttention(nn.Module):
    """Residual multi-head attention over all voxels of a coarse grid."""

    heads: int = 4
    groups: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n n n c"]) -> Float[Array, "b n n n c"]:
        """Return x + attention(norm(x))."""
        b, c = x.shape[0], x.shape[-1]
        check_heads(c, self.heads)
        h = _norm(c, self.groups, self.dtype, "norm")(x).reshape(b, -1, c)
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(h)
        q, k, v = jnp.split(qkv.reshape(b, -1, 3 * self.heads, c // self.heads), 3, 2)
        h = nn.dot_product_attention(q, k, v).reshape(b, -1, c)
        init = nn.initializers.zeros
        h = nn.Dense(c, kernel_init=init, dtype=self.dtype, name="out")(h)
        return x + h.reshape(x.shape)


def _norm(channels: int, groups: int, dtype: Any, name: str) -> nn.GroupNorm:
    """Group norm with at most `groups` groups that divide the channels."""
    count = next(g for g in range(min(groups, channels), 0, -1) if channels % g == 0)
    return nn.GroupNorm(num_groups=count, dtype=dtype, name=name)
