"""Everything that is reported about one homogenized cell, as one plain dictionary.

`solve` runs the finite elements on a prepared grid, `report` derives moduli, extremes,
bounds and connectivity from the tensor and the voxels. Stiffness is in units of the
base material's Young's modulus given. Sentences about the numbers: see `remarks`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import anisotropy, bounds, elasticity
from mmdiff.anisotropy import VOIGT
from mmdiff.cells import connectivity
from mmdiff.cells.prepare import Grid
from mmdiff.errors import InputError
from mmdiff.fem import boundary, homogenize
from mmdiff.fem import fields as fem_fields
from mmdiff.io.json import plain
from mmdiff.typing import Float

CONVENTIONS = {
    "voigt_order": "11 22 33 23 13 12",
    "shear": "engineering shear strain: C44 = tau23 / gamma23",
    "cubic_constants": "C11, C12, C44 of the closest cubic tensor (means over "
    "equivalent entries); cubic_distance: relative distance of C from it",
    "moduli": "of the closest cubic tensor: K = (C11 + 2 C12) / 3, G = C44, E and nu "
    "along <100>, Zener = 2 C44 / (C11 - C12)",
    "averages": "of C itself over all orientations: Voigt (uniform strain), Reuss "
    "(uniform stress), Hill (their mean); universal_anisotropy = 5 G_Voigt / G_Reuss + "
    "K_Voigt / K_Reuss - 6",
    "engineering": "of C itself along x y z, from its inverse S: E_11 = 1 / S11, G_23 "
    "= 1 / S44, nu_12 = -S12 / S11 (contraction along 2 under tension along 1)",
    "E_along": "Young's modulus of C itself along each direction",
    "HS": "K, G, E over the upper Hashin-Shtrikman bounds at this volume; those of G "
    "and E hold for isotropic cells and may be exceeded by others",
    "modulus": "E(density) = void + density^penal (1 - void), times base E",
    "finite_elements": "trilinear hexahedra, one per voxel, 2x2x2 Gauss points",
    "axes": "x y z are the first, second and third index of the array",
    "loads": "unit macro strains by Voigt pair; a cubic cell is solved for 11 and 23, "
    "which stand for 22 33 and 13 12",
    "residual": "|b - K x| / |b| of each load; converged: it meets tol, or only the "
    "rounding of the fields is left of it",
    "singular_loads": "loads whose stiffness is owed to the void by more than half: "
    "the solid has no path for them",
    "load_bearing": "solid runs through the repeated cell along x, y and z, and no "
    "load is singular",
    "energy": "energy_ij: strain energy density of each voxel under the unit macro "
    "strain ij, whose mean over the cell is half of the diagonal entry of C",
    "strain": "strain_ij: mean strain of each voxel under the unit macro strain ij, "
    "components in Voigt order, whose mean over the cell is the macro strain",
    "displacement": "displacement_ij: displacement of each node under the unit macro "
    "strain ij, macro strain included; unit cell of side 1",
}
# What can be written to fields.vti beside the density.
FIELDS = ("energy", "strain", "displacement")


@dataclasses.dataclass(frozen=True)
class Material:
    """E(density) = E (void + density^penal (1 - void)) and Poisson's ratio.

    Attributes:
      E: Young's modulus of solid; all stiffness is reported in its unit.
      nu: Poisson's ratio.
      void: modulus of void as a fraction of solid.
      penal: exponent of the density.
    """

    E: float = 1.0
    nu: float = elasticity.NU
    void: float = homogenize.VOID
    penal: float = homogenize.PENAL

    def __post_init__(self):
        """Refuse values that no material has."""
        if not 0 < self.E < np.inf or not -1 < self.nu < 0.5:
            raise InputError(
                f"base.E={self.E:g}, base.nu={self.nu:g}: E must be positive and nu "
                "between -1 and 0.5."
            )
        if not 0 < self.void < 1 or not 1 <= self.penal < np.inf:
            raise InputError(
                f"void={self.void:g}, penal={self.penal:g}: void must lie between 0 "
                "and 1 and penal be at least 1."
            )


@dataclasses.dataclass(frozen=True)
class Solution:
    """A homogenized cell.

    Attributes:
      tensor: 6x6 in units of the base modulus E.
      loads: Voigt number of each load.
      iterations: per load.
      residual: relative, per load.
      converged: per load.
      singular: per load, whether its stiffness is owed to the void.
      fields: of each load on the whole cell, by name: energy (l, m, m, m) in units of
        E, strain (l, 6, m, m, m), displacement (l, 3, m + 1, m + 1, m + 1).
    """

    tensor: Float[np.ndarray, "6 6"]
    loads: tuple[int, ...]
    iterations: np.ndarray
    residual: np.ndarray
    converged: np.ndarray
    singular: np.ndarray
    fields: Mapping[str, np.ndarray]


def choose_fields(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas, in the order of `FIELDS`.

    Raises:
      InputError: a name that is not one of `FIELDS`.
    """
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
    material: Material,
    *,
    tol: float = homogenize.TOL,
    maxiter: int = homogenize.MAXITER,
    dtype: str = "float32",
    fields: Sequence[str] = (),
) -> Solution:
    """Homogenize a prepared cell.

    Args:
      grid: see `prepare.prepare`.
      material: of solid and void.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      dtype: "float32", or "float64" for very soft void or tolerances below 1e-6.
      fields: those of `FIELDS` that are wanted.

    Raises:
      InputError: an option out of its range.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"solver.dtype={dtype} is unknown. Use float32 or float64.")
    if not 0 < tol < 1 or maxiter < 1:
        raise InputError(
            f"solver.tol={tol:g}, solver.maxiter={maxiter}: tol must lie between 0 "
            "and 1 and maxiter be at least 1."
        )
    # Below, rounding hides what the void carries, and with it the loads without a path.
    least = 1e-9 if dtype == "float32" else 1e-15
    if material.void < least:
        more = "" if dtype == "float64" else ", or --config.solver.dtype=float64"
        raise InputError(
            f"solver.void={material.void:g} is too little for {dtype}. Use at least "
            f"{least:g}{more}."
        )
    with jax.enable_x64(dtype == "float64"):
        density = jnp.asarray(grid.density, dtype)
        tensor, info = homogenize.homogenize(
            density,
            symmetry=grid.symmetry,
            void=material.void,
            penal=material.penal,
            nu=material.nu,
            tol=tol,
            maxiter=maxiter,
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


def report(
    grid: Grid, solution: Solution, material: Material, *, threshold: float = 0.5
) -> dict:
    """Return the numbers of properties.json.

    Args:
      grid: the cell that was solved.
      solution: its tensor.
      material: base material, for the units and the bounds.
      threshold: density above which a voxel counts as solid for pieces and axes.
    """
    cell = grid.cell
    tensor = solution.tensor
    constants = elasticity.voigt_to_cubic(tensor)
    volume = float(cell.mean(dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):  # C11 = C12: no Zener ratio
        values = elasticity.moduli(constants)
        ratios = bounds.hashin_shtrikman_ratios(
            constants / material.E, volume, material.nu
        )
    axes = elasticity.AXES
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    along = elasticity.directional_modulus(tensor, unit)
    extremes = elasticity.extreme_moduli(tensor)
    solid = cell > threshold
    labels, pieces = connectivity.periodic_pieces(solid)
    winds = connectivity.winding_axes(solid)
    loads = [VOIGT[load] for load in solution.loads]
    singular = [
        name for name, is_so in zip(loads, solution.singular, strict=True) if is_so
    ]
    facts = {
        "C": tensor.tolist(),
        "S": anisotropy.inverse(tensor),
        **dict(zip(elasticity.NAMES, constants.tolist(), strict=True)),
        "cubic_distance": float(elasticity.cubic_distance(tensor)),
        "K": float(values["K"]),
        "G": float(values["G"]),
        "E": float(values["E"]),
        "nu": float(values["nu"]),
        "Zener": float(values["zener"]),
        **anisotropy.averages(tensor),
        "engineering": anisotropy.engineering(tensor),
        "E_along": {
            brackets(direction): float(value)
            for direction, value in zip(axes, along, strict=True)
        },
        **{
            f"E_{name}": {"value": value, "direction": np.round(direction, 6).tolist()}
            for name, (value, direction) in extremes.items()
        },
        "HS": {f"{name}/{name}_HS": float(value) for name, value in ratios.items()},
        "volume": volume,
        "solid_share": float(solid.mean()),
        "pieces": pieces,
        "largest_piece_share": float(
            np.bincount(labels[solid])[1:].max() / solid.sum()
        ),
        "spans": dict(zip("xyz", winds, strict=True)),
        "load_bearing": all(winds) and not singular,
        "singular_loads": singular,
        "symmetry": grid.symmetry,
        "resolution": cell.shape[0],
        "loads": loads,
        "iterations": solution.iterations.tolist(),
        "residual": solution.residual.tolist(),
        "converged": bool(solution.converged.all()),
        "converged_loads": solution.converged.tolist(),
        "base_E": material.E,
        "base_nu": material.nu,
        "void": material.void,
        "penal": material.penal,
        "threshold": threshold,
    }
    return plain(facts)  # numbers that do not exist are None


def brackets(direction) -> str:
    """Return a direction as crystallographers write it, minus for the bar."""
    return "[" + "".join(str(int(i)) for i in direction) + "]"
