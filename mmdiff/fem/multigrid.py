"""One symmetric geometric multigrid V-cycle, a preconditioner for conjugate gradients.

Coarse levels are rediscretized: the modulus is averaged over the coarse elements and
the element stiffness grows with the edge. Smoother and coarsest solve are those of
`vcycle`; `element` gives the bound of the spectrum. All of it is for one load, on
fields laid out as in `flat`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import boundary, element, flat
from mmdiff.fem.operator import EXACT
from mmdiff.fem.vcycle import (
    DenseInverse,
    Smoother,
    chebyshev,
    dense_inverse,
    inverse_blocks,
    relax,
)
from mmdiff.typing import Array, Float

COARSEST = 4  # most elements per side of the densely solved grid
# Chebyshev degrees on the finest level and on all others; see docs/homogenizer.md.
DEGREES = (2, 6)


class Level(NamedTuple):
    """One grid.

    Attributes:
      modulus: of the elements, see `flat.flatten`.
      blocks: inverses of the 3x3 nodal blocks (entries xx yy zz yz xz xy), zero where a
        dof is not free.
    """

    modulus: Float[Array, "e"]
    blocks: Float[Array, "6 s"]


class Hierarchy(NamedTuple):
    """Everything the cycle needs; depends on the moduli and on the fixed dofs."""

    levels: tuple[Level, ...]
    coarse: DenseInverse


def level_sizes(n: int) -> list[int]:
    """Return the elements per side of every level, finest first.

    Even grids are halved; odd ones get a coarse grid whose nodes lie between theirs.
    """
    sizes = [n]
    while sizes[-1] > COARSEST:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def most_free(m: int) -> int:
    """Return how many dofs of m^3 elements between mirrors are free, at most.

    That is under normal strains, where each component is fixed on two faces.
    """
    return 3 * (m - 1) * (m + 1) ** 2


def coarsen(modulus: Float[Array, "n n n"]) -> Float[Array, "h h h"]:
    """Average over the coarse elements; the stiffness grows with the edge."""
    n = modulus.shape[0]
    h = (n + 1) // 2
    if n == 2 * h:
        return 2 * modulus.reshape(h, 2, h, 2, h, 2).mean((1, 3, 5))
    share = jnp.asarray(_overlap(n, h), modulus.dtype)
    for _ in range(3):  # the axes take turns at the front
        modulus = jnp.tensordot(modulus, share, ((0,), (1,)), precision=EXACT)
    return n / h * modulus


def _overlap(n, h):
    """Share (h, n) of every fine element in a coarse one of the same segment."""
    fine, coarse = np.arange(n + 1) / n, np.arange(h + 1) / h
    low = np.maximum(fine[None, :-1], coarse[:-1, None])
    high = np.minimum(fine[None, 1:], coarse[1:, None])
    return h * np.maximum(high - low, 0)


def _weights(n, h):
    """Linear interpolation (n + 1, h + 1) between the nodes of two grids."""
    place = np.arange(n + 1) * h / n
    return np.maximum(1 - abs(place[:, None] - np.arange(h + 1)), 0)


def prolong(u: Float[Array, "3 s"], n: int) -> Float[Array, "3 t"]:
    """Interpolate trilinearly from the coarse grid below n^3 elements."""
    h = (n + 1) // 2
    u = u.reshape(3, h + 1, h + 1, h + 1)
    if n < 2 * h:
        weights = jnp.asarray(_weights(n, h), u.dtype)
        for _ in range(3):
            u = jnp.tensordot(u, weights, ((1,), (1,)), precision=EXACT)
        return u.reshape(3, -1)
    for axis in (1, 2, 3):
        low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
        high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
        last = lax.slice_in_dim(u, u.shape[axis] - 1, u.shape[axis], axis=axis)
        shape = list(low.shape)
        shape[axis] *= 2
        fine = jnp.stack([low, (low + high) / 2], axis + 1).reshape(shape)
        u = jnp.concatenate([fine, last], axis)
    return u.reshape(3, -1)


def restrict(f: Float[Array, "3 t"], n: int) -> Float[Array, "3 s"]:
    """Transpose of `prolong`."""
    h = (n + 1) // 2
    f = f.reshape(3, n + 1, n + 1, n + 1)
    if n < 2 * h:
        weights = jnp.asarray(_weights(n, h), f.dtype)
        for _ in range(3):
            f = jnp.tensordot(f, weights, ((1,), (0,)), precision=EXACT)
        return f.reshape(3, -1)
    for axis in (1, 2, 3):
        size = f.shape[axis]
        even = lax.slice_in_dim(f, 0, size, 2, axis)
        odd = lax.slice_in_dim(f, 1, size, 2, axis) / 2
        widths = [(0, 0)] * 4
        widths[axis] = (0, 1)
        low = jnp.pad(odd, widths)
        widths[axis] = (1, 0)
        f = even + low + jnp.pad(odd, widths)
    return f.reshape(3, -1)


def make_apply(n: int, nu: float, *, periodic: bool) -> Callable:
    """Return `apply(flat_modulus, u)`, K u on n^3 elements for consistent images."""

    def apply(modulus, u):
        force = flat.apply(modulus, u, n, nu)
        return boundary.fold_images(force, n) if periodic else force

    return apply


def make_multigrid(
    n: int, nu: float, *, periodic: bool, degrees: tuple[int, int] = DEGREES
) -> tuple[Callable, Callable]:
    """Return `(setup, cycle)` of the preconditioner on an n^3 grid.

    `setup(modulus, fixed)` builds the `Hierarchy` of element moduli (n, n, n) and of
    fixed dofs (3, 3), see `boundary.Loads.fixed`. `cycle(hierarchy, residual)` returns
    the approximate solution of K x = residual (3, s), a symmetric positive definite
    linear map of the free dofs (for periodic cells: of forces of zero mean, which are
    all that occur). Forces on dofs that are not free are of no effect.

    Args:
      n: elements per side.
      nu: Poisson's ratio of the base material.
      periodic: whether opposite faces are the same.
      degrees: Chebyshev degrees of a smoothing pass, of the finest level and of others.
    """
    sizes = level_sizes(n)
    bound = element.spectrum_bound(nu)
    applies = [make_apply(m, nu, periodic=periodic) for m in sizes]

    def setup(modulus, fixed):
        levels = []
        for m in sizes:
            if m < n:
                modulus = coarsen(modulus)
            mask = boundary.free_mask(fixed, m, modulus.dtype, periodic=periodic)
            mask = mask.reshape(3, -1)
            line = flat.flatten(modulus)
            levels.append(Level(line, _level_blocks(line, mask, m, nu, periodic)))
        matrix = _assemble(modulus, nu, periodic)
        free = 3 * (m + 1) ** 3 if periodic else most_free(m)
        return Hierarchy(
            tuple(levels), dense_inverse(matrix, mask.reshape(-1), most=free)
        )

    def complete(u, m):
        return boundary.copy_images(u, m) if periodic else u

    def descend(hierarchy, b, i):
        m = sizes[i]
        if i == len(sizes) - 1:
            return complete(hierarchy.coarse.apply(b), m)
        modulus, blocks = hierarchy.levels[i]
        smoother = Smoother(
            lambda u: applies[i](modulus, u),
            lambda r: complete(relax(blocks, r), m),
            jnp.asarray(chebyshev(degrees[min(i, 1)], bound), b.dtype),
        )
        x, z, r = smoother.before(b)
        coarse = restrict(r, m)
        if periodic:
            coarse = boundary.fold_images(coarse, sizes[i + 1])
        z = prolong(descend(hierarchy, coarse, i + 1), m)
        return smoother.after(x + z, z, r)

    def cycle(hierarchy, b):
        if not periodic:
            return descend(hierarchy, b, 0)
        # Rounding leaves a small mean force, which no periodic field can balance: the
        # coarsest solve would blow it up and float32 iterations diverge.
        free = boundary.free_mask(np.zeros((3, 3), bool), n, b.dtype, periodic=True)
        free = free.reshape(3, -1)
        x = descend(hierarchy, (b - _mean(b, free)) * free, 0)
        return x - _mean(x, free)

    return setup, cycle


def _mean(u, free):
    return (u * free).sum(-1, keepdims=True) / free[:1].sum()


def _level_blocks(line, mask, m, nu, periodic):
    """Return the inverses of the nodal blocks on m^3 elements."""
    diagonal, coupling = flat.node_blocks(line, m, nu)
    if periodic:
        both = jnp.concatenate([diagonal[None], coupling])
        both = boundary.fold_images(both, m)
        diagonal, coupling = both[0], both[1:]
    diagonal = jnp.where(diagonal > 0, diagonal, 1)  # images have none
    return inverse_blocks(diagonal, coupling, mask)


def _assemble(modulus, nu, periodic):
    """Return K (d, d) of element moduli (m, m, m)."""
    m = len(modulus)
    index = np.arange(m)[:, None] + np.array([0, 1])
    if periodic:
        index = index % m
    grid = np.arange((m + 1) ** 3).reshape(m + 1, m + 1, m + 1)
    corner = grid[
        index[:, None, None, :, None, None],
        index[None, :, None, None, :, None],
        index[None, None, :, None, None, :],
    ].reshape(m**3, 8)
    dof = (np.arange(3)[:, None] * grid.size + corner[:, None, :]).reshape(-1, 24)
    stiffness = jnp.asarray(element.stiffness(nu), modulus.dtype)
    values = modulus.reshape(-1, 1, 1) * stiffness[None]
    matrix = jnp.zeros((3 * grid.size, 3 * grid.size), modulus.dtype)
    return matrix.at[dof[:, :, None], dof[:, None, :]].add(values)
