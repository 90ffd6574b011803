"""Effective elastic tensor of a voxel cell, differentiable in its density.

Voxels are elements of Young's modulus E = void + density^penal (1 - void); how their
tensor is found is told in `tensor`, and `phases` has that of labelled voxels.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.symmetry import is_cubic
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.errors import InputError
from mmdiff.fem import boundary
from mmdiff.fem.brick import UNIT, Edges
from mmdiff.fem.device import map_batch
from mmdiff.fem.implicit import to_shape
from mmdiff.fem.stencil import Shape
from mmdiff.fem.tensor import MAXITER, TOL, Info, make_solver
from mmdiff.programs import keep_namedtuple, kept
from mmdiff.typing import AnyArray, Array, Float, Scalar, Shaped

VOID, PENAL = 1e-6, 3.0
# Densities may exceed [0, 1] by this much.
ROUNDING = 1e-6
LEAST = 4  # voxels along an axis


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


def make_homogenizer(
    grid: int | Sequence[int],
    *,
    symmetry: str = "cubic",
    nu: float = NU,
    edges: Edges = UNIT,
    **numbers,
) -> Callable:
    """Return the pure `density, fields=None -> (C, info)` for one grid size.

    For `jit`, `vmap` and `grad`; for a single tensor `homogenize` is shorter. With
    "cubic" and "orthotropic" densities are octants [0, 1/2]^3 of mirror-symmetric
    cells, with "periodic" whole cells; see `homogenize`.

    Args:
      grid: elements along x, y and z of the octant (cubic, orthotropic), cell or window
        (others), or one number for all three.
      symmetry: "cubic", "orthotropic", "periodic", "kinematic" or "mixed".
      nu: Poisson's ratio of the base material.
      edges: of a voxel along x, y and z; their ratios count.
      **numbers: void, penal, tol and maxiter as for `homogenize`.

    Returns:
      a function of densities (nx, ny, nz). Its C is the 6x6 tensor for E = 1, and is
      differentiable in the density, forward and reverse, to any order. Its `fields` are
      `Info.fields` of a similar design, for a warm start.

    Raises:
      InputError: for fewer than four elements along an axis; for "cubic" with edges
        that are not equal; for an unknown symmetry.

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
    shape = to_shape(grid)
    check_shape(shape, symmetry, edges)
    run = _make_run(shape, symmetry, nu, edges)
    limits = Numbers(**numbers)

    def homogenizer(density: Float[AnyArray, "nx ny nz"], fields=None):
        return run(density, fields, limits)

    return homogenizer


def _make_run(shape, symmetry, nu, edges):
    solve_modulus = make_solver(shape, symmetry, nu=nu, edges=edges)

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
def compiled(shape: Shape, symmetry: str, nu: float, edges: Edges = UNIT) -> Callable:
    """Return the one jitted program behind `homogenize` for a grid and a material."""
    run = _make_run(shape, symmetry, nu, edges)
    return kept(run, shape, symmetry, nu, edges)


def homogenize(
    density: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "cubic",
    nu: float = NU,
    edges: Edges = UNIT,
    fields: Float[AnyArray, "l 3 X Y Z"] | None = None,
    **numbers,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of one cell or window, of any three edges.

    With "cubic" and "orthotropic" the array is one octant of a cell whose mirror planes
    lie at 0 and 1/2 of its edges; the whole mirror-symmetric cell, solved as
    "periodic", gives the same tensor at eight times the cost or more. With "periodic"
    the array is the whole cell, which needs no symmetry. Windows of a material that is
    not periodic take "kinematic" (displacements of the uniform strain on all faces: an
    upper bound), "mixed" (normal displacements and no tangential forces under normal
    strains, and so on: closer) or "orthotropic" (continued by mirror images).

    Compiles once per grid, symmetry, `nu` and precision; nothing else starts a
    compilation. Differentiable in the density, see `make_homogenizer`; values are
    checked where they are known, that is outside of transformations of JAX.

    Args:
      density: (nx, ny, nz) in [0, 1], four voxels or more along each axis. float64 is
        kept in JAX's x64 mode; without it, and for all other types, the computation is
        in float32, as everywhere in JAX.
      symmetry: "cubic" (mirrors, and equal axes), "orthotropic" (mirrors), "periodic",
        "kinematic" or "mixed".
      nu: Poisson's ratio of the base material.
      edges: of a voxel along x, y and z; their ratios count.
      fields: `Info.fields` of a similar design, for a warm start.
      **numbers: `void`, modulus of void as a fraction of solid, in (0, 1]; `penal`,
        exponent of the density, which is of no matter to binary cells; `tol`, relative
        residual of the solves; `maxiter`, most conjugate-gradient iterations.

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
    options = {"symmetry": symmetry, "nu": nu, "edges": edges}
    return homogenize_to(Numbers(**numbers), density, fields=fields, **options)


def homogenize_to(
    numbers: Numbers,
    density: Shaped[AnyArray, "..."] | Sequence,
    *,
    symmetry: str = "cubic",
    nu: float = NU,
    edges: Edges = UNIT,
    fields: Float[AnyArray, "l 3 X Y Z"] | None = None,
) -> tuple[Float[Array, "6 6"], Info]:
    """Return the effective tensor of one cell; see `homogenize` and `Numbers`."""
    if not hasattr(density, "shape"):
        density = np.asarray(density)
    shape, edges = tuple(density.shape), tuple(map(float, edges))
    check_shape(shape, symmetry, edges)
    _check_values(density, symmetry, numbers.void)
    density = floating(density)
    kind = density.dtype
    fields = start(fields, shape, symmetry, kind)
    kinds = Numbers(kind, kind, kind, jnp.int32, kind)
    numbers = Numbers(*map(jnp.asarray, numbers, kinds))
    return compiled(shape, symmetry, nu, edges)(density, fields, numbers)


def floating(values: Shaped[AnyArray, "..."]) -> Float[Array, "..."]:
    """Return values in float64 if they are, else in float32."""
    values = jnp.asarray(values)
    return values if values.dtype == jnp.float64 else values.astype(jnp.float32)


def start(
    fields: Float[AnyArray, "l 3 X Y Z"] | None,
    shape: Shape,
    symmetry: str,
    dtype: Any,
) -> Float[Array, "l 3 X Y Z"]:
    """Return where the solves start: the fields that are given, or zero."""
    expected = boundary.loads(symmetry).field_shape(shape)
    if fields is None:
        return jnp.zeros(expected, dtype)
    if fields.shape != expected:
        raise InputError(
            f"fields have shape {fields.shape}; a {symmetry} solve on "
            f"{'x'.join(map(str, shape))} elements needs {expected}. Pass Info.fields "
            "of a solve of the same kind."
        )
    return jnp.asarray(fields, dtype)


def check_shape(shape: tuple[int, ...], symmetry: str, edges: Edges = UNIT) -> None:
    """Raise InputError unless the solver takes a grid under a symmetry."""
    boundary.loads(symmetry)
    if len(shape) != 3:
        raise InputError(f"density has shape {tuple(shape)}; three axes are needed.")
    if min(shape) < LEAST:
        raise InputError(
            f"density has shape {tuple(shape)}; {LEAST} voxels or more are needed "
            "along each axis. Repeat the cell, or divide its voxels."
        )
    if len(edges) != 3 or not all(0 < edge < np.inf for edge in edges):
        raise InputError(f"edges={edges} of a voxel must be three positive numbers.")
    if symmetry == "cubic" and (len(set(shape)) > 1 or len(set(edges)) > 1):
        raise InputError(
            f"density has shape {tuple(shape)} with voxels of edges {edges}; an octant "
            'of cubic symmetry needs three equal edges. Use symmetry="orthotropic".'
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
