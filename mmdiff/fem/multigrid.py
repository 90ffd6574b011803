"""One symmetric geometric multigrid V-cycle, a preconditioner for conjugate gradients.

For boxes of any three numbers of elements and any edges of these, periodic or with dofs
that are fixed. Coarse levels are rediscretized: the coefficients are averaged over
coarse elements, whose own edges make up for their number, so that any number of
elements has a coarser grid of the same box. Axes along which elements are short are
coarsened first. Smoother and coarsest solve are those of `vcycle`; `brick` gives the
bound of the spectrum. All of it is for one load, on fields laid out as in `stencil`.

A coarse dof is fixed if its basis function touches a fixed dof of the finer grid:
coarse corrections vanish where the displacement is given.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import boundary, stencil
from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import Brick
from mmdiff.fem.device import EXACT
from mmdiff.fem.stencil import Shape
from mmdiff.fem.vcycle import (
    DenseInverse,
    Smoother,
    chebyshev,
    dense_inverse,
    inverse_blocks,
    relax,
)
from mmdiff.typing import AnyArray, Array, Bool, Float, Int

COARSEST = 216  # most nodes of the densely solved grid
# Chebyshev degrees on the finest level and on all others; see docs/homogenizer.md.
DEGREES = (2, 6)
# Axes whose elements are longer than the shortest by more than this wait.
STRETCH = 1.5


class Grid(NamedTuple):
    """The elements of one level."""

    shape: Shape
    brick: Brick


class Level(NamedTuple):
    """One grid.

    Attributes:
      lines: coefficients of the elements, see `stencil.flatten`.
      blocks: inverses of the 3x3 nodal blocks (entries xx yy zz yz xz xy), zero where a
        dof is not free.
    """

    lines: Float[Array, "p e"]
    blocks: Float[Array, "6 s"]


class Hierarchy(NamedTuple):
    """All that the cycle needs and that depends on coefficients and fixed dofs."""

    levels: tuple[Level, ...]
    coarse: DenseInverse


def grids(shape: Shape, brick: Brick, coarsest: int = COARSEST) -> list[Grid]:
    """Return all levels, finest first.

    Even edges are halved; odd ones get a coarse grid whose nodes lie between theirs.
    """
    levels = [Grid(tuple(shape), brick)]
    while True:
        shape, edges = levels[-1].shape, levels[-1].brick.edges
        if math.prod(n + 1 for n in shape) <= coarsest or max(shape) == 1:
            return levels
        least = min(e for e, n in zip(edges, shape, strict=True) if n > 1)
        coarse = tuple(
            (n + 1) // 2 if edge <= STRETCH * least else n
            for n, edge in zip(shape, edges, strict=True)
        )
        stretched = [e * n / h for e, n, h in zip(edges, shape, coarse, strict=True)]
        levels.append(Grid(coarse, brick.with_edges(stretched)))


def coarsen(
    coefficients: Float[Array, "p nx ny nz"], coarse: Shape
) -> Float[Array, "p hx hy hz"]:
    """Average over the coarse elements of the same box."""
    shape = coefficients.shape[1:]
    if shape == tuple(2 * h for h in coarse):
        pairs = [size for h in coarse for size in (h, 2)]
        return coefficients.reshape(-1, *pairs).mean((2, 4, 6))
    for n, h in zip(shape, coarse, strict=True):  # the axes take turns
        share = jnp.asarray(_overlap(n, h), coefficients.dtype)
        coefficients = jnp.tensordot(coefficients, share, ((1,), (1,)), precision=EXACT)
    return coefficients


def _overlap(n, h):
    """Share (h, n) of every fine element in a coarse one of the same segment."""
    fine, coarse = np.arange(n + 1) / n, np.arange(h + 1) / h
    low = np.maximum(fine[None, :-1], coarse[:-1, None])
    high = np.minimum(fine[None, 1:], coarse[1:, None])
    return h * np.maximum(high - low, 0)


def weights(n: int, h: int) -> Float[np.ndarray, "t s"]:
    """Linear interpolation (n + 1, h + 1) between the nodes of two grids."""
    place = np.arange(n + 1) * h / n
    return np.maximum(1 - abs(place[:, None] - np.arange(h + 1)), 0)


def prolong(u: Float[Array, "c s"], coarse: Shape, fine: Shape) -> Float[Array, "c t"]:
    """Interpolate trilinearly from the nodes of a coarse grid to those of a finer."""
    u = u.reshape(-1, *(h + 1 for h in coarse))
    if fine != tuple(2 * h for h in coarse):
        for n, h in zip(fine, coarse, strict=True):  # the axes take turns
            line = jnp.asarray(weights(n, h), u.dtype)
            u = jnp.tensordot(u, line, ((1,), (1,)), precision=EXACT)
        return u.reshape(len(u), -1)
    for axis in (1, 2, 3):
        low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
        high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
        last = lax.slice_in_dim(u, u.shape[axis] - 1, u.shape[axis], axis=axis)
        shape = list(low.shape)
        shape[axis] *= 2
        between = jnp.stack([low, (low + high) / 2], axis + 1).reshape(shape)
        u = jnp.concatenate([between, last], axis)
    return u.reshape(len(u), -1)


def restrict(f: Float[Array, "c t"], fine: Shape, coarse: Shape) -> Float[Array, "c s"]:
    """Transpose of `prolong`."""
    f = f.reshape(-1, *(n + 1 for n in fine))
    if fine != tuple(2 * h for h in coarse):
        for n, h in zip(fine, coarse, strict=True):
            line = jnp.asarray(weights(n, h), f.dtype)
            f = jnp.tensordot(f, line, ((1,), (0,)), precision=EXACT)
        return f.reshape(len(f), -1)
    for axis in (1, 2, 3):
        size = f.shape[axis]
        even = lax.slice_in_dim(f, 0, size, 2, axis)
        odd = lax.slice_in_dim(f, 1, size, 2, axis) / 2
        widths = [(0, 0)] * 4
        widths[axis] = (0, 1)
        low = jnp.pad(odd, widths)
        widths[axis] = (1, 0)
        f = even + low + jnp.pad(odd, widths)
    return f.reshape(len(f), -1)


def coarse_fixed(
    fixed: Bool[AnyArray, "3 X Y Z"], coarse: Shape
) -> Bool[np.ndarray, "3 x y z"]:
    """Return which dofs of a coarser grid touch a fixed dof."""
    touched = np.asarray(fixed, np.float64)
    for size, h in zip(touched.shape[1:], coarse, strict=True):
        touched = np.tensordot(touched, weights(size - 1, h), ((1,), (0,)))
    return touched > 0


def cell_masks(
    fixed: Bool[AnyArray, "3 3"], levels: Sequence[Grid], dtype: Any, *, periodic: bool
) -> list[Float[Array, "3 s"]]:
    """Return 1 at free and 0 at other dofs of a load of a cell, for all levels."""
    return [
        boundary.free_mask(fixed, grid.shape, dtype, periodic=periodic).reshape(3, -1)
        for grid in levels
    ]


def make_apply(grid: Grid, *, periodic: bool) -> Callable:
    """Return `apply(lines, u)`, K u, of consistent images if `periodic`."""

    def apply(lines, u):
        force = stencil.apply(lines, u, grid.shape, grid.brick)
        return boundary.fold_images(force, grid.shape) if periodic else force

    return apply


def make_multigrid(
    levels: Sequence[Grid],
    *,
    most_free: int,
    periodic: bool = False,
    degrees: tuple[int, int] = DEGREES,
) -> tuple[Callable, Callable]:
    """Return `(setup, cycle)` of the preconditioner.

    `setup(coefficients, free)` builds the `Hierarchy` of element coefficients
    (p, nx, ny, nz) and of masks (3, s), one for each level, that are 1 at free and 0 at
    other dofs. `cycle(hierarchy, residual)` returns the approximate solution of
    K x = residual (3, s), a symmetric positive definite linear map of the free dofs
    (for periodic cells: of forces of zero mean, which are all that occur). Forces on
    dofs that are not free are of no effect.

    Args:
      levels: what `grids` returns.
      most_free: dofs that are free on the coarsest level, at most.
      periodic: whether opposite faces are the same.
      degrees: Chebyshev degrees of a smoothing pass, of the finest level and of others.
    """
    applies = [make_apply(grid, periodic=periodic) for grid in levels]
    tables = [
        chebyshev(degrees[min(i, 1)], bricks.spectrum_bound(grid.brick))
        for i, grid in enumerate(levels)
    ]

    def setup(coefficients, free):
        made = []
        for i, (grid, mask) in enumerate(zip(levels, free, strict=True)):
            if i:
                coefficients = coarsen(coefficients, grid.shape)
            lines = stencil.flatten(coefficients)
            made.append(Level(lines, _level_blocks(lines, mask, grid, periodic)))
        matrix = _assemble(coefficients, levels[-1].brick, periodic)
        inverse = dense_inverse(matrix, free[-1].reshape(-1), most=most_free)
        return Hierarchy(tuple(made), inverse)

    def complete(u, i):
        return boundary.copy_images(u, levels[i].shape) if periodic else u

    def descend(hierarchy, b, i):
        if i == len(levels) - 1:
            return complete(hierarchy.coarse.apply(b), i)
        lines, blocks = hierarchy.levels[i]
        smoother = Smoother(
            lambda u: applies[i](lines, u),
            lambda r: complete(relax(blocks, r), i),
            jnp.asarray(tables[i], b.dtype),
        )
        x, z, r = smoother.before(b)
        fine, shape = levels[i].shape, levels[i + 1].shape
        coarse = restrict(r, fine, shape)
        if periodic:
            coarse = boundary.fold_images(coarse, shape)
        z = prolong(descend(hierarchy, coarse, i + 1), shape, fine)
        return smoother.after(x + z, z, r)

    def cycle(hierarchy, b):
        if not periodic:
            return descend(hierarchy, b, 0)
        # Rounding leaves a small mean force, which no periodic field can balance: the
        # coarsest solve would blow it up and float32 iterations diverge.
        none, shape = np.zeros((3, 3), bool), levels[0].shape
        free = boundary.free_mask(none, shape, b.dtype, periodic=True).reshape(3, -1)
        x = descend(hierarchy, (b - mean(b, free)) * free, 0)
        return x - mean(x, free)

    return setup, cycle


def mean(u: Float[Array, "3 s"], free: Float[Array, "3 s"]) -> Float[Array, "3 1"]:
    """Return the mean over free dofs, all components having as many."""
    return (u * free).sum(-1, keepdims=True) / free[:1].sum()


def _level_blocks(lines, mask, grid, periodic):
    """Return the inverses of the nodal blocks of one level."""
    diagonal, coupling = stencil.node_blocks(lines, grid.shape, grid.brick)
    if periodic:
        both = jnp.concatenate([diagonal, coupling])
        both = boundary.fold_images(both, grid.shape)
        diagonal, coupling = both[: len(diagonal)], both[len(diagonal) :]
    solid = diagonal > 0  # images have none, nor have nodes amid void without a floor
    diagonal = jnp.where(solid, diagonal, 1)
    return inverse_blocks(diagonal, coupling, mask * solid.astype(mask.dtype))


def element_dofs(shape: Shape, *, periodic: bool = False) -> Int[np.ndarray, "e 24"]:
    """Return the dofs (e, 24) of every element: component-major, as fields are."""
    nodes = [n + 1 for n in shape]
    grid = np.arange(math.prod(nodes)).reshape(nodes)
    index = [np.arange(n)[:, None] + np.array([0, 1]) for n in shape]
    if periodic:
        index = [i % n for i, n in zip(index, shape, strict=True)]
    corner = grid[
        index[0][:, None, None, :, None, None],
        index[1][None, :, None, None, :, None],
        index[2][None, None, :, None, None, :],
    ].reshape(-1, 8)
    return (np.arange(3)[:, None] * grid.size + corner[:, None, :]).reshape(-1, 24)


def _assemble(coefficients, brick, periodic):
    """Return K (d, d) of element coefficients (p, nx, ny, nz)."""
    shape = coefficients.shape[1:]
    dofs = element_dofs(shape, periodic=periodic)
    basis = jnp.asarray(bricks.stiffness(brick), coefficients.dtype)
    lines = coefficients.reshape(len(coefficients), -1)
    values = jnp.einsum("ke,kij->eij", lines, basis, precision=EXACT)
    size = 3 * math.prod(n + 1 for n in shape)
    matrix = jnp.zeros((size, size), coefficients.dtype)
    return matrix.at[dofs[:, :, None], dofs[:, None, :]].add(values)
