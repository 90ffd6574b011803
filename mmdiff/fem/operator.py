"""The matrix-free stiffness operator in the mode basis of `element`.

Corner values become element modes by three butterflies (sum and difference along each
axis), the mode stiffness acts on them, and the transposed butterflies scatter the
result back to the nodes. Spatial axes come last. This is the plain form, for energies
and for derivatives to go through; the solver runs the one of `stencil`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import Brick
from mmdiff.typing import AnyArray, Array, Float

# GPUs and TPUs round the factors of a float32 product to 10 or 8 bits unless told not
# to, which could make a preconditioner indefinite.
EXACT = lax.Precision.HIGHEST


def _pair(u, axis):
    low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
    high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
    return high + low, high - low


def _unpair(s, d, axis):
    low, high = [(0, 0)] * s.ndim, [(0, 0)] * s.ndim
    low[axis], high[axis] = (0, 1), (1, 0)
    return jnp.pad(s - d, low) + jnp.pad(s + d, high)


def modes(u: Float[Array, "*b X Y Z"]) -> list[Float[Array, "*b nx ny nz"]]:
    """Return the 8 modes of every element of one component, mode = 4 x + 2 y + z."""
    out = []
    for a in _pair(u, u.ndim - 3):
        for b in _pair(a, u.ndim - 2):
            out += _pair(b, u.ndim - 1)
    return out


def apply(
    coefficients: Float[AnyArray, "p nx ny nz"],
    u: Float[AnyArray, "l 3 X Y Z"],
    brick: Brick,
) -> Float[Array, "l 3 X Y Z"]:
    """Return K u at the nodes, without boundary conditions."""
    dense = bricks.mode_stiffness(brick)
    dense = jnp.asarray(dense.reshape(-1, 3, 2, 2, 2, 3, 2, 2, 2), u.dtype)
    f = u
    for axis in (-3, -2, -1):
        f = jnp.stack(_pair(f, f.ndim + axis))
    f = sum(
        jnp.einsum("cxyzdpqr,rqpldijk->zyxlcijk", part, f, precision=EXACT)
        * coefficient[(None,) * 5]
        for part, coefficient in zip(dense, coefficients, strict=True)
    )
    for axis in (-1, -2, -3):
        f = _unpair(f[0], f[1], f.ndim - 1 + axis)
    return f


def element_energy(
    x: Sequence[Float[Array, "nx ny nz"]],
    y: Sequence[Float[Array, "nx ny nz"]],
    brick: Brick,
) -> Float[Array, "p nx ny nz"]:
    """Return x^T K_k y of every element and unit coefficient, from its 24 modes."""
    parts = [
        sum(
            a * sum(v * y[j] for j, v in row[k])
            for a, row in zip(x, bricks.mode_rows(brick), strict=True)
            if row[k]
        )
        for k in range(len(bricks.tensors(brick)))
    ]
    return jnp.stack(parts)
