"""Effective properties of one voxel cell, as one plain dictionary.

`summarize` derives moduli, extremes, bounds and connectivity from the tensor of a
solution and the voxels; `characterize` solves an array and summarizes it. Stiffness is
in units of the base material's Young's modulus given. Sentences about the numbers: see
`remarks`.
"""

from typing import Any

import numpy as np

from mmdiff import anisotropy, bounds, elasticity
from mmdiff.anisotropy import VOIGT
from mmdiff.cells import connectivity, prepare, thickness
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import remarks
from mmdiff.design.homogenize.solution import Material, Solution, Solver, solve
from mmdiff.fem import homogenize
from mmdiff.io import report
from mmdiff.io.json import plain

CONVENTIONS = report.CONVENTIONS | {
    "cubic_constants": "C11, C12, C44 of the closest cubic tensor (means over "
    "equivalent entries); cubic_distance: relative distance of C from it",
    "moduli": f"of the closest cubic tensor: {report.CONVENTIONS['moduli']}",
    "averages": "of C itself over all orientations: Voigt (uniform strain), Reuss "
    "(uniform stress), Hill (their mean); universal_anisotropy = 5 G_Voigt / G_Reuss + "
    "K_Voigt / K_Reuss - 6",
    "engineering": "of C itself along x y z, from its inverse S: E_11 = 1 / S11, G_23 "
    "= 1 / S44, nu_12 = -S12 / S11 (contraction along 2 under tension along 1)",
    "E_along": "Young's modulus of C itself along each direction",
    "HS": "K, G, E over the upper Hashin-Shtrikman bounds at this volume; those of G "
    "and E hold for isotropic cells and may be exceeded by others",
    "modulus": "E(density) = void + density^penal (1 - void), times base E",
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


def characterize(
    cell,
    *,
    base_E: float = 1.0,
    base_nu: float = elasticity.NU,
    void: float = homogenize.VOID,
    threshold: float = 0.5,
    resize: int = 0,
    tol: float = homogenize.TOL,
    maxiter: int = homogenize.MAXITER,
) -> dict[str, Any]:
    """Return the effective properties of a cell as plain numbers.

    Args:
      cell: (N, N, N) densities from 0 (void) to 1 (solid) of a whole cell, or what has
        such an array as its `voxels`.
      base_E: Young's modulus of the solid; all stiffness is in its unit.
      base_nu: Poisson's ratio of the solid.
      void: modulus of void as a fraction of solid.
      threshold: density above which a voxel counts as solid for pieces, axes and walls.
      resize: edge to resample the cell to, a multiple of 4, which the solver needs; 0
        leaves it.
      tol: relative residual of the finite elements.
      maxiter: most conjugate-gradient iterations.

    Returns:
      the tensor "C" (6x6, Voigt order 11 22 33 23 13 12, engineering shear) and its
      inverse "S"; the constants "C11", "C12", "C44" and moduli "K", "G", "E", "nu",
      "Zener" of the closest cubic tensor; "averages", "engineering" constants and
      extremes "E_min", "E_max"; the shares "HS" of the Hashin-Shtrikman bounds;
      "volume", "pieces", "spans", "load_bearing"; thickness "wall_voxels" and
      "gap_voxels"; "residual" and "converged"; "notes", sentences on what is unusual;
      and more, see `CONVENTIONS`. Numbers that do not exist are None.

    Raises:
      InputError: a wrong shape or value.

    Example:
      >>> found = mm.characterize(np.ones((16, 16, 16)), base_E=210.0)
      >>> print(f"{found['E']:.4g} {found['nu']:.2f}, {found['pieces']} piece")
      210 0.30, 1 piece
    """
    material = Material(base_E, base_nu, void)
    solver = Solver(tol, maxiter)
    options = prepare.Options(threshold=threshold, resize=resize)
    grid = prepare.prepare(np.asarray(getattr(cell, "voxels", cell)), "cell", options)
    solution = solve(grid, material, solver)
    found = summarize(grid, solution, material, threshold=threshold)
    mode = "wrap" if grid.symmetry == "periodic" else "symmetric"
    walls = thickness.feature_size(grid.density > threshold, mode=mode)
    messages = remarks.remarks("cell", found, tol=tol, maxiter=maxiter)
    return {
        **found,
        "wall_voxels": plain(walls.solid._asdict()),
        "gap_voxels": plain(walls.void._asdict()),
        "tol": tol,
        "maxiter": maxiter,
        "dtype": solver.dtype,
        "notes": [*grid.notes, *messages],
    }


def summarize(
    grid: Grid, solution: Solution, material: Material, *, threshold: float = 0.5
) -> dict[str, Any]:
    """Return the properties of a solved cell as plain numbers.

    Voxels above the threshold count as solid for pieces and axes.
    """
    loads = [VOIGT[load] for load in solution.loads]
    singular = [name for i, name in enumerate(loads) if solution.singular[i]]
    solid, volume = grid.cell > threshold, float(grid.cell.mean(dtype=np.float64))
    labels, pieces = connectivity.periodic_pieces(solid)
    spans = dict(zip("xyz", connectivity.winding_axes(solid), strict=True))
    found = {
        **_of_tensor(solution.tensor),
        **_of_closest_cubic(solution.tensor, material, volume),
        "solid_share": solid.mean(),
        "pieces": pieces,
        "largest_piece_share": np.bincount(labels[solid])[1:].max() / solid.sum(),
        "spans": spans,
        "load_bearing": all(spans.values()) and not singular,
        "singular_loads": singular,
        "symmetry": grid.symmetry,
        "resolution": grid.cell.shape[0],
        "loads": loads,
        "iterations": solution.iterations,
        "residual": solution.residual,
        "converged": solution.converged.all(),
        "converged_loads": solution.converged,
        "base_E": material.E,
        "base_nu": material.nu,
        "void": material.void,
        "penal": material.penal,
        "threshold": threshold,
    }
    return plain(found)  # numbers that do not exist are None


def _of_closest_cubic(tensor, material, volume) -> dict[str, Any]:
    """Return constants, moduli and shares of the bounds of the closest cubic tensor."""
    constants = elasticity.voigt_to_cubic(tensor)
    with np.errstate(divide="ignore", invalid="ignore"):  # C11 = C12: no Zener ratio
        values = elasticity.moduli(constants)
        shares = constants / material.E
        ratios = bounds.hashin_shtrikman_ratios(shares, volume, material.nu)
    return {
        **dict(zip(elasticity.NAMES, constants, strict=True)),
        "cubic_distance": elasticity.cubic_distance(tensor),
        **{name: values[name] for name in ("K", "G", "E", "nu")},
        "Zener": values["zener"],
        "HS": {f"{name}/{name}_HS": value for name, value in ratios.items()},
        "volume": volume,
    }


def _of_tensor(tensor) -> dict[str, Any]:
    """Return the tensor, its inverse and what follows from it along all directions."""
    axes = elasticity.AXES
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    along = elasticity.directional_modulus(tensor, unit)
    extremes = elasticity.extreme_moduli(tensor)
    return {
        "C": tensor,
        "S": anisotropy.inverse(tensor),
        **anisotropy.averages(tensor),
        "engineering": anisotropy.engineering(tensor),
        "E_along": dict(zip(map(brackets, axes), along, strict=True)),
        **{
            f"E_{name}": {"value": value, "direction": np.round(direction, 6)}
            for name, (value, direction) in extremes.items()
        },
    }


def brackets(direction) -> str:
    """Return a direction as crystallographers write it, minus for the bar."""
    return "[" + "".join(str(int(i)) for i in direction) + "]"
