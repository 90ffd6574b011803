"""Cells side by side as one body: voxels, and a mesh without walls between them.

Of a level-set field the mesh of one cell is repeated: its caps are left out where
copies meet, and their rims become one, as the faces of a cell are mirror images.
"""

import dataclasses
import math

import numpy as np

from mmdiff import memory
from mmdiff.cells import mesh
from mmdiff.design.export.source import Source
from mmdiff.errors import InputError
from mmdiff.io import cell_files
from mmdiff.typing import Float, Int, UInt8

MOST_POINTS = 2e8  # voxels of a block
BYTES = 60  # of a voxel while a block is meshed
TRIANGLE = 500  # bytes at least of a triangle while copies are joined and checked


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """A body to export; lengths in mm.

    Attributes:
      name: of the cell or family.
      voxels: 1 solid; cubes.
      spacing: edge of a voxel.
      vertices: of the mesh.
      faces: its triangles, wound outward.
      notes: what the user should know.
    """

    name: str
    voxels: UInt8[np.ndarray, "nx ny nz"]
    spacing: float
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[float, float, float]:
        """Edges of its box."""
        return tuple(n * self.spacing for n in self.voxels.shape)


def check_size(shape: tuple[int, ...], tiles: tuple[int, ...]) -> None:
    """Raise for a block of more voxels than can be meshed."""
    total = math.prod(n * count for n, count in zip(shape, tiles, strict=True))
    text = " x ".join(map(str, tiles))
    if total > MOST_POINTS:
        raise InputError(
            f"tiles={tiles} of {' x '.join(map(str, shape))} voxels are {total:.2g} "
            "voxels, too many for one block. Lower `tiles` or `resolution`."
        )
    memory.require(BYTES * total, f"meshing {text} cells", "Lower `tiles`.")


def make_block(source: Source, tiles: tuple[int, int, int], size_mm: float) -> Block:
    """Return copies of a cell side by side.

    Args:
      source: the cell.
      tiles: copies along x, y and z.
      size_mm: edge of a cell along x.
    """
    check_size(source.voxels.shape, tiles)
    voxels = np.tile(source.voxels, tiles)
    spacing = size_mm / source.voxels.shape[0]
    total, missing = spacing * voxels.shape[0], []
    if source.exact:
        vertices, faces = mesh.voxel_surface(voxels, total)
    elif source.psi is not None:
        *one, missing = cell_files.surface_of(source.voxels, source.psi, size_mm)
        memory.require(
            TRIANGLE * len(one[1]) * math.prod(tiles),
            f"a mesh of {' x '.join(map(str, tiles))} cells of {len(one[1])} triangles",
            "Lower `tiles`.",
        )
        vertices, faces = (
            mesh.voxel_surface(voxels, total)
            if missing
            else repeated(*one, tiles, size_mm)
        )
    else:
        box = None if source.box is None else tiled(source.box, tiles)
        vertices, faces, missing = cell_files.surface_of(voxels, None, total, box=box)
    notes = (*source.notes, *missing)
    return Block(source.name, voxels, spacing, vertices, faces, notes)


def tiled(
    box: Float[np.ndarray, "x y z"], tiles: tuple[int, int, int]
) -> Float[np.ndarray, "mx my mz"]:
    """Return the field of copies of a periodic box that share their faces.

    Example:
      >>> tiled(np.arange(3.0).reshape(3, 1, 1) % 2, (2, 1, 1))[:, 0, 0]
      array([0., 1., 0., 1., 0.])
    """
    for axis, count in enumerate(tiles):
        inner = box.take(range(box.shape[axis] - 1), axis)
        last = box.take([-1], axis)
        box = np.concatenate([inner] * count + [last], axis) if count > 1 else box
    return box


def repeated(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    tiles: tuple[int, int, int],
    size_mm: float,
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
    """Return the mesh of copies of a cell whose faces are mirror images.

    Args:
      vertices: of one cell in [0, size_mm]^3, capped on its faces.
      faces: its triangles.
      tiles: copies along x, y and z.
      size_mm: edge of the cell.

    Returns:
      vertices and faces, closed where those of the cell are.
    """
    points = np.asarray(vertices, np.float64)
    ends = abs(points - size_mm) <= 1e-6 * size_mm
    points = np.where(ends, size_mm, points)
    for axis, count in enumerate(tiles):
        if count == 1:
            continue
        low = (points[faces, axis] == 0).all(1)
        high = (points[faces, axis] == size_mm).all(1)
        parts, corners = [], []
        for i in range(count):
            inner = (low & (i > 0)) | (high & (i < count - 1))
            shifted = points.copy()
            shifted[:, axis] += i * size_mm
            corners.append(faces[~inner] + i * len(points))
            parts.append(shifted)
        points, index = np.unique(np.concatenate(parts), axis=0, return_inverse=True)
        faces = index.reshape(-1)[np.concatenate(corners)]
    used, index = np.unique(faces, return_inverse=True)
    faces = index.reshape(faces.shape)
    return points[used].astype(np.float32), faces.astype(np.int32)
