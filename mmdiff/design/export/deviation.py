"""How far two surfaces are apart, both ways.

Points all over one mesh, on a lattice in each triangle, are measured to the other: to
the triangles that its nearest points belong to, so never less than the true distance
of that point. The largest of them, both ways, is the deviation.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from mmdiff.typing import Float, Int

NEAREST = 24  # points of the other mesh whose triangles are measured to
CLOSELY = 2000  # points at once that are
MOST_POINTS = 4_000_000  # on one mesh
CHUNK = 100_000


class Deviation(NamedTuple):
    """Largest distances between two meshes, in mm.

    Attributes:
      there: of points of the first from the second.
      back: of points of the second from the first.
      spacing: largest distance of neighbouring points in a triangle.
      points: number of them on both.
    """

    there: float
    back: float
    spacing: float
    points: int

    @property
    def largest(self) -> float:
        """The larger of both ways."""
        return max(self.there, self.back)


class _Sampled(NamedTuple):
    """A mesh with points on it, and the triangle of each."""

    corners: Float[np.ndarray, "f 3 3"]
    points: Float[np.ndarray, "p 3"]
    owner: Int[np.ndarray, "p"]


def deviation(
    first: tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]],
    second: tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]],
    spacing: float,
) -> Deviation:
    """Return how far two meshes are apart, by points of about a spacing.

    Args:
      first: vertices and faces.
      second: those of the other mesh.
      spacing: most distance of neighbouring points; larger where they would be too
        many.

    Example:
      >>> corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
      >>> faces = np.array([[0, 1, 2]])
      >>> found = deviation((corners, faces), (corners + [0, 0, 0.25], faces), 0.1)
      >>> found.there, found.back
      (0.25, 0.25)
    """
    meshes = [(np.asarray(v, np.float64), f) for v, f in (first, second)]
    for points, faces in meshes:
        area = np.linalg.norm(_normals(points[faces]), axis=1).sum() / 2
        spacing = max(spacing, float(np.sqrt(2 * area / MOST_POINTS)))
    one, other = (_sampled(*mesh, spacing) for mesh in meshes)
    there, back = _farthest(one.points, other), _farthest(other.points, one)
    count = len(one.points) + len(other.points)
    return Deviation(there, back, spacing, count)


def _normals(corners):
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _sampled(vertices, faces, spacing) -> _Sampled:
    """Return vertices and middles of a mesh, and more points on larger triangles."""
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    order = np.maximum(np.ceil(longest / spacing).astype(int), 1)
    used, place = np.unique(faces, return_index=True)
    # A vertex stands for one of its triangles, the middle for each of them.
    points = [vertices[used], corners.mean(1)]
    owner = [place // 3, np.arange(len(faces))]
    for q in np.unique(order[order > 1]):
        which = np.flatnonzero(order == q)
        i, j = (part.ravel() for part in np.mgrid[:q, :q])
        keep = (i + j <= q) & (i + j > 0)
        weights = np.stack([i, j, q - i - j], 1)[keep] / q
        points.append(np.einsum("kc,fci->fki", weights, corners[which]).reshape(-1, 3))
        owner.append(np.repeat(which, len(weights)))
    return _Sampled(corners, np.concatenate(points), np.concatenate(owner))


def _farthest(points, mesh: _Sampled) -> float:
    """Return the largest distance of points from a mesh."""
    tree = cKDTree(mesh.points)
    parts = [
        _nearest(points[start : start + CHUNK], tree, mesh, 1)
        for start in range(0, len(points), CHUNK)
    ]
    bound = np.concatenate(parts)
    # One triangle bounds the distance from above: only the farthest are looked at
    # closely, then what is bounded by more than the largest of them.
    order, most = np.argsort(-bound), 0.0
    for start in range(0, len(order), CLOSELY):
        which = order[start : start + CLOSELY]
        if bound[which[0]] <= most:
            break
        most = max(most, float(_nearest(points[which], tree, mesh, NEAREST).max()))
    return most


def _nearest(points, tree, mesh, count) -> Float[np.ndarray, "p"]:
    """Return the least distance of points from the triangles of some near points."""
    _, near = tree.query(points, min(count, len(mesh.points)))
    owners = mesh.owner[near.reshape(len(points), -1)]
    found = [distances(points, mesh.corners[column]) for column in owners.T]
    return np.min(found, axis=0)


def distances(
    points: Float[np.ndarray, "p 3"], corners: Float[np.ndarray, "p 3 3"]
) -> Float[np.ndarray, "p"]:
    """Return the distance of each point from its triangle.

    Example:
      >>> triangle = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], float)
      >>> distances(np.array([[0.25, 0.25, 2]]), triangle)
      array([2.])
    """
    normal = _normals(corners)
    square = _dot(normal, normal)
    height = _dot(points - corners[:, 0], normal) / np.sqrt(np.maximum(square, 1e-300))
    inside, edges = square > 0, np.full(len(points), np.inf)
    for k in range(3):
        start, along = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
        off = points - start
        inside &= _dot(np.cross(along, off), normal) >= 0
        length = np.maximum(_dot(along, along), 1e-300)
        gap = off - np.clip(_dot(off, along) / length, 0, 1)[:, None] * along
        edges = np.minimum(edges, _dot(gap, gap))
    return np.where(inside, abs(height), np.sqrt(edges))


def _dot(a, b):
    return np.einsum("pi,pi->p", a, b)
