"""A denoising network for few processors: a transformer on blocks of samples.

One block in six is a token, the others are its images (`models.tokens`): a sixth of the
arithmetic of a network on the octant. The rest is a diffusion transformer (Peebles and
Xie, arXiv 2212.09748): time and conditions scale, shift and gate every branch. Per
second of a CPU core it learns faster than `UNet` (docs/ablation.md).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.errors import InputError
from mmdiff.models import layers, tokens
from mmdiff.typing import Array, Float


class Transformer(nn.Module):
    """Predict x0 from (x_t, t, previous x0, conditions), or correct a linear estimate.

    Takes and returns what `UNet` does. All attributes are plain values.

    Attributes:
      patch: side of the blocks of samples that are tokens.
      width: channels.
      depth: blocks of attention and perceptron.
      outer: such blocks on either side of them, between which eight tokens are one:
        about a sixth of them, images left out. What they had is added behind it.
      outer_width: channels of the outer blocks.
      heads: attention heads, which divide the channels.
      ratio: channels within a perceptron as a multiple of `width`.
      embedding: features of the time and condition embedding.
      conditions: number of condition components.
      linear: a linear estimate of x0 is one more input, see `models.denoiser`.
      dtype: type of the factors of products with weights, "float32" or "bfloat16",
        which processors with units for that multiply four times as fast; sums and all
        else are float32.
      remat: recompute blocks in the backward pass to save memory.
    """

    patch: int = 4
    width: int = 256
    depth: int = 6
    outer: int = 0
    outer_width: int = 128
    heads: int = 4
    ratio: int = 4
    embedding: int = 256
    conditions: int = 5
    linear: bool = False
    dtype: str = "float32"
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n n n"],
        t: Float[Array, "b"],
        x0_prev: Float[Array, "b n n n"],
        cond: Float[Array, "b k"],
        x0_lin: Float[Array, "b n n n"] | None = None,
    ) -> Float[Array, "b n n n"]:
        """Return x0 or its correction; see `typing.Denoiser` and `linear`."""
        layers.check_conditions(self.conditions, cond.shape[-1])
        layers.check_heads(self.width, self.heads)
        layers.check_heads(self.outer_width, self.heads)
        layers.check_dtype(self.dtype)
        if x.shape[-1] % self.patch:
            raise InputError(
                f"octants of {x.shape[-1]}^3 samples do not divide into blocks of "
                f"{self.patch}^3. Choose another `patch`."
            )
        if self.outer and x.shape[-1] // self.patch % 2:
            raise InputError(
                f"{x.shape[-1] // self.patch} blocks along an octant do not pair up. "
                "Choose another `patch`, or `outer` = 0."
            )
        half = self.dtype == "bfloat16"
        inputs = [x, x0_prev, x0_lin] if self.linear else [x, x0_prev]
        h = tokens.to_tokens(jnp.stack(inputs, -1), self.patch)
        width = self.outer_width if self.outer else self.width
        h = _with_place(self, Dense(width, half=half, name="tokens_in")(h), "place")
        scalars = jnp.concatenate([t[:, None], cond], -1)
        emb = layers.ScalarEmbeddings(self.embedding, name="scalars")(scalars).sum(1)
        emb = nn.silu(Dense(self.embedding, name="embedding")(nn.silu(emb)))
        block_type = nn.remat(Block) if self.remat else Block

        def blocks(h, count, name):
            for i in range(count):
                h = block_type(self.heads, self.ratio, half, name=f"{name}{i}")(h, emb)
            return h

        if self.outer:
            h = fine = blocks(h, self.outer, "before")
            h = Dense(self.width, half=half, name="merged")(tokens.merge(h))
            h = _with_place(self, h, "merged_place")
        h = blocks(h, self.depth, "block")
        if self.outer:
            h = Dense(8 * width, half=half, name="split")(h)
            h = blocks(fine + tokens.split(h, fine.shape[1]), self.outer, "after")
        scale, shift = _modulation(emb, 2, width, "last")
        h = _norm(h) * (1 + scale) + shift
        out = Dense(self.patch**3, zero=True, half=half, name="tokens_out")(h)
        return tokens.to_field(out, x.shape[-1])


class Block(nn.Module):
    """Attention and a perceptron, each normed, modulated, gated and added."""

    heads: int
    ratio: int
    half: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t c"], emb: Float[Array, "b f"]
    ) -> Float[Array, "b t c"]:
        """Return x with both branches added; none to start with."""
        b, t, c = x.shape
        modulation = _modulation(emb, 6, c, "modulation")
        scale, shift, gate, scale2, shift2, gate2 = modulation
        h = _norm(x) * (1 + scale) + shift
        qkv = Dense(3 * c, half=self.half, name="qkv")(h)
        q, k, v = jnp.moveaxis(qkv.reshape(b, t, 3, self.heads, c // self.heads), 2, 0)
        h = nn.dot_product_attention(q, k, v).reshape(b, t, c)
        x = x + gate * Dense(c, half=self.half, name="out")(h)
        h = _norm(x) * (1 + scale2) + shift2
        h = nn.silu(Dense(self.ratio * c, half=self.half, name="wide")(h))
        return x + gate2 * Dense(c, half=self.half, name="narrow")(h)


class Dense(nn.Module):
    """A product with weights, of bfloat16 factors if `half`, and a bias."""

    features: int
    zero: bool = False
    half: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
        """Return x W + b; `zero` starts from W = 0."""
        init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        product = half_product if self.half else jnp.matmul
        return product(x, kernel) + bias[(None,) * (x.ndim - 1)]


@jax.custom_vjp
def half_product(
    x: Float[Array, "*b c"], kernel: Float[Array, "c d"]
) -> Float[Array, "*b d"]:
    """Return x times the kernel: factors in bfloat16, sums in float32.

    The same holds for its derivatives, which would else mix both types.
    """
    return _product(x, kernel, x.ndim - 1, 0)


def _product(a, b, i, j):
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    axes = ((i,), (j,)) if isinstance(i, int) else (i, j)
    return lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=jnp.float32)


def _product_forward(x, kernel):
    return half_product(x, kernel), (x.astype(jnp.bfloat16), kernel)


def _product_backward(saved, g):
    x, kernel = saved
    rows = tuple(range(x.ndim - 1))
    return _product(g, kernel, g.ndim - 1, 1), _product(x, g, rows, rows)


half_product.defvjp(_product_forward, _product_backward)


def _with_place(module, h, name):
    return h + module.param(name, nn.initializers.normal(0.02), h.shape[1:])[None]


def _modulation(emb, count, width, name):
    """Return so many (b, 1, width), zero to start with."""
    out = Dense(count * width, zero=True, name=name)(emb)
    return jnp.split(out[:, None], count, -1)


def _norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
