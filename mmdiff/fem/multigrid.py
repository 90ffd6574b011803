"""One symmetric geometric multigrid V-cycle, a preconditioner for conjugate gradients.

Coarse levels are rediscretized: the modulus is averaged over 2^3 elements and the
element stiffness doubles with the edge. The smoother is the fourth-kind Chebyshev
iteration on the point-Jacobi-scaled operator with optimized weights (Lottes, Numer.
Linear Algebra Appl. 30 (2023) e2518), which needs an upper bound of the spectrum only;
`element` gives a rigorous one, so the cycle stays positive definite on every modulus
field. The coarsest grid is solved by a dense factorization.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import boundary, element, operator
from mmdiff.fem.operator import EXACT
from mmdiff.typing import Array, Float

COARSEST = 4  # elements per side of the densely solved grid, where n allows it
# Weights beta_i of the optimized fourth-kind Chebyshev smoother, by degree.
WEIGHTS = {
    1: (1.125,),
    2: (1.02387287570313, 1.26408905371085),
    3: (1.00842544782028, 1.08867839208730, 1.33753125909618),
    4: (1.00391310427285, 1.04035811188593, 1.14863498546254, 1.38268869241000),
}


class Level(NamedTuple):
    """One grid: its modulus and the inverse diagonal of its operator at the nodes."""

    modulus: Float[Array, "n n n"]
    inverse_diagonal: Float[Array, "m m m"]


class Hierarchy(NamedTuple):
    """Everything the cycle needs; depends on the modulus only."""

    levels: tuple[Level, ...]
    coarse_inverse: Float[Array, "l d d"]


def level_sizes(n: int) -> list[int]:
    """Return the elements per side of every level, finest first."""
    sizes = [n]
    while sizes[-1] % 2 == 0 and sizes[-1] > COARSEST:
        sizes.append(sizes[-1] // 2)
    return sizes


def coarsen(modulus: Float[Array, "n n n"]) -> Float[Array, "h h h"]:
    """Average over 2^3 elements and double, as the stiffness grows with the edge."""
    h = modulus.shape[0] // 2
    return 2 * modulus.reshape(h, 2, h, 2, h, 2).mean((1, 3, 5))


def prolong(u: Array, load_cases: boundary.Loads) -> Array:
    """Trilinear interpolation to the next finer grid along the last three axes."""
    u = boundary.extend(u, load_cases)
    for axis in range(u.ndim - 3, u.ndim):
        low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
        high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
        shape = list(low.shape)
        shape[axis] *= 2
        fine = jnp.stack([low, (low + high) / 2], axis + 1).reshape(shape)
        if not load_cases.periodic:
            last = lax.slice_in_dim(u, u.shape[axis] - 1, u.shape[axis], axis=axis)
            fine = jnp.concatenate([fine, last], axis)
        u = fine
    return u


def restrict(f: Array, load_cases: boundary.Loads) -> Array:
    """Transpose of `prolong`."""
    for axis in range(f.ndim - 3, f.ndim):
        size = f.shape[axis]
        even = lax.slice_in_dim(f, 0, size, 2, axis)
        odd = lax.slice_in_dim(f, 1, size, 2, axis) / 2
        widths = [(0, 0)] * f.ndim
        if load_cases.periodic:
            f = even + odd + jnp.roll(odd, 1, axis)
        else:
            widths[axis] = (0, 1)
            low = jnp.pad(odd, widths)
            widths[axis] = (1, 0)
            f = even + low + jnp.pad(odd, widths)
    return f


def _without_mean(f):
    return f - f.mean((-3, -2, -1), keepdims=True)


def make_apply(n: int, load_cases: boundary.Loads, nu: float, *, compact: bool):
    """Return K(modulus, u) with boundary conditions on an n^3 grid."""
    form = operator.apply_dense if compact else operator.apply_rows

    def apply(modulus, u):
        force = form(modulus, boundary.extend(u, load_cases), nu)
        mask = boundary.free_mask(load_cases, n, u.dtype)
        return boundary.fold(force, load_cases) * mask

    return apply


def make_multigrid(n: int, load_cases: boundary.Loads, nu: float, degree: int = 2):
    """Return `(setup, cycle)` of the preconditioner on an n^3 grid.

    `setup(modulus)` builds the `Hierarchy`; `cycle(hierarchy, residual)` returns the
    approximate solution of K x = residual, a symmetric positive definite linear map
    (for periodic cells: on forces of zero mean, which are all that occur).

    Args:
      n: elements per side.
      load_cases: symmetry and load cases.
      nu: Poisson's ratio of the base material.
      degree: Chebyshev degree of each of the two smoothing passes.
    """
    sizes = level_sizes(n)
    bound = element.spectrum_bound(nu)
    weights = np.array(WEIGHTS[degree])
    # A compact operator on the small grids halves the compile time.
    applies = [
        make_apply(m, load_cases, nu, compact=i > 0 and m <= 16)
        for i, m in enumerate(sizes)
    ]
    steps = np.arange(1, degree + 1)
    carry_over = (2 * steps - 3) / (2 * steps + 1)
    forcing = (8 * steps - 4) / (2 * steps + 1) / bound
    carry_over[0] = 0.0

    def setup(modulus):
        levels = []
        for i, _ in enumerate(sizes):
            if i:
                modulus = coarsen(modulus)
            diagonal = boundary.fold(operator.node_sum(modulus), load_cases)
            inverse = 1 / (diagonal * element.diagonal(nu))
            levels.append(Level(modulus, inverse))
        return Hierarchy(tuple(levels), _coarse_inverse(levels[-1], sizes[-1]))

    def _coarse_inverse(level, m):
        nodes = load_cases.nodes(m)
        mask = boundary.free_mask(load_cases, m, level.modulus.dtype)
        shape = (len(load_cases.voigt), 3, nodes, nodes, nodes)
        free = jnp.broadcast_to(mask, shape).reshape(shape[0], -1)
        matrix = _assemble(level.modulus, m)
        scale = jnp.sqrt(
            jnp.broadcast_to(level.inverse_diagonal, (3, *shape[2:])).ravel()
        )
        # Unit diagonal by scaling; the shift bounds the condition number (5e4 in
        # float32, 1e9 in float64) where rounding would not: rigid translations of
        # periodic cells, islands in void.
        shift = 30 * jnp.finfo(matrix.dtype).eps ** 0.5 * 1e-2
        scaled = matrix * scale[:, None] * scale[None]
        eye = jnp.eye(scaled.shape[0], dtype=matrix.dtype)

        def invert(free):
            fixed = eye * (1 - free[None])
            system = scaled * free[:, None] * free[None] + fixed + shift * eye
            factor = jnp.linalg.cholesky(system)
            half = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
            inverse = jnp.matmul(half.T, half, precision=EXACT)
            return inverse * (scale * free)[:, None] * (scale * free)[None]

        return jax.vmap(invert)(free)

    def _assemble(modulus, m):
        nodes = load_cases.nodes(m)
        index = np.arange(m)[:, None] + np.array([0, 1])
        index = index % nodes
        grid = np.arange(nodes**3).reshape(nodes, nodes, nodes)
        corner = grid[
            index[:, None, None, :, None, None],
            index[None, :, None, None, :, None],
            index[None, None, :, None, None, :],
        ].reshape(m**3, 8)
        dof = (np.arange(3)[:, None] * nodes**3 + corner[:, None, :]).reshape(-1, 24)
        size = 3 * nodes**3
        stiffness = jnp.asarray(element.stiffness(nu), modulus.dtype)
        values = modulus.reshape(-1, 1, 1) * stiffness[None]
        matrix = jnp.zeros((size, size), modulus.dtype)
        return matrix.at[dof[:, :, None], dof[:, None, :]].add(values)

    def smooth(level, apply, b, x):
        """Chebyshev iteration from x; returns the new x."""
        table = tuple(jnp.asarray(v, b.dtype) for v in (carry_over, forcing, weights))

        def body(i, state):
            x, z = state
            residual = b - apply(level.modulus, x)
            keep, force, weight = (v[i] for v in table)
            z = keep * z + force * level.inverse_diagonal[None, None] * residual
            return x + weight * z, z

        return lax.fori_loop(0, degree, body, (x, jnp.zeros_like(b)))[0]

    def smooth_from_zero(level, apply, b):
        """Chebyshev iteration from zero; returns x and its residual."""
        table = tuple(jnp.asarray(v, b.dtype) for v in (carry_over, forcing, weights))

        def body(i, state):
            x, z, residual = state
            keep, force, weight = (v[i] for v in table)
            z = keep * z + force * level.inverse_diagonal[None, None] * residual
            residual = residual - weight * apply(level.modulus, z)
            return x + weight * z, z, residual

        zero = jnp.zeros_like(b)
        x, _, residual = lax.fori_loop(0, degree, body, (zero, zero, b))
        return x, residual

    def descend(hierarchy, b, i):
        if i == len(sizes) - 1:
            flat = b.reshape(b.shape[0], -1)
            inverse = hierarchy.coarse_inverse
            x = jnp.einsum("lij,lj->li", inverse, flat, precision=EXACT)
            return x.reshape(b.shape)
        level, apply = hierarchy.levels[i], applies[i]
        mask_fine = boundary.free_mask(load_cases, sizes[i], b.dtype)
        mask_coarse = boundary.free_mask(load_cases, sizes[i + 1], b.dtype)
        x, residual = smooth_from_zero(level, apply, b)
        coarse = restrict(residual, load_cases) * mask_coarse
        coarse = descend(hierarchy, coarse, i + 1)
        x = x + prolong(coarse, load_cases) * mask_fine
        return smooth(level, apply, b, x)

    def cycle(hierarchy, b):
        if not load_cases.periodic:
            return descend(hierarchy, b, 0)
        # Rounding leaves a small mean force, which no periodic field can balance: the
        # coarsest solve would blow it up and float32 iterations diverge.
        return _without_mean(descend(hierarchy, _without_mean(b), 0))

    return setup, cycle
