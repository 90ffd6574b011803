"""Finite elements on a prepared cell: tensor, convergence, and fields on request.

Stiffness is in units of the base material's Young's modulus given.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.cells import images
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import stress
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import boundary, conduction, homogenize, phases
from mmdiff.fem import fields as fem_fields
from mmdiff.fem.brick import Brick
from mmdiff.typing import Array, Bool, Float, Int

# What can be written to fields.vti beside the density.
FIELDS = ("energy", "strain", "displacement", "stress")


@dataclasses.dataclass(frozen=True)
class Material:
    """E(density) = E (void + density^penal (1 - void)) and Poisson's ratio.

    All stiffness is reported in the unit of E. The conductivity k of the solid, of
    whatever kind, and its mass density rho are zero where nothing of them is asked.
    """

    E: float = 1.0
    nu: float = elasticity.NU
    void: float = homogenize.VOID
    penal: float = homogenize.PENAL
    k: float = 0.0
    rho: float = 0.0

    def __post_init__(self):
        """Refuse values that no material has."""
        if self.void == 0:
            raise InputError(
                "void=0 is excluded: without any stiffness of void the displacements "
                "there are undetermined. Set `void` to 1e-6, which changes the tensor "
                "of the solid by about a millionth, or less with `dtype=float64`."
            )
        limits = {"E": "(0, inf)", "nu": "(-1, 0.5)", "void": "(0, 1)"}
        limits |= {"penal": "[1, inf)", "k": "[0, inf)", "rho": "[0, inf)"}
        check_ranges(vars(self), limits)


# A stiffer rest is a matrix and no void: no load needs a path in the solid.
SOFT = 1e-2
# Below, rounding hides what the void carries, and with it the loads without a path.
LEAST_VOID = {"float32": 1e-9, "float64": 1e-15}


@dataclasses.dataclass(frozen=True)
class Solver:
    """Relative residual and most iterations of the conjugate gradients, and precision.

    That is "float32", or "float64" for very soft void or tolerances below 1e-6.
    """

    tol: float = homogenize.TOL
    maxiter: int = homogenize.MAXITER
    dtype: str = "float32"

    def __post_init__(self):
        """Refuse values out of range."""
        if self.dtype not in LEAST_VOID:
            raise InputError(f"dtype={self.dtype} is unknown. Use float32 or float64.")
        check_ranges(vars(self), {"tol": "(0, 1)", "maxiter": "[1, inf)"})


@dataclasses.dataclass(frozen=True)
class Solution:
    """Tensor in units of the base modulus E, and fields of a homogenized cell.

    Loads have Voigt numbers; those whose stiffness is owed to the void are singular.
    Fields on the whole cell: energy (l, mx, my, mz) in units of E, strain and
    displacement with 6 and 3 components, the latter at the nodes, and von Mises stress
    (l, mx, my, mz) of the solid under each unit macro stress, see `stress`.
    """

    tensor: Float[np.ndarray, "6 6"]
    loads: tuple[int, ...]
    iterations: Int[np.ndarray, "l"]
    residual: Float[np.ndarray, "l"]
    converged: Bool[np.ndarray, "l"]
    singular: Bool[np.ndarray, "l"]
    fields: Mapping[str, Float[np.ndarray, "l ..."]] = dataclasses.field(
        default_factory=dict
    )


def choose_fields(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas, in the order of `FIELDS`."""
    names = {name.strip() for name in text.split(",")} - {""}
    unknown = sorted(names - set(FIELDS))
    if unknown:
        raise InputError(
            f"fields={text}: {unknown[0]} is unknown. Use any of {', '.join(FIELDS)}, "
            "separated by commas, or leave it empty for the density alone."
        )
    return tuple(name for name in FIELDS if name in names)


def solve(
    grid: Grid,
    material: Material = Material(),
    solver: Solver = Solver(),
    *,
    fields: Sequence[str] = (),
    threshold: float = 0.5,
) -> Solution:
    """Homogenize a prepared cell, with those of `FIELDS` that are asked for.

    Voxels above the threshold are solid, as to stress.

    Raises:
      InputError: the void is too soft for the precision.
    """
    least, dtype = LEAST_VOID[solver.dtype], solver.dtype
    if material.void < least:
        more = "" if dtype == "float64" else ", or `dtype=float64`"
        raise InputError(
            f"void={material.void:g} is too little for {dtype}. Set `void` to "
            f"{least:g} or more{more}."
        )
    options = {"symmetry": grid.symmetry, "edges": grid.edges}
    limits = {"tol": solver.tol, "maxiter": solver.maxiter}
    with jax.enable_x64(dtype == "float64"):
        if grid.phases is None:
            stiff, tensor, info = _solve_density(grid, material, options | limits)
        else:
            stiff, tensor, info = _solve_phases(grid, material, options | limits)
        return Solution(
            tensor=np.asarray(tensor, np.float64),
            loads=boundary.loads(grid.symmetry).voigt,
            iterations=np.asarray(info.iterations),
            residual=np.asarray(info.residual, np.float64),
            converged=np.asarray(info.converged),
            singular=np.asarray(info.singular),
            fields={
                name: _stress(grid, stiff, tensor, info, threshold)
                if name == "stress"
                else _field(name, stiff, info.fields, **options)
                for name in fields
            },
        )


def conduct(
    grid: Grid, material: Material, solver: Solver = Solver()
) -> tuple[Float[np.ndarray, "3 3"], bool]:
    """Return the conductivity of a prepared cell, and whether its solve converged.

    That of a voxel is linear in its share of solid.
    """
    options = {"symmetry": grid.symmetry, "edges": grid.edges}
    with jax.enable_x64(solver.dtype == "float64"):
        values = homogenize.modulus(
            jnp.asarray(grid.density, jnp.result_type(float)), material.void, 1.0
        )
        tensor, info = conduction.conductivity(
            values, tol=solver.tol, maxiter=solver.maxiter, **options
        )
    return material.k * np.asarray(tensor, np.float64), bool(info.converged.all())


class _Stiffness(NamedTuple):
    """Coefficients of the elements of a kind, in a unit, and what the solid is."""

    coefficients: Float[Array, "p nx ny nz"]
    kind: str
    nu: float
    unit: float
    young: float | Float[np.ndarray, "nx ny nz"]
    poisson: float | Float[np.ndarray, "nx ny nz"]


def _solve_density(grid, material, options):
    density = jnp.asarray(grid.density, jnp.result_type(float))
    tensor, info = homogenize.homogenize(
        density, void=material.void, penal=material.penal, nu=material.nu, **options
    )
    if material.void > SOFT:
        info = info._replace(singular=jnp.zeros_like(info.singular))
    modulus = homogenize.modulus(density, material.void, material.penal)
    solid = material.E, material.nu
    stiff = _Stiffness(modulus[None], "modulus", material.nu, material.E, *solid)
    return stiff, material.E * np.asarray(tensor, np.float64), info


def _solve_phases(grid, material, options):
    kind, (void, nu) = jnp.result_type(float), (material.void, material.nu)
    moduli = images.to_moduli(grid.labels, grid.phases, void=void, nu=nu)
    solid, young, poisson = (jnp.asarray(values, kind) for values in moduli)
    rest = None
    if not solid.all() and void <= SOFT:
        rest = (void * float(young.max()), nu)
    tensor, info = phases.homogenize_phases(young, poisson, void=rest, **options)
    coefficients = jnp.stack(phases.lame(young, poisson))
    made = _Stiffness(coefficients, "isotropic", 0.0, 1.0, *moduli[1:])
    return made, tensor, info


def _stress(grid, stiff, tensor, info, threshold):
    """Return the von Mises stress on the whole cell; 0 of loads without a path."""
    symmetry = grid.symmetry
    strain = np.asarray(
        fem_fields.strain(info.fields, symmetry=symmetry, edges=grid.edges)
    )
    octant = stress.of_solid(
        strain,
        boundary.loads(symmetry).voigt,
        np.asarray(tensor, np.float64),
        stiff.young,
        stiff.poisson,
        grid.density > threshold,
    )
    octant[np.asarray(info.singular)] = 0.0  # the void would have to balance them
    return fem_fields.on_cell(octant, symmetry)


def _field(name, stiff, solved, *, symmetry, edges):
    """Return one of `FIELDS` on the whole cell."""
    options = {"symmetry": symmetry, "edges": edges}
    if name == "strain":
        strain = fem_fields.strain(solved, **options)
        return fem_fields.strain_on_cell(np.asarray(strain), symmetry)
    if name == "displacement":
        displacement = fem_fields.displacement(solved, **options)
        return fem_fields.vectors_on_cell(
            np.asarray(displacement), symmetry, edges=edges
        )
    brick = Brick(stiff.kind, stiff.nu, edges)
    energy = fem_fields.strain_energy(
        stiff.coefficients, solved, symmetry=symmetry, brick=brick
    )
    return stiff.unit * fem_fields.on_cell(np.asarray(energy), symmetry)
