"""Effective elastic tensor of a voxel cell, differentiable in its density.

The cell problem is solved for the fluctuation under each macro strain, and the tensor
follows from the energy form C_ij = (1/V) sum_e E_e x_i^T K0 x_j with x = macro +
fluctuation. The form is stationary in the fluctuations: its error is quadratic in the
residual, and with the fields held fixed its derivative is the exact sensitivity, so any
function of C gets its gradient without a second solve.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.elasticity import NU, cubic_to_voigt
from mmdiff.fem import boundary, element, multigrid, operator, solve
from mmdiff.symmetry import is_cubic
from mmdiff.typing import Array, Bool, Float, Int

VOID, PENAL, TOL, MAXITER = 1e-6, 3.0, 1e-5, 500


class Info(NamedTuple):
    """What a homogenization reports beside the tensor, one entry per load.

    Attributes:
      iterations: conjugate-gradient iterations.
      residual: final relative residual.
      converged: whether the tolerance was met.
      fields: fluctuation fields in voxel edges, for a warm start.
    """

    iterations: Int[Array, "l"]
    residual: Float[Array, "l"]
    converged: Bool[Array, "l"]
    fields: Float[Array, "l 3 m m m"]


def modulus(density, void: float = VOID, penal: float = PENAL):
    """Young's modulus E = void + density^penal (1 - void) (SIMP with a soft void)."""
    return void + density**penal * (1 - void)


def make_solver(n: int, symmetry: str = "cubic", *, nu: float = NU, degree: int = 2):
    """Return `solve_modulus(E, *, tol, maxiter, fields) -> (C, info)` for an n^3 grid.

    The jit-able heart of `make_homogenizer`: takes element moduli instead of densities.
    """
    load_cases = boundary.loads(symmetry)
    setup, cycle = multigrid.make_multigrid(n, load_cases, nu, degree)
    apply = multigrid.make_apply(n, load_cases, nu, compact=False)

    def solve_modulus(stiff, *, tol=TOL, maxiter=MAXITER, fields=None):
        frozen = lax.stop_gradient(stiff)
        mask = boundary.free_mask(load_cases, n, frozen.dtype)
        force = operator.macro_force(frozen, load_cases.strain, nu)
        b = -boundary.fold(force, load_cases) * mask
        if fields is None:
            fields = jnp.zeros_like(b)
        hierarchy = setup(frozen)
        rounding = jnp.finfo(b.dtype).eps * frozen.max() * n**1.5
        x, info = solve.pcg(
            functools.partial(apply, frozen),
            functools.partial(cycle, hierarchy),
            b,
            fields * mask,
            tol=tol,
            maxiter=maxiter,
            floor=jnp.full(b.shape[0], rounding),
        )
        x = lax.stop_gradient(x)
        tensor = _tensor(stiff, x, load_cases, nu)
        return tensor, Info(info.iterations, info.residual, info.converged, x)

    return solve_modulus


def _sum(values):
    """Return the sum over (n, n, n) values, accurate in float32.

    One long float32 loop loses up to four digits at 64^3, and XLA merges sums over
    single axes into one; the barriers keep each at n terms.
    """
    for _ in range(3):
        values = lax.optimization_barrier(values.sum(-1))
    return values


def _tensor(stiff, fields, load_cases, nu):
    """Return the 6x6 tensor by the energy form."""
    macro = element.macro_modes(load_cases.strain)
    fields = boundary.extend(fields, load_cases)
    strain = []
    for x, m in zip(fields, macro, strict=True):
        flat = [mode for c in range(3) for mode in operator.modes(x[c])]
        strain.append([f + float(v) for f, v in zip(flat, m, strict=True)])

    def energy(a, b):
        density = lax.stop_gradient(operator.element_energy(a, b, nu))
        return _sum(stiff * density) / stiff.size

    if load_cases.symmetry == "cubic":
        swapped = jnp.swapaxes(fields[0][jnp.array([1, 0, 2])], 1, 2)
        other = [mode for c in range(3) for mode in operator.modes(swapped[c])]
        m = element.macro_modes(np.eye(6)[1])[0]
        other = [f + float(v) for f, v in zip(other, m, strict=True)]
        constants = [
            energy(strain[0], strain[0]),
            energy(strain[0], other),
            energy(strain[1], strain[1]),
        ]
        return cubic_to_voigt(jnp.stack(constants))
    size = 6
    rows = [[None] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            shear = max(i, j) > 2 and i != j
            zero = load_cases.symmetry == "orthotropic" and shear
            value = jnp.zeros((), stiff.dtype) if zero else energy(strain[i], strain[j])
            rows[i][j] = rows[j][i] = value
    return jnp.stack([jnp.stack(row) for row in rows])


def make_homogenizer(
    n: int,
    *,
    symmetry: str = "cubic",
    void: float = VOID,
    penal: float = PENAL,
    nu: float = NU,
    tol: float = TOL,
    maxiter: int = MAXITER,
):
    """Return the jit-able `density, fields=None -> (C, info)` for one grid size.

    Args:
      n: elements per side of the octant (cubic, orthotropic) or cell (periodic).
      symmetry: "cubic", "orthotropic" or "periodic".
      void: modulus of void as a fraction of solid, > 0.
      penal: exponent of the density in the modulus; any value serves binary cells.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.

    Returns:
      a pure function; its C is the 6x6 tensor for E = 1, and C is differentiable in the
      density to first order.

    Raises:
      ValueError: if n is not a multiple of 4 or below 8, with the next good size.
    """
    if n < 8 or n % 4:
        good = max(8, -(-n // 4) * 4)
        raise ValueError(
            f"a grid of {n} elements per side is not supported; the edge must be a "
            f"multiple of 4 and at least 8. Resample to {good}."
        )
    solve_modulus = make_solver(n, symmetry, nu=nu)

    def homogenizer(density: Float[Array, "n n n"], fields=None):
        stiff = modulus(density, void, penal)
        return solve_modulus(stiff, tol=tol, maxiter=maxiter, fields=fields)

    return homogenizer


@functools.lru_cache(maxsize=16)
def _compiled(n, symmetry, void, penal, nu, tol, maxiter):
    return jax.jit(
        make_homogenizer(
            n,
            symmetry=symmetry,
            void=void,
            penal=penal,
            nu=nu,
            tol=tol,
            maxiter=maxiter,
        )
    )


def homogenize(
    density: Float[Array, "n n n"],
    *,
    symmetry: str = "cubic",
    void: float = VOID,
    penal: float = PENAL,
    nu: float = NU,
    tol: float = TOL,
    maxiter: int = MAXITER,
    fields: Array | None = None,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of one cell.

    Args:
      density: (n, n, n) in [0, 1]: an octant for "cubic" and "orthotropic", the full
        cell for "periodic". float32 or float64 (with JAX's x64 mode on).
      symmetry: "cubic", "orthotropic" or "periodic".
      void: modulus of void as a fraction of solid.
      penal: exponent of the density.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      fields: fields of a similar design, for a warm start.

    Returns:
      C, the 6x6 Voigt tensor for E = 1 (engineering shear), and `Info`.

    Raises:
      ValueError: for a wrong shape, or an octant without cubic symmetry.
    """
    if density.ndim != 3 or len(set(density.shape)) != 1:
        raise ValueError(
            f"density has shape {tuple(density.shape)}; a cubic grid needs three equal "
            "edges."
        )
    concrete = not isinstance(density, jax.core.Tracer)
    if symmetry == "cubic" and concrete and not is_cubic(density):
        raise ValueError(
            "the octant is not symmetric under permutations of its axes; use "
            'symmetry="orthotropic".'
        )
    density = jnp.asarray(density)
    if not jnp.issubdtype(density.dtype, jnp.floating):
        density = density.astype(jnp.float32)
    run = _compiled(density.shape[0], symmetry, void, penal, nu, tol, maxiter)
    return run(density, fields)
