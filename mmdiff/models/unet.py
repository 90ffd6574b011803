"""The denoising network: a 3D U-Net from the noisy field of an octant to the clean one.

Input channels are x_t, the previous estimate of x0 (self-conditioning) and maybe the
linear one; a patch embedding moves p^3 samples into channels first, which makes the
network some fifty times cheaper than one at full resolution. Time and each condition
have their own embedding. The output is cubic-symmetric exactly. Follows arXiv
2401.13570, section 3, but for the patches, the mirror padding and the scale-and-shift
conditioning.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from mmdiff.models import layers
from mmdiff.typing import Array, Float


class UNet(nn.Module):
    """Predict x0 from (x_t, t, previous x0, conditions), or correct a linear estimate.

    All fields are plain values, so `UNet(**meta["model"])` rebuilds a stored network.

    Attributes:
      patch: side of the blocks of samples moved into channels, 1 for none.
      width: channels of the finest level.
      multipliers: channels of each level as a multiple of `width`.
      blocks: residual blocks per level, on each way.
      middle: residual blocks at the coarsest level between the two ways.
      attention: levels that end in self-attention.
      heads: attention heads.
      groups: upper bound of the groups of a group norm.
      embedding: features of the time and condition embedding.
      conditions: number of condition components.
      refine: channels of the last full-resolution convolution, 0 for none.
      linear: a linear estimate of x0 is one more input and the output is what it
        lacks; see `mmdiff.models.denoiser`.
      dtype: compute type, "float32" or "bfloat16"; parameters stay float32.
      remat: recompute blocks in the backward pass to save memory.
    """

    patch: int = 4
    width: int = 64
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    middle: int = 2
    attention: Sequence[int] = ()
    heads: int = 4
    groups: int = 8
    embedding: int = 128
    conditions: int = 5
    refine: int = 0
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
        levels, dtype = len(self.multipliers), layers.check_network(self, x.shape[-1])
        block_type = nn.remat(layers.ResBlock) if self.remat else layers.ResBlock
        widths = [self.width * m for m in self.multipliers]

        def block(h, features, name):
            return block_type(features, self.groups, dtype, name=name)(h, emb)

        def attend(h, level, name):
            if level not in self.attention:
                return h
            return layers.SelfAttention(self.heads, self.groups, dtype, name=name)(h)

        emb = self._embed(t, cond).astype(dtype)
        inputs = [x, x0_prev, x0_lin] if self.linear else [x, x0_prev]
        fields = jnp.stack(inputs, -1).astype(dtype)
        h = layers.space_to_depth(fields, self.patch)
        h = nn.Dense(widths[0], dtype=dtype, name="patch_in")(h)
        skips = []
        for level, features in enumerate(widths):
            if level:
                h = layers.space_to_depth(h, 2)
                h = nn.Dense(features, dtype=dtype, name=f"down{level}_pool")(h)
            for i in range(self.blocks):
                h = block(h, features, f"down{level}_block{i}")
            h = attend(h, level, f"down{level}_attention")
            skips.append(h)
        for i in range(self.middle):
            h = block(h, widths[-1], f"middle_block{i}")
        h = attend(h, levels - 1, "middle_attention")
        for level in reversed(range(levels)):
            if level < levels - 1:
                h = nn.Dense(widths[level], dtype=dtype, name=f"up{level}_pool")(h)
                h = layers.repeat2(h)
            # A 1^3 merge instead of a 3^3 convolution of both halves the cost.
            h = jnp.concatenate([h, skips[level]], -1)
            h = nn.Dense(widths[level], dtype=dtype, name=f"up{level}_merge")(h)
            for i in range(self.blocks):
                h = block(h, widths[level], f"up{level}_block{i}")
            h = attend(h, level, f"up{level}_attention")
        out = self._head(h, fields, dtype)
        return layers.cubic_projection(out.astype(jnp.float32))

    def _embed(self, t, cond):
        scalars = jnp.concatenate([t[:, None], cond], -1)
        emb = layers.ScalarEmbeddings(self.embedding, name="scalars")(scalars)
        return nn.Dense(self.embedding, name="embedding")(nn.silu(emb.sum(1)))

    def _head(self, h, fields, dtype):
        zeros = nn.initializers.zeros
        norm = nn.GroupNorm(num_groups=None, group_size=h.shape[-1], dtype=dtype)
        h, size = nn.silu(norm(h)), self.patch**3
        if not self.refine:
            h = nn.Dense(size, kernel_init=zeros, dtype=dtype, name="patch_out")(h)
            return layers.depth_to_space(h, self.patch)[..., 0]
        h = nn.Dense(size * (self.refine + 1), dtype=dtype, name="patch_out")(h)
        h = layers.depth_to_space(h, self.patch)
        # The coarse answer passes by the refinement, which starts at zero.
        coarse, h = h[..., 0], h[..., 1:]
        first = layers.MirrorConv(self.refine, dtype=dtype, name="refine1")
        h = nn.silu(first(jnp.concatenate([h, fields], -1)))
        last = layers.MirrorConv(1, zero=True, dtype=dtype, name="refine2")
        return coarse + last(h)[..., 0]
