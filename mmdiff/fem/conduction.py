"""Effective conductivity of a voxel cell: thermal, electrical, diffusion, permittivity.

The solver of the elastic problem serves: in place of the three components of a
displacement stand three temperatures, those under unit gradients along x, y and z, so
that one solve gives the whole tensor. The energy form, k_ij = sum_e k_e g_i^T L g_j / V
with g = macro + fluctuation, is stationary, as that of `tensor` is.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.errors import InputError
from mmdiff.fem import boundary, element
from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import UNIT, Brick, Edges
from mmdiff.fem.fields import total_modes
from mmdiff.fem.homogenize import check_shape, floating
from mmdiff.fem.implicit import make_displacement, to_shape
from mmdiff.fem.solve import SolveInfo
from mmdiff.fem.tensor import MAXITER, TOL, differentiable, mean
from mmdiff.programs import kept
from mmdiff.typing import AnyArray, Array, Float, Scalar, Shaped


@dataclass(frozen=True)
class Gradients(boundary.Loads):
    """Unit gradients along x, y and z, of a temperature each, as one load."""

    voigt: tuple[int, ...] = (0,)  # each vanishes where normal displacements do

    @property
    def strain(self) -> Float[np.ndarray, "l 6"]:
        """The displacement x + fluctuation has the strain of a uniform expansion."""
        return np.array([[1.0, 1, 1, 0, 0, 0]])


def make_conductor(
    grid: int | Sequence[int], symmetry: str = "cubic", *, edges: Edges = UNIT
) -> Callable:
    """Return `solve(k, *, tol, maxiter, fields) -> (tensor, info)`.

    It takes element conductivities (nx, ny, nz) of an octant, cell or window, see
    `homogenize.homogenize`, and returns the tensor (3, 3) and `SolveInfo`.
    Differentiable in the conductivities.
    """
    shape, cases = to_shape(grid), Gradients(boundary.loads(symmetry).symmetry)
    brick = Brick("conductor", 0.0, edges)
    temperatures = make_displacement(shape, cases, brick=brick)
    macro = element.macro_modes(cases.strain, edges)[0]
    octant = symmetry in boundary.OCTANTS

    def energies(fields):
        """Return g_i^T L g_j (3, 3, nx, ny, nz) of every element, per volume."""
        known = jnp.asarray(macro, fields.dtype)
        modes = total_modes(boundary.extend(fields, cases)[0], known)
        there = modes
        if symmetry == "mixed":  # mean fluxes, see `tensor`
            there = [
                jnp.full_like(mode, m) for mode, m in zip(modes, known, strict=True)
            ]
        own = [modes[8 * i : 8 * i + 8] for i in range(3)]
        other = [there[8 * i : 8 * i + 8] for i in range(3)]
        pairs = [[_energy(x, y, brick) for y in other] for x in own]
        parts = jnp.stack([jnp.stack(row) for row in pairs]) / brick.volume
        both = (parts + jnp.swapaxes(parts, 0, 1)) / 2
        # Under a mirror one of two temperatures is odd, and so is their product.
        return both * jnp.eye(3)[:, :, None, None, None] if octant else both

    def evaluate(stiff, fields, tol, maxiter):
        x, info = temperatures(stiff[None], tol=tol, maxiter=maxiter, fields=fields)
        energy = energies(x)
        return contract(stiff, energy), lax.stop_gradient(info), energy

    def contract(stiff, energy):
        return mean(stiff[None, None] * energy)

    chosen = differentiable(evaluate, contract, symmetry)

    def solve(stiff, *, tol=TOL, maxiter=MAXITER, fields=None):
        if fields is None:
            fields = jnp.zeros(cases.field_shape(shape), stiff.dtype)
        return chosen(stiff, fields, tol, maxiter)

    return solve


def _energy(x, y, brick):
    """Return x^T L y of every element from the 8 modes of two temperatures."""
    rows = bricks.mode_rows(brick)[:8]
    return sum(
        a * sum(v * y[j] for j, v in row[0])
        for a, row in zip(x, rows, strict=True)
        if row[0]
    )


@functools.lru_cache(maxsize=8)
def _program(shape, symmetry, edges):
    solve = make_conductor(shape, symmetry, edges=edges)

    def run(stiff, fields, tol, maxiter):
        return solve(stiff, tol=tol, maxiter=maxiter, fields=fields)

    return kept(run, shape, symmetry, edges)


def conductivity(
    values: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "periodic",
    tol: Scalar = TOL,
    maxiter: Scalar = MAXITER,
    edges: Edges = UNIT,
) -> tuple[Float[Array, "3 3"], SolveInfo]:
    """Return the effective conductivity of a cell or window, in the unit of `values`.

    Args:
      values: conductivity of every voxel (nx, ny, nz), positive.
      symmetry: as for `mmdiff.homogenize`.
      tol: relative residual of the solve.
      maxiter: most conjugate-gradient iterations.
      edges: of a voxel along x, y and z; their ratios count.

    Raises:
      InputError: for a wrong shape, and for conductivities that are not positive.

    Example:
      Layers conduct along them as their mean, and across as their harmonic mean:

      >>> values = np.ones((4, 4, 4), "f")
      >>> values[:2] = 3
      >>> k, info = mm.conductivity(values)
      >>> print([round(float(k[i, i]), 4) for i in range(3)])
      [1.5, 2.0, 2.0]
    """
    values = values if hasattr(values, "shape") else np.asarray(values)
    shape, edges = tuple(values.shape), tuple(map(float, edges))
    check_shape(shape, symmetry, edges)
    if not isinstance(values, jax.core.Tracer):
        low, high = float(values.min()), float(values.max())
        if not 0 < low <= high < np.inf:
            raise InputError(
                f"conductivity has values from {low:g} to {high:g}; it must be "
                "positive. Give void a small one, 1e-6 of the solid."
            )
    values = floating(values)
    scale, kind = lax.stop_gradient(values.max()), values.dtype
    cases = Gradients(symmetry)
    fields = jnp.zeros(cases.field_shape(shape), kind)
    numbers = jnp.asarray(tol, kind), jnp.asarray(maxiter, jnp.int32)
    tensor, info = _program(shape, symmetry, edges)(values / scale, fields, *numbers)
    return scale * tensor, info
