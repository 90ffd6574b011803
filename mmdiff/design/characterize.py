"""Everything that is reported about one homogenized cell, as one plain dictionary.

`solve` runs the finite elements on a prepared grid, `report` derives moduli, extremes,
bounds and connectivity from the tensor and the voxels, `remarks` says in sentences what
a user must know before trusting the numbers. Stiffness is in units of the base
material's Young's modulus given.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity, voxels
from mmdiff.errors import InputError
from mmdiff.fem import boundary, fields, homogenize
from mmdiff.io.prepare import Grid
from mmdiff.typing import Float

CONVENTIONS = {
    "voigt_order": "11 22 33 23 13 12",
    "shear": "engineering shear strain: C44 = tau23 / gamma23",
    "cubic_constants": "C11, C12, C44 of the closest cubic tensor (means over "
    "equivalent entries); cubic_distance: relative distance of C from it",
    "moduli": "of the closest cubic tensor: K = (C11 + 2 C12) / 3, G = C44, E and nu "
    "along <100>, Zener = 2 C44 / (C11 - C12)",
    "E_along": "Young's modulus of C itself along each direction",
    "HS": "K, G, E over the upper Hashin-Shtrikman bounds at this volume; those of G "
    "and E hold for isotropic cells and may be exceeded by others",
    "modulus": "E(density) = void + density^penal (1 - void), times base E",
    "finite_elements": "trilinear hexahedra, one per voxel, 2x2x2 Gauss points",
    "axes": "x y z are the first, second and third index of the array",
    "energy": "energy_ij: strain energy density under the unit macro strain ij, whose "
    "mean over the cell is half of the diagonal entry of C; unit cell of side 1",
}


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
        if self.E <= 0 or not -1 < self.nu < 0.5:
            raise InputError(
                f"base.E={self.E:g}, base.nu={self.nu:g}: E must be positive and nu "
                "between -1 and 0.5."
            )
        if not 0 < self.void < 1 or self.penal < 1:
            raise InputError(
                f"void={self.void:g}, penal={self.penal:g}: void must lie between 0 "
                "and 1 and penal be at least 1."
            )


@dataclasses.dataclass(frozen=True)
class Solution:
    """A homogenized cell.

    Attributes:
      tensor: 6x6 in units of the base modulus E.
      energy: strain energy density of each load on the whole cell, same unit.
      loads: Voigt number of each load.
      iterations: per load.
      residual: relative, per load.
      converged: per load.
    """

    tensor: Float[np.ndarray, "6 6"]
    energy: Float[np.ndarray, "l m m m"]
    loads: tuple[int, ...]
    iterations: np.ndarray
    residual: np.ndarray
    converged: np.ndarray


def solve(
    grid: Grid,
    material: Material,
    *,
    tol: float = homogenize.TOL,
    maxiter: int = homogenize.MAXITER,
    dtype: str = "float32",
) -> Solution:
    """Homogenize a prepared cell.

    Args:
      grid: see `prepare.prepare`.
      material: of solid and void.
      tol: relative residual of the solves.
      maxiter: most conjugate-gradient iterations.
      dtype: "float32", or "float64" for very soft void or tolerances below 1e-6.

    Raises:
      InputError: an option out of its range.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"solver.dtype={dtype} is unknown. Use float32 or float64.")
    if tol <= 0 or maxiter < 1:
        raise InputError(
            f"solver.tol={tol:g}, solver.maxiter={maxiter}: tol must be positive and "
            "maxiter at least 1."
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
        energy = fields.strain_energy(
            modulus, info.fields, symmetry=grid.symmetry, nu=material.nu
        )
        energy = fields.on_cell(np.asarray(energy), grid.symmetry)
        return Solution(
            tensor=material.E * np.asarray(tensor, np.float64),
            energy=material.E * energy,
            loads=boundary.loads(grid.symmetry).voigt,
            iterations=np.asarray(info.iterations),
            residual=np.asarray(info.residual, np.float64),
            converged=np.asarray(info.converged),
        )


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
    values = elasticity.moduli(constants)
    volume = float(cell.mean(dtype=np.float64))
    ratios = elasticity.hashin_shtrikman_ratios(
        constants / material.E, volume, material.nu
    )
    axes = elasticity.AXES
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    along = elasticity.directional_modulus(tensor, unit)
    extremes = elasticity.extreme_moduli(tensor)
    solid = cell > threshold
    labels, pieces = voxels.periodic_pieces(solid)
    winds = voxels.winding_axes(solid)
    return {
        "C": tensor.tolist(),
        **dict(zip(elasticity.NAMES, constants.tolist(), strict=True)),
        "cubic_distance": float(elasticity.cubic_distance(tensor)),
        "K": float(values["K"]),
        "G": float(values["G"]),
        "E": float(values["E"]),
        "nu": float(values["nu"]),
        "Zener": float(values["zener"]),
        "E_along": {
            _brackets(direction): float(value)
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
        "load_bearing": all(winds),
        "symmetry": grid.symmetry,
        "resolution": cell.shape[0],
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


def remarks(name: str, facts: dict, *, tol: float, maxiter: int) -> list[str]:
    """Return what is to be said about a cell: loose pieces, no load path, no solution.

    Args:
      name: of the file.
      facts: see `report`.
      tol: tolerance that was asked for.
      maxiter: iterations that were allowed.
    """
    said = []
    if facts["pieces"] > 1:
        said.append(
            f"{name} has {facts['pieces']} separate solid pieces across periodic "
            f"boundaries; the largest holds {100 * facts['largest_piece_share']:.0f} % "
            "of the solid. It would fall apart when printed. Homogenized with all of "
            "them."
        )
    missing = [axis for axis, spans in facts["spans"].items() if not spans]
    if missing:
        said.append(
            f"{name}: the solid does not span the cell along {' and '.join(missing)}: "
            "stiffness is near zero there and the tensor is singular. Homogenized "
            'anyway; marked "not load bearing".'
        )
    count = len(facts["residual"])
    for i, ok in enumerate(facts["converged_loads"]):
        if not ok:
            said.append(
                f"{name}: CG stopped at residual {facts['residual'][i]:.1g} after "
                f"{facts['iterations'][i]} steps (wanted {tol:g}) for load {i + 1} of "
                f"{count}; results marked unconverged. Very low densities need "
                f"--config.solver.maxiter={max(2000, 4 * maxiter)} or "
                "--config.solver.dtype=float64."
            )
    return said


HEADER = (
    *("", "C11", "C12", "C44", "K", "E", "nu", "Zener", "E min", "E max"),
    *("V", "K/K_HS", "pieces", "solved as", "remark"),
)


def row(name: str, facts: dict) -> list:
    """Return a line of the table on the terminal, columns as in `HEADER`."""
    remark = [] if facts["load_bearing"] else ["not load bearing"]
    remark += [] if facts["converged"] else ["unconverged"]
    return [
        name,
        *(facts[key] for key in ("C11", "C12", "C44", "K", "E", "nu", "Zener")),
        facts["E_min"]["value"],
        facts["E_max"]["value"],
        f"{facts['volume']:.4f}",
        f"{facts['HS']['K/K_HS']:.3f}",
        facts["pieces"],
        facts["symmetry"],
        ", ".join(remark),
    ]


def _brackets(direction) -> str:
    """Return a direction as crystallographers write it, minus for the bar."""
    return "[" + "".join(str(int(i)) for i in direction) + "]"
