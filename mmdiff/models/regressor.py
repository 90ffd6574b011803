"""A network from a field to its elastic constants: a differentiable surrogate.

Its gradient by the samples guides the sampler, as that of a regressor of K / K_HS does
in arXiv 2401.13570. Its outputs are the square roots of three shares of the upper
Hashin-Shtrikman bounds at the cell's own volume: of K, of C44 and of
(C11 - C12) / 2. The root gives soft cells as much room as stiff ones, and no constants
it stands for are unstable.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells import surface
from mmdiff.cells.distance import CLIP
from mmdiff.elasticity import NU
from mmdiff.errors import InputError
from mmdiff.models import layers
from mmdiff.models.weights import load_weights
from mmdiff.typing import AnyArray, Array, Float, Scalar

WIDTH = 1.0  # spacings: samples less far from the surface count for a part
SHARES = ("K / K_HS", "C44 / G_HS", "(C11 - C12) / 2 G_HS")


class Regressor(nn.Module):
    """Predict the roots of `SHARES` from fields x0 = psi / `CLIP` in [-1, 1].

    All fields are plain values, so `Regressor(**meta["model"])` rebuilds a stored
    network.

    Attributes:
      patch: side of the blocks of samples moved into channels, 1 for none.
      width: channels of the finest level.
      multipliers: channels of each level as a multiple of `width`.
      blocks: residual blocks of each level.
      groups: upper bound of the groups of a group norm.
      embedding: features of the volume, which scales and shifts every block.
      dtype: compute type, "float32" or "bfloat16"; parameters stay float32.
    """

    patch: int = 2
    width: int = 24
    multipliers: Sequence[int] = (1, 2, 4)
    blocks: Sequence[int] = (1, 2, 2)
    groups: int = 8
    embedding: int = 32
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b n n n"]) -> Float[Array, "b 3"]:
        """Return the roots, of one of the two halves of the cell."""
        if len(self.multipliers) != len(self.blocks):
            raise InputError(
                f"multipliers has {len(self.multipliers)} levels and blocks has "
                f"{len(self.blocks)}. Give `multipliers` and `blocks` one number per "
                "level."
            )
        dtype = layers.check_network(self, x.shape[-1])
        volume = volume_of(x)
        emb = layers.ScalarEmbeddings(self.embedding, name="volume")(volume[:, None])
        emb = nn.Dense(self.embedding, name="embedding")(nn.silu(emb[:, 0]))
        h = layers.space_to_depth(x[..., None].astype(dtype), self.patch)
        levels = zip(self.multipliers, self.blocks, strict=True)
        for level, (factor, blocks) in enumerate(levels):
            features = factor * self.width
            if level:
                h = layers.space_to_depth(h, 2)
                h = nn.Dense(features, dtype=dtype, name=f"level{level}_pool")(h)
            else:
                conv = layers.MirrorConv(features, dtype=dtype, name="level0_conv")
                h = nn.silu(conv(h))
            for i in range(blocks):
                block = layers.ResBlock(
                    features, self.groups, dtype, name=f"level{level}_block{i}"
                )
                h = block(h, emb.astype(dtype))
        h = nn.silu(h).mean((1, 2, 3)).astype(jnp.float32)
        h = nn.silu(nn.Dense(h.shape[-1], name="hidden")(jnp.concatenate([h, emb], -1)))
        return nn.Dense(len(SHARES), name="out")(h)


def volume_of(x: Float[AnyArray, "b n n n"]) -> Float[AnyArray, "b"]:
    """Return about the solid share of fields in [-1, 1], differentiable."""
    return surface.soft_step(CLIP * x, WIDTH).mean((1, 2, 3))


def to_roots(
    constants: Float[AnyArray, "*b 3"],
    volume: Float[AnyArray, "*b"] | Scalar,
    nu: float = NU,
) -> Float[AnyArray, "*b 3"]:
    """Return the square roots of `SHARES`; unstable constants count as zero.

    C11, C12, C44 are for base E = 1, of Poisson's ratio nu.
    """
    xp = jnp if isinstance(constants, jnp.ndarray) else np
    bulk, shear, _ = hashin_shtrikman(volume, nu)
    c11, c12, c44 = (constants[..., i] for i in range(3))
    shares = ((c11 + 2 * c12) / (3 * bulk), c44 / shear, (c11 - c12) / (2 * shear))
    return xp.sqrt(xp.maximum(xp.stack(shares, -1), 0.0))


def to_constants(
    roots: Float[AnyArray, "*b 3"],
    volume: Float[AnyArray, "*b"] | Scalar,
    nu: float = NU,
) -> Float[AnyArray, "*b 3"]:
    """Return C11, C12, C44 of roots at a volume; inverse of `to_roots`."""
    xp = jnp if isinstance(roots, jnp.ndarray) else np
    bulk, shear, _ = hashin_shtrikman(volume, nu)
    k, c44, second = (roots[..., i] ** 2 for i in range(3))
    k, c44, second = bulk * k, shear * c44, shear * second
    c12 = k - 2 * second / 3
    return xp.stack([c12 + 2 * second, c12, c44], -1)


def make_roots(model: Regressor) -> Callable[..., Float[Array, "b 3"]]:
    """Return `roots(params, x)` of fields (b, n, n, n) in [-1, 1].

    The mean over the field and the one of the cell shifted by half its side, the same
    material: both give the same to rounding.
    """

    def roots(params: Any, x):
        shifted = x[:, ::-1, ::-1, ::-1]
        one, other = (model.apply({"params": params}, y) for y in (x, shifted))
        return 0.5 * (one + other)

    return roots


def make_regress(params: Any, meta: dict) -> Callable[..., tuple]:
    """Return `regress(x)`: constants and K / K_HS of fields (b, n, n, n) in [-1, 1].

    It gives C11, C12, C44 (b, 3) with base E = 1, and (b,), and is traceable. The
    arguments are those of `load_regressor`.
    """
    roots = make_roots(Regressor(**meta["model"]))
    nu = float(meta["base"]["nu"])

    def regress(x: Float[Array, "b n n n"]):
        got = roots(params, x)
        volume = volume_of(x)
        return to_constants(got, volume, nu), got[:, 0] ** 2

    return regress


def init_regressor(model: Regressor, key, octant: int) -> dict:
    """Return fresh parameters of a network for octants of side `octant`."""
    return jax.jit(model.init)(key, jnp.zeros((1, octant, octant, octant)))["params"]


def load_regressor(path: str | os.PathLike) -> tuple[dict, dict[str, Any]]:
    """Return the parameters and the header of a regressor; see `load_weights`."""
    hint = (
        "Run --config=configs/regressor.py --workdir=out/regressor first, or take the "
        "shipped one (mmdiff.assets.regressor_path)."
    )
    return load_weights(path, network=Regressor, init=init_regressor, hint=hint)
