"""Finite elements on a prepared cell: tensor, convergence, and fields on request.

Stiffness is in units of the base material's Young's modulus given.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.cells.prepare import Grid
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import boundary, homogenize
from mmdiff.fem import fields as fem_fields
from mmdiff.typing import Bool, Float, Int

# What can be written to fields.vti beside the density.
FIELDS = ("energy", "strain", "displacement")


@dataclasses.dataclass(frozen=True)
class Material:
    """E(density) = E (void + density^penal (1 - void)) and Poisson's ratio.

    All stiffness is reported in the unit of E.
    """

    E: float = 1.0
    nu: float = elasticity.NU
    void: float = homogenize.VOID
    penal: float = homogenize.PENAL

    def __post_init__(self):
        """Refuse values that no material has."""
        limits = {"E": "(0, inf)", "nu": "(-1, 0.5)", "void": "(0, 1)"}
        check_ranges(vars(self), limits | {"penal": "[1, inf)"})


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
    Fields on the whole cell: energy (l, m, m, m) in units of E, strain (l, 6, m, m, m),
    displacement (l, 3, m + 1, m + 1, m + 1).
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
) -> Solution:
    """Homogenize a prepared cell, with those of `FIELDS` that are asked for.

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
    with jax.enable_x64(dtype == "float64"):
        density = jnp.asarray(grid.density, dtype)
        tensor, info = homogenize.homogenize(
            density,
            symmetry=grid.symmetry,
            void=material.void,
            penal=material.penal,
            nu=material.nu,
            tol=solver.tol,
            maxiter=solver.maxiter,
        )
        modulus = homogenize.modulus(density, material.void, material.penal)
        return Solution(
            tensor=material.E * np.asarray(tensor, np.float64),
            loads=boundary.loads(grid.symmetry).voigt,
            iterations=np.asarray(info.iterations),
            residual=np.asarray(info.residual, np.float64),
            converged=np.asarray(info.converged),
            singular=np.asarray(info.singular),
            fields={
                name: _field(name, modulus, info.fields, grid.symmetry, material)
                for name in fields
            },
        )


def _field(name, modulus, solved, symmetry, material):
    """Return one of `FIELDS` on the whole cell."""
    if name == "strain":
        strain = fem_fields.strain(solved, symmetry=symmetry)
        return fem_fields.strain_on_cell(np.asarray(strain), symmetry)
    if name == "displacement":
        displacement = fem_fields.displacement(solved, symmetry=symmetry)
        return fem_fields.vectors_on_cell(np.asarray(displacement), symmetry)
    energy = fem_fields.strain_energy(
        modulus, solved, symmetry=symmetry, nu=material.nu
    )
    return material.E * fem_fields.on_cell(np.asarray(energy), symmetry)
