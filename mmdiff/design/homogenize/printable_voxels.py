"""What a printer asks of voxels that no level-set field stands for.

Pieces and pores are counted on the voxels themselves, through the faces of the periodic
cell. Walls and gaps are those of `cells.thickness`, to about a voxel; overhangs those
of a lightly smoothed surface. A smooth mirror-symmetric cell has a field that tells
all this to a fraction of a voxel: see `faithful_field` and `cells.printable`.
"""

import numpy as np
from scipy import ndimage

from mmdiff.cells import surface, thickness
from mmdiff.cells.connectivity import (
    PeriodicPieces,
    mirror_pieces,
    winding_pieces,
)
from mmdiff.cells.printable import STEEP, Grid, Printability, find_surface
from mmdiff.typing import Float, Shaped

MOST_SAMPLES = 64  # along the octant, of fields of larger cells


def faithful_field(
    octant: Shaped[np.ndarray, "m m m"],
) -> Float[np.ndarray, "n n n"] | None:
    """Return the field of a binary octant; None if it does not keep the voxels' pieces.

    Smoothing cuts walls of one voxel and closes pinholes: then it tells of another
    cell. What is all solid or all void has no surface at all.
    """
    solid = np.asarray(octant) > 0.5
    if solid.all() or not solid.any():
        return None
    psi = surface.from_voxels(solid, samples(len(solid)))
    return psi if keeps_pieces(psi, solid) else None


def keeps_pieces(
    psi: Float[np.ndarray, "n n n"], octant: Shaped[np.ndarray, "m m m"]
) -> bool:
    """Whether a field has as many pieces of solid and void as voxels, and their paths.

    Paths are the axes along which a phase runs on through the repeated cell.
    """
    solid = np.asarray(octant) > 0.5
    smooth = surface.voxels(psi, len(solid)) > 0

    def hang_together(phase):
        pieces = mirror_pieces(phase)
        return [pieces.copies.sum(), *pieces.ends.all(2).any(0)]

    return all(
        hang_together(one) == hang_together(other)
        for one, other in ((solid, smooth), (~solid, ~smooth))
    )


def samples(m: int) -> int:
    """Return how many samples the field of an octant of m voxels has, a divisor."""
    n = next(n for n in range(min(m, MOST_SAMPLES), 0, -1) if m % n == 0)
    return n if 2 * n >= MOST_SAMPLES else m


def printability_of_voxels(
    cell: Shaped[np.ndarray, "mx my mz"], *, window: bool = False
) -> Printability:
    """Return what a printer asks of a whole, periodic cell, built along z.

    Args:
      cell: solid above 0.5; at least 3 voxels per side.
      window: the voxels are not repeated; void that reaches a face is open.

    Example:
      >>> plate = np.zeros((8, 8, 8))
      >>> plate[:, :, 2:4] = 1
      >>> found = printability_of_voxels(plate)
      >>> (found.pieces, found.wall * 8, found.gap * 8, found.overhang)
      (1, 2.0, 6.0, 0.5)
    """
    solid = np.asarray(cell) > 0.5
    find = window_pieces if window else winding_pieces
    pieces, void = find(solid), find(~solid)
    walls = thickness.feature_size(solid, mode="symmetric" if window else "wrap")
    closed = ~void.winds.any(1)
    return Printability(
        pieces=len(pieces.sizes),
        loose=float(1 - pieces.sizes.max() / solid.sum()) if solid.any() else 0.0,
        void_pieces=len(void.sizes),
        trapped=float(void.sizes[closed].sum() / max(void.sizes.sum(), 1)),
        wall=walls.solid.minimum / len(solid),
        gap=walls.void.minimum / len(solid),
        overhang=_overhang(solid, "nearest" if window else "wrap"),
    )


def window_pieces(phase: Shaped[np.ndarray, "mx my mz"]) -> PeriodicPieces:
    """Return the pieces of a window, and along which axes each reaches a face."""
    labels, count = ndimage.label(phase)
    ends = np.zeros((count + 1, 3), bool)
    for axis in range(3):
        for place in (0, -1):
            ends[np.unique(labels.take(place, axis)), axis] = True
    return PeriodicPieces(
        np.bincount(labels.ravel(), minlength=count + 1)[1:], ends[1:]
    )


def _overhang(solid, mode) -> float:
    """Return the share of the surface that faces down at less than 45 degrees."""
    mean = ndimage.gaussian_filter(2.0 * solid - 1, surface.SIGMA, mode=mode)
    value = np.pad(mean, 2, mode="edge" if mode == "nearest" else mode)
    slope = np.stack(np.gradient(value))[:, 1:-1, 1:-1, 1:-1]
    found = find_surface(Grid(value[1:-1, 1:-1, 1:-1], slope, 1.0))
    down = found.areas[found.normals[:, 2] > STEEP].sum()
    return float(down / max(found.areas.sum(), 1e-12))
