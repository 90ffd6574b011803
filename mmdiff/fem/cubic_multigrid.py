"""A multigrid V-cycle for boxes of `cubic` elements with any Dirichlet conditions.

The cycle of `multigrid` is that of one modulus per element, on cubes whose faces are
fixed as mirrors are; as a preconditioner here it would see neither the anisotropy nor
the fixed dofs. This one follows it in all else: coarse levels are rediscretized from
averaged constants, the smoother is the fourth-kind Chebyshev iteration with 3x3 nodal
blocks, and the coarsest grid is solved by a dense factorization.

Odd edges are extended by a layer of void, so that all levels are made of cubes twice as
large. A coarse dof is fixed if its basis function touches a fixed dof of the finer
grid: coarse corrections vanish where the displacement is given.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mmdiff.fem import cubic
from mmdiff.fem.cubic import Shape
from mmdiff.fem.multigrid import DEGREES
from mmdiff.fem.operator import EXACT
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


class Level(NamedTuple):
    """One grid.

    Attributes:
      constants: of the elements, see `cubic.flatten`.
      blocks: inverses of the 3x3 nodal blocks (entries xx yy zz yz xz xy), zero where a
        dof is not free.
    """

    constants: Float[Array, "3 e"]
    blocks: Float[Array, "6 s"]


class Hierarchy(NamedTuple):
    """All that the cycle needs and that depends on the constants."""

    levels: tuple[Level, ...]
    coarse: DenseInverse


def level_shapes(shape: Shape, coarsest: int = COARSEST) -> list[Shape]:
    """Return the elements along x, y, z of every level, finest first."""
    shapes = [shape]
    while math.prod(n + 1 for n in shapes[-1]) > coarsest and max(shapes[-1]) > 1:
        shapes.append(tuple((n + 1) // 2 for n in shapes[-1]))
    return shapes


def coarsen(constants: Float[Array, "nx ny nz 3"]) -> Float[Array, "hx hy hz 3"]:
    """Average over the coarse elements; the stiffness grows with the edge."""
    shape = constants.shape[:3]
    pairs = [size for n in shape for size in ((n + 1) // 2, 2)]
    constants = jnp.pad(constants, [*((0, n % 2) for n in shape), (0, 0)])
    return 2 * constants.reshape(*pairs, 3).mean((1, 3, 5))


def weights(n: int) -> Float[np.ndarray, "t s"]:
    """Linear interpolation (n + 1, h + 1) from nodes two apart."""
    h = (n + 1) // 2
    distance = abs(np.arange(n + 1)[:, None] - 2 * np.arange(h + 1))
    return np.maximum(1 - distance / 2, 0)


def prolong(u: Float[Array, "3 s"], shape: Shape) -> Float[Array, "3 t"]:
    """Interpolate trilinearly from the coarse grid below one of a shape."""
    u = u.reshape(3, *((n + 1) // 2 + 1 for n in shape))
    for n in shape:  # the axes take turns at the front
        line = jnp.asarray(weights(n), u.dtype)
        u = jnp.tensordot(u, line, ((1,), (1,)), precision=EXACT)
    return u.reshape(3, -1)


def restrict(f: Float[Array, "3 t"], shape: Shape) -> Float[Array, "3 s"]:
    """Transpose of `prolong`."""
    f = f.reshape(3, *(n + 1 for n in shape))
    for n in shape:
        line = jnp.asarray(weights(n), f.dtype)
        f = jnp.tensordot(f, line, ((1,), (0,)), precision=EXACT)
    return f.reshape(3, -1)


def coarse_fixed(fixed: Bool[AnyArray, "3 X Y Z"]) -> Bool[np.ndarray, "3 x y z"]:
    """Return which dofs of the next coarser grid touch a fixed dof."""
    touched = np.asarray(fixed, np.float64)
    for size in touched.shape[1:]:
        touched = np.tensordot(touched, weights(size - 1), ((1,), (0,)))
    return touched > 0


def make_multigrid(
    shape: Shape,
    fixed: Bool[AnyArray, "3 X Y Z"],
    *,
    degrees: tuple[int, int] = DEGREES,
    coarsest: int = COARSEST,
) -> tuple[Callable, Callable]:
    """Return `(setup, cycle)` of the preconditioner.

    `setup(constants)` builds the `Hierarchy` of element constants (nx, ny, nz, 3).
    `cycle(hierarchy, residual)` returns the approximate solution of K x = residual
    (3, s), a symmetric positive definite linear map of the free dofs. Forces on fixed
    dofs are of no effect.

    Args:
      shape: elements along x, y and z.
      fixed: dofs of given displacement, on the (nx + 1, ny + 1, nz + 1) nodes.
      degrees: Chebyshev degrees of a smoothing pass, of the finest level and of others.
      coarsest: most nodes of the grid that is solved densely.
    """
    shapes = level_shapes(shape, coarsest)
    masks = [np.asarray(fixed, bool)]
    for _ in shapes[1:]:
        masks.append(coarse_fixed(masks[-1]))
    free = [~mask.reshape(3, -1) for mask in masks]
    bound = cubic.spectrum_bound()

    def setup(constants):
        levels = []
        for i, size in enumerate(shapes):
            if i:
                constants = coarsen(constants)
            lines = cubic.flatten(constants)
            mask = jnp.asarray(free[i], lines.dtype)
            levels.append(Level(lines, level_blocks(lines, mask, size)))
        matrix = _assemble(constants)
        inverse = dense_inverse(
            matrix, mask.reshape(-1), most=max(int(free[-1].sum()), 1)
        )
        return Hierarchy(tuple(levels), inverse)

    def descend(hierarchy, b, i):
        if i == len(shapes) - 1:
            return hierarchy.coarse.apply(b)
        constants, blocks = hierarchy.levels[i]
        smoother = Smoother(
            lambda u: cubic.apply(constants, u, shapes[i]),
            lambda r: relax(blocks, r),
            jnp.asarray(chebyshev(degrees[min(i, 1)], bound), b.dtype),
        )
        x, z, r = smoother.before(b)
        z = descend(hierarchy, restrict(r, shapes[i]), i + 1)
        z = prolong(z, shapes[i])
        return smoother.after(x + z, z, r)

    return setup, lambda hierarchy, b: descend(hierarchy, b, 0)


def level_blocks(
    lines: Float[Array, "3 e"], mask: Float[Array, "3 s"], shape: Shape
) -> Float[Array, "6 s"]:
    """Return the inverses of the nodal blocks of the free dofs, zero on all others."""
    diagonal, coupling = cubic.node_blocks(lines, shape)
    solid = diagonal > 0  # nodes amid void without a floor have none
    diagonal = jnp.where(solid, diagonal, 1)
    return inverse_blocks(diagonal, coupling, mask * solid.astype(mask.dtype)[None])


def element_dofs(shape: Shape) -> Int[np.ndarray, "e 24"]:
    """Return the dofs (e, 24) of every element: component-major, as fields are."""
    nodes = [n + 1 for n in shape]
    dofs = np.arange(3 * math.prod(nodes)).reshape(3, *nodes)
    return np.stack(cubic.corners(dofs), 1).reshape(24, -1).T


def _assemble(constants):
    """Return K (d, d) of element constants (nx, ny, nz, 3)."""
    shape = constants.shape[:3]
    dofs = element_dofs(shape)
    basis = jnp.asarray(cubic.stiffness_basis(), constants.dtype)
    values = jnp.einsum("ek,kij->eij", constants.reshape(-1, 3), basis, precision=EXACT)
    size = 3 * math.prod(n + 1 for n in shape)
    matrix = jnp.zeros((size, size), constants.dtype)
    return matrix.at[dofs[:, :, None], dofs[:, None, :]].add(values)
