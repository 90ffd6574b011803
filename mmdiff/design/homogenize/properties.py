"""Effective properties of one voxel cell, as one plain dictionary.

`summarize` derives moduli, extremes, bounds and connectivity from the tensor of a
solution and the voxels; `of_mesh`, `of_surface` and `of_print` tell what a finer mesh,
the surface and a printer make of them. Stiffness is in units of the base material's
Young's modulus given. Sentences about the numbers: see `remarks`.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from mmdiff import anisotropy, bounds, elasticity
from mmdiff.anisotropy import VOIGT
from mmdiff.cells import connectivity, images
from mmdiff.cells.prepare import Grid
from mmdiff.cells.printable import Printability
from mmdiff.design.homogenize import stress
from mmdiff.design.homogenize.geometry import OfSurface
from mmdiff.design.homogenize.solution import Material, Solution
from mmdiff.io import report
from mmdiff.io.json import plain
from mmdiff.typing import Float

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
    "HS": "K, G, E over the upper Hashin-Shtrikman bounds at these shares of solid and "
    "rest, or of all phases; those of G and E hold for isotropic cells and may be "
    "exceeded by others",
    "modulus": "E(density) = void + density^penal (1 - void), times base E",
    "axes": "x y z are the first, second and third index of the array",
    "loads": "unit macro strains by Voigt pair; a cubic cell is solved for 11 and 23, "
    "which stand for 22 33 and 13 12",
    "residual": "|b - K x| / |b| of each load; converged: it meets tol, or only the "
    "rounding of the fields is left of it",
    "singular_loads": "loads whose stiffness is owed to the void by more than half: "
    "the solid has no path for them",
    "spans": "whether solid runs through the repeated cell along x, y and z, from face "
    "to face of its voxels; of windows, from one end to the other",
    "load_bearing": "no load is singular, by the solution",
    "mass_density": "base rho times volume, as in material.inp (Abaqus, CalculiX) and "
    "material.mac (Ansys), which hold C; null where base rho is zero",
    "conductivity": "3x3, in the unit of base k, for a conductivity void + share of "
    "solid (1 - void) of an element; of a surface, on the coarse grid; null where base "
    "k is zero",
    "phases": "of labelled voxels: label, share, Young's modulus and Poisson's ratio, "
    "null of void, which gets void times the largest modulus and base_nu; volume, "
    "pieces and spans are those of all phases but void",
    "voxel_edges": "of a voxel along x, y and z, in units of that along x",
    "energy": "energy_ij: strain energy density of each voxel under the unit macro "
    "strain ij, whose mean over the cell is half of the diagonal entry of C",
    "strain": "strain_ij: mean strain of each voxel under the unit macro strain ij, "
    "components in Voigt order, whose mean over the cell is the macro strain, but for "
    "mixed windows, whose faces move along themselves",
    "geometry": 'the object that C and what follows from it belong to: "voxels" as '
    'given, one element each, or "surface": the smooth one of the level-set field psi '
    "in surface.npz",
    "C_voxels": "closest cubic constants of the voxels as given, one element each",
    "refined": "the same voxels with each split into 2^3 elements, closest cubic "
    "constants; mesh_error = (C_voxels - C) / |C|, |C12| floored at 1 % of C11: by so "
    "much at least one element per voxel is too stiff; null where it was not solved",
    "surface": "limit of two grids with coarse_elements and twice as many along the "
    "octant (docs/accuracy.md), modulus void + f (1 - void), f the solid share of an "
    "element; volume, pieces, resolution and fields of the coarse one (means of the "
    "fields give its C), iterations and residual of the fine one",
    "uncertainty": "half width of the interval that holds each closest cubic constant "
    "of the surface, and C_uncertainty each entry of C; null for voxels",
    "printability": "pieces, loose: periodic pieces of solid, share outside the "
    "largest; void_pieces, trapped: of void, share in closed pores; wall, gap: least "
    "thickness of solid and void in mm, wall_voxels and gap_voxels in edges of voxels; "
    "overhang: share of the surface that faces down at less than 45 degrees to the "
    "horizontal, built along z; measured_on: the surface of the smoothed cell or, "
    "where smoothing changes its pieces or it has no field, the voxels",
    "psi": "level-set field of the octant in surface.npz: solid where its half-sample-"
    "even cosine interpolation is positive, in spacings of 1 / (2 n) of the edge",
    "stress": "stress_ij: von Mises stress of the solid at the centre of each voxel "
    "under the macro stress ij alone (tension along an axis, or shear), in units of "
    "it; of base material or phase, 0 in voxels at or below the threshold",
    "peak_stress": "by macro stress, the von Mises stress that 99 % of the solid do "
    "not exceed, and its maximum, which grows with the fineness of the grid where "
    "voxels have edges; of a surface, on the coarse grid, where the elements that it "
    "cuts are some 10 % too high",
    "displacement": "displacement_ij: displacement of each node under the unit macro "
    "strain ij, macro strain included; unit cell of side 1",
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
    if grid.is_window:
        labels, pieces = ndimage.label(solid)
        runs = connectivity.spanning_axes(solid)
    else:
        labels, pieces = connectivity.periodic_pieces(solid)
        runs = connectivity.winding_axes(solid)
    spans = dict(zip("xyz", runs, strict=True))
    found = {
        **_of_tensor(solution.tensor),
        **_of_closest_cubic(solution.tensor, _phases(grid, material), volume),
        "solid_share": solid.mean(),
        "pieces": pieces,
        "largest_piece_share": np.bincount(labels[solid])[1:].max() / solid.sum(),
        "spans": spans,
        "load_bearing": not singular,
        "singular_loads": singular,
        "symmetry": grid.symmetry,
        "resolution": grid.cell.shape[0],
        "shape": grid.cell.shape,
        "voxel_edges": grid.edges,
        "phases": _named_phases(grid),
        "loads": loads,
        "iterations": solution.iterations,
        "residual": solution.residual,
        "converged": solution.converged.all(),
        "converged_loads": solution.converged,
        "base_E": material.E,
        "base_nu": material.nu,
        "mass_density": material.rho * volume or None,
        "void": material.void,
        "penal": material.penal,
        "threshold": threshold,
    }
    return plain(found)  # numbers that do not exist are None


def peak_stress(
    grid: Grid, solution: Solution, threshold: float = 0.5
) -> dict[str, Any] | None:
    """Return `stress.peaks` of a solution, None where stress was not asked for.

    That is so, too, if a load has no path in the solid: no stress keeps the balance.
    """
    if "stress" not in solution.fields or solution.singular.any():
        return None
    solid = grid.cell > threshold
    return plain(stress.peaks(solution.fields["stress"], solution.loads, solid)) or None


def _named_phases(grid) -> list[dict[str, Any]] | None:
    """Return label, share and material of every phase."""
    if grid.phases is None:
        return None
    return [
        {
            "label": label,
            "share": float((grid.labels == label).mean()),
            "E": phase.young,
            "nu": phase.poisson,
        }
        for label, phase in sorted(grid.phases.items())
    ]


def constants(tensor: Float[np.ndarray, "6 6"]) -> dict[str, float]:
    """Return C11, C12, C44 of the closest cubic tensor by name."""
    values = elasticity.voigt_to_cubic(tensor)
    return dict(zip(elasticity.NAMES, values.tolist(), strict=True))


def of_mesh(voxels: Solution, refined: Solution) -> dict[str, Any]:
    """Return the constants on the finer mesh, and how far the voxels' are off them."""
    of_voxels, fine = constants(voxels.tensor), constants(refined.tensor)
    least = {"C12": 0.01 * fine["C11"]}
    return plain(
        {
            **fine,
            "mesh_error": {
                name: (of_voxels[name] - value) / max(abs(value), least.get(name, 0))
                for name, value in fine.items()
            },
            "residual": refined.residual.max(),
            "converged": refined.converged.all(),
        }
    )


def of_surface(found: OfSurface) -> dict[str, Any]:
    """Return the uncertainty of a surface's tensor, and the grid it comes from."""
    doubt = zip(elasticity.NAMES, found.cubic_doubt, strict=True)
    return plain(
        {
            "uncertainty": dict(doubt),
            "C_uncertainty": found.doubt,
            "coarse_elements": len(found.grid.density),
        }
    )


def of_print(
    found: Printability, measured_on: str, edge_mm: float, resolution: int
) -> dict[str, Any]:
    """Return what a printer asks, with walls and gaps in mm and in voxels."""
    return plain(
        {
            **vars(found.in_mm(edge_mm)),
            "wall_voxels": found.wall * resolution,
            "gap_voxels": found.gap * resolution,
            "measured_on": measured_on,
        }
    )


def _phases(grid, material) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shares, Young's moduli and Poisson's ratios of the phases of a grid."""
    if grid.phases is None:
        volume = grid.density.mean(dtype=np.float64)
        young = material.E * np.array([1, material.void])
        return np.array([volume, 1 - volume]), young, np.full(2, material.nu)
    labels, counts = np.unique(grid.labels, return_counts=True)
    options = {"void": material.void, "nu": material.nu}
    _, young, poisson = images.to_moduli(labels, grid.phases, **options)
    return counts / counts.sum(), young, poisson


def _of_closest_cubic(tensor, phases, volume) -> dict[str, Any]:
    """Return constants, moduli and shares of the bounds of the closest cubic tensor."""
    constants = elasticity.voigt_to_cubic(tensor)
    with np.errstate(divide="ignore", invalid="ignore"):  # C11 = C12: no Zener ratio
        values = elasticity.moduli(constants)
        most = bounds.hashin_shtrikman_of_phases(*phases)
        ratios = bounds.ratios(constants, most)
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
