"""Effective elastic tensor of a voxel cell, differentiable in its density.

The cell problem is solved for the fluctuation under each macro strain, and the tensor
follows from the energy form C_ij = (1/V) sum_e E_e x_i^T K0 x_j with x = macro +
fluctuation. The form is stationary in the fluctuations: its error is quadratic in the
residual, and dC_ij = (1/V) sum_e dE_e x_i^T K0 x_j is its exact derivative, forward and
reverse, without a second solve. Derivatives of that one, and so on, go through the
fields by `implicit`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import is_cubic
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.errors import InputError
from mmdiff.fem import boundary
from mmdiff.fem.device import map_batch
from mmdiff.fem.fields import pair_energies
from mmdiff.fem.implicit import make_displacement
from mmdiff.fem.solve import no_tangent
from mmdiff.programs import keep_namedtuple, kept
from mmdiff.typing import AnyArray, Array, Bool, Float, Int, Scalar, Shaped

VOID, PENAL, TOL, MAXITER = 1e-6, 3.0, 1e-5, 500
# Densities may exceed [0, 1] by this much.
ROUNDING = 1e-6


@keep_namedtuple
class Info(NamedTuple):
    """What a homogenization reports beside the tensor, one entry per load.

    Nothing in it is differentiated; see `implicit.make_displacement` for that.

    Attributes:
      iterations: conjugate-gradient iterations.
      residual: |b - K x| / |b| of the returned fields, computed anew at the end.
      converged: whether it meets the tolerance or the tensor has settled, or the
        rounding of the fields in float32 leaves nothing to gain; see `solve.verified`.
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


@keep_namedtuple
class Numbers(NamedTuple):
    """What may change without another compilation.

    Attributes:
      void: modulus of void as a fraction of solid.
      penal: exponent of the density.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      gain: a solve also ends with a step that changes its C_ii by a smaller share; 0
        for the residual alone. Errors are of that order, in soft cells, too, whose
        residuals say little.
    """

    void: Scalar = VOID
    penal: Scalar = PENAL
    tol: Scalar = TOL
    maxiter: Scalar = MAXITER
    gain: Scalar = 0.0


def modulus(
    density: Float[AnyArray, "..."], void: Scalar = VOID, penal: Scalar = PENAL
) -> Float[AnyArray, "..."]:
    """Young's modulus E = void + density^penal (1 - void) (SIMP with a soft void)."""
    return void + density**penal * (1 - void)


def make_solver(n: int, symmetry: str = "cubic", *, nu: float = NU) -> Callable:
    """Return `solve_modulus(E, *, tol, maxiter, fields, void, gain) -> (C, info)`.

    It takes element moduli (n, n, n) instead of densities; `void`, the modulus of void,
    serves `Info.singular` only.
    """
    load_cases = boundary.loads(symmetry)
    pairs, place = boundary.load_pairs(load_cases)
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

    def evaluate(stiff, fields, void, tol, maxiter, gain):
        limits = {"tol": tol, "maxiter": maxiter, "gain": gain}
        x, solved = displacement(stiff, fields=fields, **limits)
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

    def solve_modulus(
        stiff, *, tol=TOL, maxiter=MAXITER, fields=None, void=0.0, gain=0.0
    ):
        return run(stiff, fields, void, tol, maxiter, gain)

    return solve_modulus


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
) -> Callable:
    """Return the pure `density, fields=None -> (C, info)` for one grid size.

    For `jit`, `vmap` and `grad`; for a single tensor `homogenize` is shorter. With
    "cubic" and "orthotropic" densities are octants [0, 1/2]^3 of mirror-symmetric
    cells, with "periodic" whole cells; see `homogenize`.

    Args:
      n: elements per side of the octant (cubic, orthotropic) or cell (periodic).
      symmetry: "cubic", "orthotropic" or "periodic".
      void: modulus of void as a fraction of solid, in (0, 1].
      penal: exponent of the density in the modulus; any value serves binary cells.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.

    Returns:
      a function of densities (n, n, n). Its C is the 6x6 tensor for E = 1, and is
      differentiable in the density, forward and reverse, to any order. Its `fields` are
      `Info.fields` of a similar design, for a warm start.

    Raises:
      InputError: if n is not a multiple of 4 or below 8, with the next good size; for
        an unknown symmetry.

    Example:
      The bulk modulus of an octant at half density, and what each voxel adds to it:

      >>> import jax
      >>> homogenizer = mm.make_homogenizer(8)
      >>> def bulk(density):
      ...     C, info = homogenizer(density)
      ...     return C[:3, :3].sum() / 9
      >>> value, slope = jax.jit(jax.value_and_grad(bulk))(np.full((8, 8, 8), 0.5, "f"))
      >>> slope.shape
      (8, 8, 8)
      >>> bool(np.isclose((slope * 0.5).sum(), 3 * value, rtol=1e-4))
      True
    """
    run = _make_run(n, symmetry, nu)

    numbers = Numbers(void, penal, tol, maxiter)

    def homogenizer(density: Float[AnyArray, "n n n"], fields=None):
        return run(density, fields, numbers)

    return homogenizer


def _make_run(n, symmetry, nu):
    check_edge(n)
    solve_modulus = make_solver(n, symmetry, nu=nu)

    def run(density, fields, numbers):
        void, penal, tol, maxiter, gain = numbers
        stiff = modulus(density, void, penal)
        limits = {"tol": tol, "maxiter": maxiter, "gain": gain}
        return solve_modulus(stiff, fields=fields, void=void, **limits)

    return run


@functools.lru_cache(maxsize=8)
def batched_homogenizer(
    n: int,
    *,
    void: float = VOID,
    nu: float = NU,
    tol: float = TOL,
    maxiter: int = MAXITER,
) -> Callable:
    """Return the jitted `octants (b, n, n, n) -> (constants, residual, converged)`.

    Constants C11, C12, C44 are (b, 3); residual and flag (b,) are those of the worst
    load. How a batch is walked depends on the device, see `device.each`.
    """
    run = make_homogenizer(n, void=void, nu=nu, tol=tol, maxiter=maxiter)

    def constants(density):
        tensor, info = run(density)
        return voigt_to_cubic(tensor), info.residual.max(), info.converged.all()

    return map_batch(constants)


@functools.lru_cache(maxsize=16)
def compiled(n: int, symmetry: str, nu: float) -> Callable:
    """Return the one jitted program behind `homogenize` for a grid and a material."""
    return kept(_make_run(n, symmetry, nu), n, symmetry, nu)


def homogenize(
    density: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "cubic",
    void: Scalar = VOID,
    penal: Scalar = PENAL,
    nu: float = NU,
    tol: Scalar = TOL,
    maxiter: Scalar = MAXITER,
    fields: Float[AnyArray, "l 3 m m m"] | None = None,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of one cell.

    With "cubic" and "orthotropic" the array is one octant [0, 1/2]^3 of a cell whose
    mirror planes lie at 0 and 1/2 of its edge; the whole mirror-symmetric cell, solved
    as "periodic", gives the same tensor at eight times the cost or more. With
    "periodic" the array is the whole cell, which needs no symmetry.

    Compiles once per grid size, symmetry, `nu` and precision; nothing else starts a
    compilation. Differentiable in the density, see `make_homogenizer`; values are
    checked where they are known, that is outside of transformations of JAX.

    Args:
      density: (n, n, n) in [0, 1], n a multiple of 4 and at least 8. float64 is kept in
        JAX's x64 mode; without it, and for all other types, the computation is in
        float32, as everywhere in JAX.
      symmetry: "cubic" (mirrors, and equal axes), "orthotropic" (mirrors) or
        "periodic".
      void: modulus of void as a fraction of solid, in (0, 1].
      penal: exponent of the density.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      fields: `Info.fields` of a similar design, for a warm start.

    Returns:
      C, the 6x6 tensor for E = 1 in Voigt order 11 22 33 23 13 12 (engineering shear),
      and `Info`.

    Raises:
      InputError: for a wrong shape, values outside [0, 1], an unknown symmetry, an
        octant without cubic symmetry, `void` outside (0, 1], or fields of another grid.

    Example:
      A frame of square struts along the edges of the cell, three of eight voxels thick
      in the octant:

      >>> thin = np.arange(8) < 3
      >>> x, y, z = thin[:, None, None], thin[:, None], thin
      >>> octant = (x & y) | (y & z) | (z & x)
      >>> C, info = mm.homogenize(octant, symmetry="cubic")
      >>> bool(info.converged.all())
      True
      >>> [round(float(c), 3) for c in (C[0, 0], C[0, 1], C[3, 3])]
      [0.166, 0.021, 0.017]
    """
    numbers = Numbers(void, penal, tol, maxiter)
    return homogenize_to(numbers, density, symmetry=symmetry, nu=nu, fields=fields)


def homogenize_to(
    numbers: Numbers,
    density: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "cubic",
    nu: float = NU,
    fields: Float[AnyArray, "l 3 m m m"] | None = None,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of one cell; see `homogenize` and `Numbers`."""
    load_cases = boundary.loads(symmetry)
    if not hasattr(density, "shape"):
        density = np.asarray(density)
    check_shape(density.shape)
    n = density.shape[0]
    shape = load_cases.field_shape(n)
    if fields is not None and fields.shape != shape:
        raise InputError(
            f"fields have shape {fields.shape}; a {symmetry} solve on {n}^3 elements "
            f"needs {shape}. Pass Info.fields of a solve of the same kind."
        )
    _check_values(density, symmetry, numbers.void)
    density = jnp.asarray(density)
    if density.dtype != jnp.float64:
        density = density.astype(jnp.float32)
    dtype = density.dtype
    fields = jnp.zeros(shape, dtype) if fields is None else jnp.asarray(fields, dtype)
    kinds = Numbers(dtype, dtype, dtype, jnp.int32, dtype)
    numbers = Numbers(*map(jnp.asarray, numbers, kinds))
    return compiled(n, symmetry, nu)(density, fields, numbers)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise InputError unless a grid has three equal edges that the solver takes."""
    if len(shape) != 3 or len(set(shape)) != 1:
        raise InputError(
            f"density has shape {tuple(shape)}; a cubic grid needs three equal edges."
        )
    check_edge(shape[0])


def check_edge(n: int) -> None:
    """Raise InputError unless n is a multiple of 4 and at least 8."""
    if n < 8 or n % 4:
        good = max(8, -(-n // 4) * 4)
        raise InputError(
            f"a grid of {n} elements per side is not supported; the edge must be a "
            f"multiple of 4 and at least 8. Resample to {good}: pass `resize={good}` "
            "to mmdiff.cells.prepare.prepare (twice that for a file of the whole cell "
            "that is solved on its octant)."
        )


def _check_values(density, symmetry, void):
    if not isinstance(void, jax.core.Tracer) and not 0 < void <= 1:
        raise InputError(
            f"void={void:g} must lie in (0, 1]: without any stiffness of void the "
            "displacements there are undetermined."
        )
    if isinstance(density, jax.core.Tracer):
        return
    low, high = float(density.min()), float(density.max())
    # Rounding of a filter is no mistake.
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:
        raise InputError(
            "density holds NaN; it must lie in [0, 1]."
            if np.isnan(low)
            else f"density holds values from {low:g} to {high:g}; it must lie in "
            "[0, 1]. For a 0/255 mask divide by 255."
        )
    if symmetry == "cubic" and not is_cubic(density):
        raise InputError(
            "the octant is not symmetric under permutations of its axes; use "
            'symmetry="orthotropic".'
        )
