"""Whether a slicer can take a mesh: closed, consistently wound, not through itself."""

import dataclasses

import numpy as np

from mmdiff.cells.mesh import mesh_volume
from mmdiff.design.export.crossings import count_crossings
from mmdiff.typing import Float, Int


@dataclasses.dataclass(frozen=True)
class MeshCheck:
    """What is known of a mesh in millimetres.

    Attributes:
      triangles: their number.
      open_edges: edges of one triangle only.
      crowded_edges: edges of more than two triangles.
      flipped_edges: edges that two triangles run through in the same direction.
      closed: whether there are no open and no crowded edges.
      oriented: whether there are no flipped edges and the solid is inside.
      degenerate: triangles without area.
      self_intersections: pairs of triangles that pass through each other.
      volume_mm3: volume enclosed.
      area_mm2: area of the surface.
    """

    triangles: int
    open_edges: int
    crowded_edges: int
    flipped_edges: int
    closed: bool
    oriented: bool
    degenerate: int
    self_intersections: int
    volume_mm3: float
    area_mm2: float

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.closed and self.oriented and not self.self_intersections


def check_mesh(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> MeshCheck:
    """Return what a slicer asks of a mesh.

    Example:
      >>> corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
      >>> faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
      >>> found = check_mesh(corners, faces)
      >>> found.is_sound, round(6 * found.volume_mm3, 6)
      (True, 1.0)
      >>> check_mesh(corners, faces[:3]).open_edges
      3
    """
    count, flipped = edge_counts(faces)
    a, b, c = (np.asarray(vertices, np.float64)[faces[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    volume = mesh_volume(np.asarray(vertices), faces)
    opened, crowded = int((count == 1).sum()), int((count > 2).sum())
    return MeshCheck(
        triangles=len(faces),
        open_edges=opened,
        crowded_edges=crowded,
        flipped_edges=flipped,
        closed=not opened and not crowded,
        oriented=not flipped and (volume > 0 or not len(faces)),
        degenerate=int((areas == 0).sum()),
        self_intersections=count_crossings(vertices, faces),
        volume_mm3=volume,
        area_mm2=float(areas.sum()),
    )


def edge_counts(faces: Int[np.ndarray, "f 3"]) -> tuple[Int[np.ndarray, "e"], int]:
    """Return the number of triangles at each edge, and how many edges are flipped.

    An edge of two triangles is flipped where both run through it in one direction.
    """
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    size = int(faces.max(initial=0)) + 1
    key = np.minimum(start, end).astype(np.int64) * size + np.maximum(start, end)
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    turns = np.bincount(inverse, np.where(start < end, 1, -1), len(count))
    return count, int(((count == 2) & (turns != 0)).sum())


def is_closed(faces: Int[np.ndarray, "f 3"]) -> bool:
    """Return whether each edge has two triangles that run through it both ways."""
    count, flipped = edge_counts(faces)
    return bool((count == 2).all()) and not flipped
