"""All that is known of one cell: as a value with its parts, and as a dictionary.

`analyse` solves a prepared cell as voxels, on a finer mesh and as a surface, as far as
that is asked for, and measures what a printer asks; `characterize` does so for an array
and returns plain numbers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import prepare, printable, thickness
from mmdiff.cells.prepare import Grid
from mmdiff.cells.voxels import to_cubes
from mmdiff.design.homogenize import geometry as geometries
from mmdiff.design.homogenize import printable_voxels, properties, remarks
from mmdiff.design.homogenize.geometry import Geometry
from mmdiff.design.homogenize.solution import (
    Material,
    Solution,
    Solver,
    conduct,
    solve,
)
from mmdiff.fem import homogenize
from mmdiff.io.json import plain
from mmdiff.typing import Float


class Analysis(NamedTuple):
    """A solved cell.

    Attributes:
      grid: the densities that were homogenized: voxels, or solid shares of a surface.
      solution: its tensor, with the fields asked for.
      psi: field of the octant if the surface was homogenized.
      values: plain numbers, see `properties.CONVENTIONS`.
      notes: sentences on what is unusual.
    """

    grid: Grid
    solution: Solution
    psi: Float[np.ndarray, "n n n"] | None
    values: dict[str, Any]
    notes: list[str]


def analyse(
    grid: Grid,
    name: str,
    material: Material,
    solver: Solver,
    chosen: Geometry,
    *,
    threshold: float = 0.5,
    fields: Sequence[str] = (),
    psi: Float[np.ndarray, "n n n"] | None = None,
) -> Analysis:
    """Homogenize a prepared cell, and measure what a printer asks.

    `psi` is the field of the octant where it is known. Raises InputError if the surface
    is asked for and there is none.
    """
    smooth = chosen.geometry == "surface"
    if smooth and (psi is None or not geometries.is_cube(grid)):
        psi = geometries.field_of(grid, name)
    refine, notes = geometries.refinable(grid, chosen.refine, name)
    voxels = solution = solve(
        grid, material, solver, fields=() if smooth else fields, threshold=threshold
    )
    values: dict[str, Any] = {
        "geometry": chosen.geometry,
        "C_voxels": properties.constants(voxels.tensor),
        "refined": None,
        "uncertainty": None,
    }
    if refine:
        refined = geometries.solve_refined(grid, material, solver)
        values["refined"] = properties.of_mesh(voxels, refined)
    printed, measured_on = _printability(grid, threshold, psi)
    values["printability"] = properties.of_print(
        printed, measured_on, chosen.cell_size_mm, len(grid.cell)
    )
    if smooth:
        notes += _changes(grid, psi, name)
        found = geometries.solve_surface(psi, material, solver, fields=tuple(fields))
        grid, solution, threshold = found.grid, found.solution, 0.5
        values |= properties.of_surface(found)
    summary = properties.summarize(grid, solution, material, threshold=threshold)
    values = {**summary, **values, "cell_size_mm": chosen.cell_size_mm}
    values["peak_stress"] = properties.peak_stress(grid, solution, threshold)
    values["conductivity"], told = conductivity(grid, name, material, solver)
    notes += told
    limits = {"tol": solver.tol, "maxiter": solver.maxiter}
    said = [*grid.notes, *notes, *remarks.remarks(name, values, **limits)]
    return Analysis(grid, solution, psi if smooth else None, values, said)


def conductivity(
    grid: Grid, name: str, material: Material, solver: Solver
) -> tuple[list[list[float]] | None, tuple[str, ...]]:
    """Return the tensor as plain numbers, None without one, and what to say of it."""
    if material.k == 0:
        return None, ()
    if grid.phases is not None:
        return None, (f"{name}: labels have no conductivity; `base_k` is of no use.",)
    tensor, converged = conduct(grid, material, solver)
    note = f"{name}: the conductivity is not converged. Set `maxiter` to more."
    return plain(tensor), () if converged else (note,)


def _changes(grid, psi, name) -> tuple[str, ...]:
    """Return what to say if a field has not the pieces of the voxels."""
    octant = geometries.octant_of(grid)
    if octant is None or printable_voxels.keeps_pieces(psi, octant):
        return ()
    return (
        f"{name}: smoothing changes the pieces of solid or void, or their paths "
        "through the cell: the surface lacks walls and gaps under two voxels.",
    )


def _printability(grid, threshold, psi):
    """Return what a printer asks, and whether surface or voxels told it."""
    solid = (grid.density > threshold).astype(grid.density.dtype)
    octant = geometries.octant_of(dataclasses.replace(grid, density=solid))
    if psi is None and octant is not None:
        psi = printable_voxels.faithful_field(octant)
    if psi is not None:
        # The grid of larger fields is not finer than their samples.
        m = 2 * min(len(psi), geometries.FINEST)
        return printable.printability(psi, m=max(m, len(psi))), "surface"
    cell = to_cubes(grid.cell > threshold, grid.edges)
    found = printable_voxels.printability_of_voxels(cell, window=grid.is_window)
    return found, "voxels"


def characterize(
    cell,
    *,
    base_E: float = 1.0,
    base_nu: float = elasticity.NU,
    threshold: float = 0.5,
    geometry: str = "voxels",
    refine: str = "auto",
    cell_size_mm: float = 10.0,
    **options,
) -> dict[str, Any]:
    """Return the effective properties of a cell as plain numbers.

    Args:
      cell: (nx, ny, nz) densities from 0 (void) to 1 (solid) of a whole cell, or labels
        of its phases, or what has such an array as its `voxels`, and maybe the field
        `psi` of its octant.
      base_E: Young's modulus of the solid; all stiffness is in its unit.
      base_nu: Poisson's ratio of the solid.
      threshold: density above which a voxel counts as solid for pieces, axes and walls.
      geometry: "voxels", or "surface" for the smoothed object, which mirror-symmetric
        cells of solid and void have, with an uncertainty.
      refine: whether the voxels are also solved on a mesh twice as fine: "auto" where
        they are solid and void and not too many, "always" or "never".
      cell_size_mm: edge of the printed cell along x.
      **options: `boundary`, "periodic" for cells and "mirrored", "mixed" or "kinematic"
        for windows of a material; `voxel`, edges of a voxel along x, y and z, of which
        the ratios count; `phases`, materials of labels such as "0:void;1:210,0.3";
        `resize`, edge to resample the cell to; `base_k`, conductivity of the solid, for
        that of the cell; and of the solver `void` (modulus as a
        fraction of solid), `tol` and `maxiter` as for `mmdiff.homogenize`, and `dtype`,
        "float32" or "float64".

    Returns:
      the tensor "C" (6x6, Voigt order 11 22 33 23 13 12, engineering shear) and its
      inverse "S"; the constants "C11", "C12", "C44" and moduli "K", "G", "E", "nu",
      "Zener" of the closest cubic tensor; "averages", "engineering" constants and
      extremes "E_min", "E_max"; the shares "HS" of the Hashin-Shtrikman bounds;
      "volume", "pieces", "spans", "load_bearing"; "refined", the constants on a mesh
      twice as fine and the "mesh_error"; "uncertainty", that of a surface's constants;
      "printability": pieces, trapped void, walls and gaps in mm and voxels, overhang;
      thickness "wall_voxels" and "gap_voxels"; "residual" and "converged"; "notes",
      sentences on what is unusual; and more, see `properties.CONVENTIONS`. Numbers that
      do not exist are None.

    Raises:
      InputError: a wrong shape or value, or no surface where it is asked for.

    Example:
      >>> found = mm.characterize(np.ones((16, 16, 16)), base_E=210.0)
      >>> print(f"{found['E']:.4g} {found['nu']:.2f}, {found['pieces']} piece")
      210 0.30, 1 piece
      >>> found["printability"]["pieces"], found["printability"]["trapped"]
      (1, 0.0)
    """
    names = [field.name for field in dataclasses.fields(prepare.Options)]
    reading = {name: options.pop(name) for name in names if name in options}
    void, k = options.pop("void", homogenize.VOID), options.pop("base_k", 0.0)
    material = Material(base_E, base_nu, void, k=k)
    settings = Solver(**options)
    chosen = Geometry(geometry=geometry, refine=refine, cell_size_mm=cell_size_mm)
    how = prepare.Options(threshold=threshold, **reading)
    grid = prepare.prepare(np.asarray(getattr(cell, "voxels", cell)), "cell", how)
    found = analyse(
        grid,
        "cell",
        material,
        settings,
        chosen,
        threshold=threshold,
        psi=getattr(cell, "psi", None),
    )
    mode = "wrap" if grid.symmetry == "periodic" else "symmetric"
    solid = to_cubes(grid.density > threshold, grid.edges)
    walls = thickness.feature_size(solid, mode=mode)
    unit = min(grid.edges)  # so many edges along x is one of the cubes
    return {
        **found.values,
        "wall_voxels": plain({k: unit * v for k, v in walls.solid._asdict().items()}),
        "gap_voxels": plain({k: unit * v for k, v in walls.void._asdict().items()}),
        **dataclasses.asdict(settings),
        "notes": found.notes,
    }
