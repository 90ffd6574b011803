"""A named lattice, homogenized as the object that is printed.

Lattices with mirror planes have a field of the octant, and are analysed as any other
surface. Gyroid and diamond are sampled in the whole cell: two grids of it, each element
with the modulus of its solid share, give the tensor and its uncertainty.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import lattices, surface
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import characterize, printable_voxels, properties
from mmdiff.design.homogenize.geometry import Geometry, OfSurface
from mmdiff.design.homogenize.solution import Material, Solver, solve
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.typing import Float, UInt8

COARSE = 32  # elements along the whole cell at most, of the coarser of two grids


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which member of a family of lattices.

    Attributes:
      name: one of `lattices.NAMES`.
      volume: solid share, where `thickness` is 0,
      thickness: or that of struts, plates or sheet in cell edges.
      samples: along the octant.
    """

    name: str
    volume: float = 0.3
    thickness: float = 0.0
    samples: int = 32

    @functools.cached_property
    def parameter(self) -> float:
        """Parameter of the lattice; InputError where there is none such."""
        if self.name not in lattices.MIRRORED and self.samples > 2 * COARSE:
            raise InputError(
                f"{self.name} has no mirror planes and is solved on {2 * COARSE}^3 "
                f"elements of the whole cell: {self.samples} samples along half of it "
                f"hold walls that these do not. Set `samples` to {2 * COARSE} or less."
            )
        n = self.samples
        if self.thickness:
            return lattices.parameter_of_thickness(self.name, self.thickness, n)
        return lattices.parameter(self.name, self.volume, n)


class Found(NamedTuple):
    """A homogenized lattice.

    Attributes:
      choice: which one.
      analysis: see `characterize.analyse`.
      voxels: of the whole cell, 1 solid.
      box: without mirror planes, the field at the corners of these; else None.
    """

    choice: Choice
    analysis: characterize.Analysis
    voxels: UInt8[np.ndarray, "m m m"]
    box: Float[np.ndarray, "c c c"] | None


def analyse(
    choice: Choice,
    material: Material,
    solver: Solver,
    *,
    cell_size_mm: float = 10.0,
    resolution: int = 128,
    fields: tuple[str, ...] = (),
) -> Found:
    """Homogenize a lattice; `resolution` is that of its voxels.

    Raises:
      InputError: an unknown name, or a volume or thickness that the lattice cannot
        have.
    """
    material = dataclasses.replace(material, penal=1.0)
    run = _of_octant if choice.name in lattices.MIRRORED else _of_box
    return run(choice, material, solver, cell_size_mm, resolution, fields)


def _of_octant(choice, material, solver, size_mm, resolution, fields):
    psi = lattices.octant(choice.name, choice.parameter, choice.samples)
    octant = surface.voxels(psi, resolution // 2)
    if not octant.any() or octant.all():
        raise InputError(f"{choice.name} has no surface. Take another volume.")
    grid = Grid(octant.astype(np.float32), "cubic")
    chosen = Geometry(geometry="surface", refine="never", cell_size_mm=size_mm)
    options = {"fields": fields, "psi": psi}
    found = characterize.analyse(grid, choice.name, material, solver, chosen, **options)
    return Found(choice, found, grid.cell.astype(np.uint8), None)


def _of_box(choice, material, solver, size_mm, resolution, fields):
    name, value, n = choice.name, choice.parameter, choice.samples
    edge = min(n, COARSE)
    grids = [
        Grid(lattices.box_shares(name, value, m, n).astype(np.float32), "periodic")
        for m in (edge, 2 * edge)
    ]
    coarse = solve(grids[0], material, solver, fields=fields)
    fine = solve(grids[1], material, solver)
    cubic = [elasticity.voigt_to_cubic(found.tensor) for found in (coarse, fine)]
    limit, doubt = accuracy.extrapolate(*cubic, accuracy.COARSE_RULE)
    tensor, spread = map(elasticity.cubic_to_voigt, (limit, doubt))
    both = fine.converged & coarse.converged
    solution = dataclasses.replace(
        fine, tensor=tensor, fields=coarse.fields, converged=both
    )
    voxels = sample_box(choice, resolution) > 0
    binary = Grid((sample_box(choice, 2 * edge) > 0).astype(np.float32), "periodic")
    printed = printable_voxels.printability_of_voxels(voxels)
    values: dict[str, Any] = {
        # Pieces and paths are those of the fine grid, which sees all walls.
        **properties.summarize(grids[1], solution, material),
        "resolution": edge,
        "shape": [*grids[0].density.shape],
        "geometry": "surface",
        "C_voxels": properties.constants(solve(binary, material, solver).tensor),
        "refined": None,
        "printability": properties.of_print(printed, "voxels", size_mm, resolution),
        **properties.of_surface(OfSurface(grids[0], solution, spread, doubt)),
        "coarse_elements": edge,
        "cell_size_mm": size_mm,
        "peak_stress": properties.peak_stress(grids[0], solution),
    }
    values["conductivity"], notes = characterize.conductivity(
        grids[0], name, material, solver
    )
    found = characterize.Analysis(grids[0], solution, None, values, [*notes])
    corners = sample_box(choice, resolution, corners=True)
    return Found(choice, found, voxels.astype(np.uint8), corners)


def sample_box(
    choice: Choice, m: int, *, corners: bool = False
) -> Float[np.ndarray, "k k k"]:
    """Return the field at the centres of m^3 voxels of the cell, or their corners."""
    along = np.arange(m + 1) / m if corners else (np.arange(m) + 0.5) / m
    points = lattices.make_points(along, along, along, choice.samples)
    return lattices.sample(choice.name, choice.parameter, points)
