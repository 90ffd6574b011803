"""Fill closed surfaces (STL, 3MF, OBJ, PLY) with voxels.

A voxel is solid if its centre lies inside: along the line of centres in z bodies are
entered and left. The box of the surface is the cell.
"""

import math
import pathlib

import numpy as np

from mmdiff import apart, memory
from mmdiff.errors import InputError
from mmdiff.io.read_volumes import load_surface, require
from mmdiff.typing import Bool, Float, Int

_BYTES = 14  # of a voxel while it is filled
# Lines pass beside the corners and edges of surfaces that lie on the voxels.
ASIDE = (3.1e-6, 5.7e-6)


def read_mesh(
    path: pathlib.Path, *, key: str = "", voxels: int = 64
) -> tuple[np.ndarray, dict]:
    """Read a surface and fill it, with so many voxels along its longest edge."""
    require("trimesh", path)
    (points, faces), _ = apart.read(load_surface.__module__, "load_surface", path)
    low, size = points.min(0), np.ptp(points, axis=0)
    if not (np.isfinite(size).all() and size.min() > 0):
        raise InputError(
            f"{path.name} is flat or not finite: its box is {size.tolist()}. Export "
            "the solid again."
        )
    edge = size.max() / voxels
    shape = tuple(max(1, round(length / edge)) for length in size.tolist())
    what = f"filling {path.name} with {' x '.join(map(str, shape))} voxels"
    memory.require(_BYTES * math.prod(shape), what, "Set `mesh_voxels` lower.")
    scaled = (points - low) / (size / shape)
    inside = fill(scaled, faces, shape)
    spacing = (size / shape).tolist()
    box = " x ".join(f"{length:.4g}" for length in size)
    note = (
        f"{path.name}: its box of {box} is taken for the cell and filled with "
        f"{' x '.join(map(str, shape))} voxels."
    )
    return inside.astype(np.uint8), {"spacing": spacing, "notes": [note]}


def fill(
    points: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    shape: tuple[int, int, int],
) -> Bool[np.ndarray, "nx ny nz"]:
    """Return the voxels whose centres lie inside a closed surface.

    Args:
      points: vertices, in voxels: the box is [0, nx] x [0, ny] x [0, nz].
      faces: triangles.
      shape: voxels along x, y and z.

    Example:
      >>> corners = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4]], float)
      >>> faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
      >>> int(fill(corners, faces, (4, 4, 4)).sum())  # of 4^3 / 6 = 10.7
      10
    """
    nx, ny, nz = shape
    # Each crossing of a line of centres changes how often all voxels above it are
    # enclosed: bodies may overlap, and pores are bodies turned inside out.
    turns = np.zeros((nx, ny, nz + 1), np.int32)
    place = points - 0.5 - np.array([*ASIDE, 0])
    for corners in place[faces]:
        low = np.maximum(np.ceil(corners[:, :2].min(0)).astype(int), 0)
        high = np.minimum(np.floor(corners[:, :2].max(0)).astype(int), (nx - 1, ny - 1))
        if (low > high).any():
            continue
        x, y = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0:  # seen from its edge
            continue
        first = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
        second = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
        third = 1 - first - second
        hit = (first >= 0) & (second >= 0) & (third >= 0)
        height = first * az + second * bz + third * cz
        above = np.clip(np.ceil(height[hit]).astype(int), 0, nz)
        np.add.at(turns, (x[hit], y[hit], above), -int(np.sign(area)))
    return turns.cumsum(2)[:, :, :nz] > 0
