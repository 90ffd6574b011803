"""Fill closed surfaces (STL, 3MF, OBJ, PLY) with voxels.

A voxel is solid if its centre lies inside: along the line of centres in z bodies are
entered and left. The box of the surface is the cell.
"""

import io
import pathlib

import numpy as np

from mmdiff.errors import InputError
from mmdiff.typing import Bool, Float, Int

# Lines pass beside the corners and edges of surfaces that lie on the voxels.
ASIDE = (3.1e-6, 5.7e-6)


def read_mesh(
    path: pathlib.Path, *, key: str = "", voxels: int = 64
) -> tuple[np.ndarray, dict]:
    """Read a surface and fill it, with so many voxels along its longest edge."""
    try:
        import trimesh
    except ImportError as error:
        raise InputError(
            f"{path.name}: {path.suffix} files need trimesh. Install it with pip "
            "install 'mmdiff[formats]'."
        ) from error
    try:
        # Of its content, not its name: files that it names are not opened.
        content = io.BytesIO(path.read_bytes())
        mesh = trimesh.load_mesh(content, file_type=path.suffix[1:].lower())
    except ImportError as error:  # what it needs for some formats
        raise InputError(
            f"{path.name}: {error}. Install what {path.suffix} files need with pip "
            "install 'mmdiff[formats]'."
        ) from error
    if len(mesh.faces) == 0:
        raise InputError(f"{path.name} holds no triangles. Export the solid again.")
    if not mesh.is_watertight:
        raise InputError(
            f"{path.name} is no closed surface, so what is inside is not defined. "
            "Repair it, for example with trimesh.repair.fill_holes, or export the "
            "solid again."
        )
    if mesh.volume < 0:
        mesh.invert()
    points = np.asarray(mesh.vertices, np.float64)
    low, size = points.min(0), np.ptp(points, axis=0)
    edge = size.max() / voxels
    shape = tuple(max(1, round(length / edge)) for length in size.tolist())
    scaled = (points - low) / (size / shape)
    inside = fill(scaled, np.asarray(mesh.faces), shape)
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
