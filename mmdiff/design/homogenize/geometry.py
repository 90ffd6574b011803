"""Which object is homogenized: voxels as they are, on a finer mesh, or their surface.

One trilinear element per voxel is too stiff; the same voxels on a mesh twice as fine
tell by how much. The surface is the smooth one of a level-set field of the octant
(`cells.surface`), which mirror-symmetric cells of solid and void have; its tensor is
extrapolated from two grids (`fem.accuracy`).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from mmdiff.cells import prepare, surface
from mmdiff.cells.prepare import Grid
from mmdiff.cells.symmetry import is_cubic
from mmdiff.design.homogenize import printable_voxels
from mmdiff.design.homogenize.solution import Material, Solution, Solver, solve
from mmdiff.elasticity import cubic_to_voigt, orthotropic_to_voigt, voigt_to_cubic
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import accuracy, boundary
from mmdiff.typing import Float

KINDS = ("voxels", "surface")
REFINE = ("auto", "always", "never")
# Of the finer mesh: the octant of a 128^3 cell with its two loads is still refined.
MOST_UNKNOWNS = 2 * 128**3
# Where C11 C22 C33 C23 C13 C12 C44 C55 C66 stand.
_NINE = ((0, 1, 2, 1, 0, 0, 3, 4, 5), (0, 1, 2, 2, 2, 1, 3, 4, 5))
FINEST = 64  # elements along the octant, of the coarser grid of a surface


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """What is homogenized, one of `KINDS`, and the printed edge of the cell.

    `refine`, one of `REFINE`, says whether a mesh twice as fine is solved too: "auto"
    for voxels of 0 and 1 where elements times loads are at most `MOST_UNKNOWNS`.
    """

    geometry: str = "voxels"
    refine: str = "auto"
    cell_size_mm: float = 10.0

    def __post_init__(self):
        """Refuse unknown words and edges that no cell has."""
        for key, known in (("geometry", KINDS), ("refine", REFINE)):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"{key}={value} is unknown. Use {', '.join(known)}.")
        check_ranges(vars(self), {"cell_size_mm": "(0, inf) mm"})


class OfSurface(NamedTuple):
    """A homogenized surface, in units of the base modulus.

    Attributes:
      grid: solid shares on the coarse grid.
      solution: extrapolated tensor; convergence of the fine, fields of the coarse grid.
      doubt: half width of the interval that holds each entry of the tensor.
      cubic_doubt: the same of C11, C12, C44 of the closest cubic tensor.
    """

    grid: Grid
    solution: Solution
    doubt: Float[np.ndarray, "6 6"]
    cubic_doubt: Float[np.ndarray, "3"]


def is_binary(grid: Grid) -> bool:
    """Whether all voxels are solid or void."""
    return bool(np.isin(grid.density, (0, 1)).all())


def is_cube(grid: Grid) -> bool:
    """Whether a grid is a cubic cell of one solid, which may have a surface."""
    one = grid.phases is None and not grid.is_window
    return one and len(set(grid.density.shape)) == len(set(grid.edges)) == 1


def refinable(grid: Grid, refine: str, name: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether the finer mesh of a grid is solved, and what to say if not."""
    if refine != "auto" or not is_binary(grid):
        return refine == "always", ()
    loads = len(boundary.loads(grid.symmetry).voigt)
    if 8 * grid.density.size * loads <= MOST_UNKNOWNS:
        return True, ()
    shape = " x ".join(str(2 * n) for n in grid.density.shape)
    note = (
        f"{name}: not solved on a mesh twice as fine, which takes {shape} elements "
        f"and {loads} loads. Pass `refine=always` to do so."
    )
    return False, (note,)


def solve_refined(grid: Grid, material: Material, solver: Solver) -> Solution:
    """Homogenize a grid with each of its voxels split into 2^3 elements."""
    fine = dataclasses.replace(
        grid,
        density=_divided(grid.density),
        labels=None if grid.labels is None else _divided(grid.labels),
    )
    return solve(fine, material, solver)


def _divided(voxels):
    """Return voxels with each divided into 2^3."""
    for axis in range(3):
        voxels = voxels.repeat(2, axis)
    return voxels


def octant_of(grid: Grid) -> Float[np.ndarray, "n n n"] | None:
    """Return the octant of a mirror-symmetric cube of solid and void, else None."""
    if not is_binary(grid) or not is_cube(grid):
        return None
    if grid.is_octant:
        return grid.density
    octant, found = prepare.find_symmetry(grid.density)
    return None if found == "periodic" else octant


def field_of(grid: Grid, name: str) -> Float[np.ndarray, "n n n"]:
    """Return the level-set field of a cell's octant.

    Raises:
      InputError: the cell has none.
    """
    octant = octant_of(grid)
    if not is_binary(grid):
        problem = "holds densities between 0 and 1"
        advice = "`binarize=true` to take those above `threshold` for solid"
    elif grid.phases is not None:
        problem, advice = "has phases", "a cell of one solid and void"
    elif octant is None:
        problem = "is no cube that is mirror-symmetric about the middle of each axis"
        advice = "a cell that is"
    elif octant.all():
        problem, advice = "is solid everywhere", "a cell with void"
    else:
        return surface.from_voxels(octant, printable_voxels.samples(len(octant)))
    raise InputError(
        f"{name} {problem}, so it has no surface here. Pass {advice}, or "
        "`geometry=voxels`."
    )


def solve_surface(
    psi: Float[np.ndarray, "n n n"],
    material: Material,
    solver: Solver,
    *,
    fields: tuple[str, ...] = (),
) -> OfSurface:
    """Homogenize the surface of a field on two grids of its octant."""
    psi = np.asarray(psi, np.float64)
    cubic, linear = is_cubic(psi), dataclasses.replace(material, penal=1.0)
    symmetry = "cubic" if cubic else "orthotropic"
    edge = max(min(len(psi), FINEST), prepare.LEAST)
    grids = [
        Grid(surface.fractions(psi, m, cubic=cubic), symmetry) for m in (edge, 2 * edge)
    ]
    coarse = solve(grids[0], linear, solver, fields=fields)
    fine = solve(grids[1], linear, solver)
    tensor, doubt, cubic_doubt = _extrapolate(coarse.tensor, fine.tensor, cubic)
    solution = dataclasses.replace(fine, tensor=tensor, fields=coarse.fields)
    return OfSurface(grids[0], solution, doubt, cubic_doubt)


def _extrapolate(coarse, fine, cubic):
    """Return the limit of tensors on two grids, its doubt, and that of C11, C12, C44.

    All constants count together, so that only independent ones may be among them.
    """
    limit, doubt = accuracy.extrapolate(voigt_to_cubic(coarse), voigt_to_cubic(fine))
    if cubic:
        return cubic_to_voigt(limit), cubic_to_voigt(doubt), doubt
    nine = accuracy.extrapolate(coarse[_NINE], fine[_NINE])
    return *map(orthotropic_to_voigt, nine), doubt
