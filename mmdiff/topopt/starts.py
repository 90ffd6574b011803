"""Random starts for inverse homogenization.

Combinations of cos 2 pi k x along the three axes, for cubic symmetry averaged over the
permutations of the axes: on the octant of a mirror-symmetric cell the cosines are the
part of {cos 2 pi k x, sin 2 pi k x} that is even under the mirrors, as arXiv 2401.13570
starts its optimizations.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.symmetry import symmetrize
from mmdiff.typing import AnyArray, Array, Float, Key, Scalar


def random_start(
    key: Key,
    n: int,
    volume: Scalar,
    *,
    symmetry: str = "cubic",
    waves: int = 4,
    contrast: float = 1.0,
) -> Float[Array, "n n n"]:
    """Return a smooth random octant whose mean is the volume, before it is clipped.

    `waves` is the highest wave number k, the contrast the standard deviation as a share
    of min(volume, 1 - volume).
    """
    x = (np.arange(n) + 0.5) / (2 * n)
    k = np.arange(waves + 1)
    basis = jnp.asarray(np.cos(2 * np.pi * k[:, None] * x), jnp.float32)
    # Low waves dominate: white coefficients would give mostly the highest ones.
    order = k[:, None, None] + k[:, None] + k
    weight = jax.random.normal(key, order.shape) / (1.0 + order)
    weight = weight.at[0, 0, 0].set(0.0)
    field = jnp.einsum("abc,ax,by,cz->xyz", weight, basis, basis, basis)
    field = symmetrize(field, symmetry)
    field = (field - field.mean()) / (field.std() + 1e-12)
    spread = contrast * jnp.minimum(volume, 1 - volume)
    return jnp.clip(volume + spread * field, 0.01, 0.99)


def is_field(start: Float[AnyArray, "n n n"]) -> bool:
    """Whether a start is a level-set field; a density is never negative."""
    return bool(np.min(start) < 0)
