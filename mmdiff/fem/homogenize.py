"""Effective elastic tensor of a voxel cell, differentiable in its density.

The cell problem is solved for the fluctuation under each macro strain, and the tensor
follows from the energy form C_ij = (1/V) sum_e E_e x_i^T K0 x_j with x = macro +
fluctuation. The form is stationary in the fluctuations: its error is quadratic in the
residual, and dC_ij = (1/V) sum_e dE_e x_i^T K0 x_j is its exact derivative, forward and
reverse, without a second solve. Derivatives of that one, and so on, go through the
fields by `implicit`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import is_cubic
from mmdiff.elasticity import NU
from mmdiff.fem import boundary
from mmdiff.fem.energy import pair_energies
from mmdiff.fem.implicit import field_shape, make_displacement, no_tangent
from mmdiff.typing import Array, Bool, Float, Int

VOID, PENAL, TOL, MAXITER = 1e-6, 3.0, 1e-5, 500
# Densities may exceed [0, 1] by this much.
ROUNDING = 1e-6


class Info(NamedTuple):
    """What a homogenization reports beside the tensor, one entry per load.

    Nothing in it is differentiated; see `implicit.make_displacement` for that.

    Attributes:
      iterations: conjugate-gradient iterations.
      residual: |b - K x| / |b| of the returned fields, computed anew at the end.
      converged: whether it meets the tolerance, or the rounding of the fields in
        float32 leaves nothing to gain; see `solve.verified`.
      singular: whether more than half of the stiffness C_ii of the load i is owed to
        the void (d log C_ii / d log void > 1/2): the solid has no path for the load,
        and C_ii is of the order of the void's stiffness. A cell of void is singular
        throughout, one of solid nowhere.
      fields: fluctuation fields in voxel edges, for a warm start.
    """

    iterations: Int[Array, "l"]
    residual: Float[Array, "l"]
    converged: Bool[Array, "l"]
    singular: Bool[Array, "l"]
    fields: Float[Array, "l 3 m m m"]


def modulus(density, void: float = VOID, penal: float = PENAL):
    """Young's modulus E = void + density^penal (1 - void) (SIMP with a soft void)."""
    return void + density**penal * (1 - void)


def make_solver(n: int, symmetry: str = "cubic", *, nu: float = NU):
    """Return `solve_modulus(E, *, tol, maxiter, fields, void) -> (C, info)`.

    The jit-able heart of `make_homogenizer`: takes element moduli (n, n, n) instead of
    densities. `void`, the modulus of void, serves `Info.singular` only.
    """
    load_cases = boundary.loads(symmetry)
    pairs, place = _layout(load_cases)
    displacement = make_displacement(n, symmetry, nu=nu)

    def energies(fields):
        strain = load_cases.strain
        fields = boundary.extend(fields, load_cases)
        if symmetry == "cubic":  # load 22 is load 11 with x and y exchanged
            swapped = jnp.swapaxes(fields[0][jnp.array([1, 0, 2])], 1, 2)
            fields = jnp.concatenate([fields, swapped[None]])
            strain = np.concatenate([strain, np.eye(6)[1:2]])
        return pair_energies(fields, strain, pairs, nu)

    def tensor(stiff, energy):
        constants = _mean(stiff[None] * energy)
        return jnp.append(constants, jnp.zeros(1, stiff.dtype))[place]

    def evaluate(stiff, fields, void, tol, maxiter):
        x, solved = displacement(stiff, tol=tol, maxiter=maxiter, fields=fields)
        energy = energies(x)
        value = tensor(stiff, energy)
        of_void = void * tensor(jnp.ones_like(stiff), energy)
        load = np.array(load_cases.voigt)
        singular = (of_void > value / 2)[load, load]
        return value, lax.stop_gradient(Info(*solved, singular, x)), energy

    @jax.custom_jvp
    def run(*args):
        return evaluate(*args)[:2]

    @run.defjvp
    def derivative(primals, tangents):
        value, info, energy = evaluate(*primals)
        slope = tensor(tangents[0], energy)
        return (value, info), (slope, jax.tree.map(no_tangent, info))

    def solve_modulus(stiff, *, tol=TOL, maxiter=MAXITER, fields=None, void=0.0):
        return run(stiff, fields, void, tol, maxiter)

    return solve_modulus


def _layout(load_cases):
    """Return the pairs of loads to combine and, by pair number, where they stand in C.

    The number of pairs marks the entries that are zero.
    """
    if load_cases.symmetry == "cubic":  # load 2 is the exchanged one
        pairs = ((0, 0), (0, 2), (1, 1))
        place = np.full((6, 6), 3, np.int32)
        place[:3, :3] = 1
        np.fill_diagonal(place, (0, 0, 0, 2, 2, 2))
        return pairs, place
    pairs = tuple(
        (i, j)
        for i in range(6)
        for j in range(i + 1)
        if load_cases.periodic or i == j or max(i, j) < 3
    )
    place = np.full((6, 6), len(pairs), np.int32)
    for number, (i, j) in enumerate(pairs):
        place[i, j] = place[j, i] = number
    return pairs, place


def _mean(values):
    """Return the mean over the last three axes, accurate in float32.

    One long float32 loop loses up to four digits at 64^3, and XLA merges sums over
    single axes into one; the barriers keep each at n terms.
    """
    size = values[0].size
    for _ in range(3):
        values = lax.optimization_barrier(values.sum(-1))
    return values / size


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
      void: modulus of void as a fraction of solid, in (0, 1].
      penal: exponent of the density in the modulus; any value serves binary cells.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.

    Returns:
      a pure function of densities (n, n, n); its C is the 6x6 tensor for E = 1, and C
      is differentiable in the density, forward and reverse, to any order. Its `fields`
      are those of a similar design, for a warm start.

    Raises:
      ValueError: if n is not a multiple of 4 or below 8, with the next good size; for
        an unknown symmetry.
    """
    run = _make_run(n, symmetry, nu)

    def homogenizer(density: Float[Array, "n n n"], fields=None):
        return run(density, fields, void, penal, tol, maxiter)

    return homogenizer


def _make_run(n, symmetry, nu):
    check_edge(n)
    solve_modulus = make_solver(n, symmetry, nu=nu)

    def run(density, fields, void, penal, tol, maxiter):
        stiff = modulus(density, void, penal)
        return solve_modulus(stiff, tol=tol, maxiter=maxiter, fields=fields, void=void)

    return run


@functools.lru_cache(maxsize=16)
def compiled(n: int, symmetry: str, nu: float):
    """Return the one jitted program behind `homogenize` for a grid and a material.

    Everything else is an argument of it: density, fields, void, penal, tol, maxiter.
    """
    return jax.jit(_make_run(n, symmetry, nu))


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

    Compiles once per grid size, symmetry, `nu` and precision; nothing else starts a
    compilation. Differentiable in the density, see `make_homogenizer`; values are
    checked where they are known, that is outside of transformations of JAX.

    Args:
      density: (n, n, n) in [0, 1]: an octant for "cubic" and "orthotropic", the full
        cell for "periodic". float64 is kept in JAX's x64 mode; without it, and for all
        other types, the computation is in float32, as everywhere in JAX.
      symmetry: "cubic", "orthotropic" or "periodic".
      void: modulus of void as a fraction of solid, in (0, 1].
      penal: exponent of the density.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      fields: `Info.fields` of a similar design, for a warm start.

    Returns:
      C, the 6x6 Voigt tensor for E = 1 (engineering shear), and `Info`.

    Raises:
      ValueError: for a wrong shape, values outside [0, 1], an unknown symmetry, an
        octant without cubic symmetry, `void` outside (0, 1], or fields of another grid.
    """
    load_cases = boundary.loads(symmetry)
    if not hasattr(density, "shape"):
        density = np.asarray(density)
    check_shape(density.shape)
    n = density.shape[0]
    shape = field_shape(load_cases, n)
    if fields is not None and fields.shape != shape:
        raise ValueError(
            f"fields have shape {fields.shape}; a {symmetry} solve on {n}^3 elements "
            f"needs {shape}. Pass Info.fields of a solve of the same kind."
        )
    _check_values(density, symmetry, void)
    density = jnp.asarray(density)
    if density.dtype != jnp.float64:
        density = density.astype(jnp.float32)
    dtype = density.dtype
    fields = jnp.zeros(shape, dtype) if fields is None else jnp.asarray(fields, dtype)
    scalars = (jnp.asarray(value, dtype) for value in (void, penal, tol))
    run = compiled(n, symmetry, nu)
    return run(density, fields, *scalars, jnp.asarray(maxiter, jnp.int32))


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a grid has three equal edges that the solver takes."""
    if len(shape) != 3 or len(set(shape)) != 1:
        raise ValueError(
            f"density has shape {tuple(shape)}; a cubic grid needs three equal edges."
        )
    check_edge(shape[0])


def check_edge(n: int) -> None:
    """Raise ValueError unless n is a multiple of 4 and at least 8."""
    if n < 8 or n % 4:
        good = max(8, -(-n // 4) * 4)
        raise ValueError(
            f"a grid of {n} elements per side is not supported; the edge must be a "
            f"multiple of 4 and at least 8. Resample to {good}: resize={good} of "
            f"mmdiff.cells.prepare.prepare, on the command line --config.resize={good} "
            "(twice that for a file of the whole cell that is solved on its octant)."
        )


def _check_values(density, symmetry, void):
    if not isinstance(void, jax.core.Tracer) and not 0 < void <= 1:
        raise ValueError(
            f"void={void:g} must lie in (0, 1]: without any stiffness of void the "
            "displacements there are undetermined."
        )
    if isinstance(density, jax.core.Tracer):
        return
    low, high = float(density.min()), float(density.max())
    # Rounding of a filter is no mistake.
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:
        raise ValueError(
            "density holds NaN; it must lie in [0, 1]."
            if np.isnan(low)
            else f"density holds values from {low:g} to {high:g}; it must lie in "
            "[0, 1]. For a 0/255 mask divide by 255."
        )
    if symmetry == "cubic" and not is_cubic(density):
        raise ValueError(
            "the octant is not symmetric under permutations of its axes; use "
            'symmetry="orthotropic".'
        )
