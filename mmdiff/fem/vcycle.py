"""The parts of a multigrid V-cycle that do not depend on the elements.

The smoother is the fourth-kind Chebyshev iteration (Lottes, Numer. Linear Algebra Appl.
30 (2023) e2518), scaled by the 3x3 nodal blocks of the operator. It needs an upper
bound of the spectrum only; with a rigorous one the cycle stays positive definite on
every field of stiffness. The coarsest grid is solved by a dense factorization.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem.device import EXACT, stack
from mmdiff.typing import AnyArray, Array, Float, Int


def chebyshev(degree: int, bound: float) -> Float[np.ndarray, "k 2"]:
    """Return (degree, 2): the share of the last step that is kept, and the new step."""
    k = np.arange(1, degree + 1)
    kept = (2 * k - 3) / (2 * k + 1)
    kept[0] = 0
    return np.stack([kept, (8 * k - 4) / (2 * k + 1) / bound], 1)


class Smoother(NamedTuple):
    """The smoothing passes of one level.

    Attributes:
      apply: the operator K.
      relax: the inverse of its nodal blocks.
      table: what `chebyshev` returns.
    """

    apply: Callable[[Array], Array]
    relax: Callable[[Array], Array]
    table: Float[Array, "k 2"]

    def before(self, b: Float[Array, "3 s"]) -> tuple[Array, Array, Array]:
        """Return a correction from zero, its last step and the residual."""

        def body(k, state):
            x, z, r = state
            z = self._step(k, z, r)
            return x + z, z, r - self.apply(z)

        zero = jnp.zeros_like(b)
        return lax.fori_loop(0, len(self.table), body, (zero, zero, b))

    def after(self, x: Array, z: Array, r: Array) -> Float[Array, "3 s"]:
        """Return the correction x, whose last step z is not in the residual r yet."""

        def body(k, state):
            x, z, r = state
            r = r - self.apply(z)
            z = self._step(k, z, r)
            return x + z, z, r

        return lax.fori_loop(0, len(self.table), body, (x, z, r))[0]

    def _step(self, k, z, r):
        return self.table[k, 0] * z + self.table[k, 1] * self.relax(r)


def inverse_blocks(
    diagonal: Float[Array, "d s"],
    coupling: Float[Array, "3 s"],
    mask: Float[Array, "3 s"],
) -> Float[Array, "6 s"]:
    """Return the inverses of 3x3 nodal blocks, of the free dofs and zero for others.

    Args:
      diagonal: the diagonal entries, one if they are equal or three; positive.
      coupling: entries yz, xz, xy.
      mask: 1 at free dofs, 0 at others.

    Returns:
      entries xx yy zz yz xz xy.
    """
    x, y, z = mask
    if len(diagonal) == 1:
        a = b = c = bc = ac = ab = diagonal[0]
    else:
        a, b, c = diagonal
        bc, ac, ab = jnp.sqrt(b * c), jnp.sqrt(a * c), jnp.sqrt(a * b)
    p = coupling[0] / bc * (y * z)
    q = coupling[1] / ac * (x * z)
    r = coupling[2] / ab * (x * y)
    scale = 1 / (1 + 2 * p * q * r - p * p - q * q - r * r)
    return scale[None] * stack(
        [
            x * (1 - p * p) / a,
            y * (1 - q * q) / b,
            z * (1 - r * r) / c,
            (q * r - p) / bc,
            (p * r - q) / ac,
            (p * q - r) / ab,
        ]
    )


def relax(blocks: Float[Array, "6 s"], r: Float[Array, "3 s"]) -> Float[Array, "3 s"]:
    """Return r times the symmetric nodal blocks (entries xx yy zz yz xz xy)."""
    xx, yy, zz, yz, xz, xy = blocks
    return stack(
        [
            xx * r[0] + xy * r[1] + xz * r[2],
            xy * r[0] + yy * r[1] + yz * r[2],
            xz * r[0] + yz * r[1] + zz * r[2],
        ]
    )


class DenseInverse(NamedTuple):
    """The inverse of a stiffness matrix on its free dofs.

    Attributes:
      matrix: the inverse; zero where `place` is no dof.
      place: numbers of these dofs among all of them.
    """

    matrix: Float[Array, "k k"]
    place: Int[Array, "k"]

    def apply(self, b: Float[Array, "3 s"]) -> Float[Array, "3 s"]:
        """Return the inverse times b, zero on all other dofs."""
        line = b.reshape(-1)
        known = line.at[self.place].get(mode="fill", fill_value=0)
        x = jnp.matmul(self.matrix, known, precision=EXACT)
        return jnp.zeros_like(line).at[self.place].set(x, mode="drop").reshape(b.shape)


def dense_inverse(
    matrix: Float[Array, "d d"], free: Float[AnyArray, "d"], *, most: int
) -> DenseInverse:
    """Return the inverse of a stiffness matrix on the free dofs, `most` at most."""
    size = free.size
    (place,) = jnp.nonzero(free, size=most, fill_value=size)
    block = matrix.at[place[:, None], place[None]].get(mode="fill", fill_value=0)
    free = (place < size).astype(matrix.dtype)
    diagonal = jnp.diagonal(block)
    scale = jnp.where(diagonal > 0, diagonal, 1) ** -0.5 * free
    # Unit diagonal by scaling; the shift bounds the condition number (5e4 in float32,
    # 1e9 in float64) where rounding would not: rigid translations of periodic cells,
    # islands in void, bodies that nothing holds.
    shift = 30 * jnp.finfo(matrix.dtype).eps ** 0.5 * 1e-2
    eye = jnp.eye(most, dtype=matrix.dtype)
    system = block * scale[:, None] * scale[None] + (1 - free[None] + shift) * eye
    factor = jnp.linalg.cholesky(system)
    half = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
    inverse = jnp.matmul(half.T, half, precision=EXACT)
    return DenseInverse(inverse * scale[:, None] * scale[None], place)
