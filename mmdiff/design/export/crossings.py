"""Triangles of a mesh that pass through each other.

Pairs whose boxes overlap are found on a grid of cubes and tested exactly, but for
rounding: an edge of one passes through the other, or both lie in one plane and overlap.
Triangles that only touch, as neighbours do along their edge, do not cross.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmdiff.typing import Bool, Float, Int

CUBE = 1.5  # edge of the grid's cubes, in mean extents of the triangles
TINY = 1e-13  # of a volume, relative to the cube of the distances, that counts as none
CHUNK = 400_000  # pairs that are tested at once
_NEXT = np.array([1, 2, 0])


def count_crossings(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> int:
    """Return the number of pairs of triangles that cross.

    Example:
      >>> flat = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]], float)
      >>> upright = np.array([[1, 1, -1], [1, 1, 1], [9, 9, 0]], float)
      >>> points, faces = np.concatenate([flat, upright]), np.arange(6).reshape(2, 3)
      >>> count_crossings(points, faces)
      1
    """
    if len(faces) < 2:
        return 0
    points = np.asarray(vertices, np.float64)
    # Vertices at one place are one: sheets that touch there share it.
    points, index = np.unique(points, axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    corners = points[faces]
    total = 0
    for one, other in near_pairs(corners.min(1), corners.max(1)):
        total += int(crossing(corners, faces, one, other).sum())
    return total


def near_pairs(
    low: Float[np.ndarray, "f 3"], high: Float[np.ndarray, "f 3"]
) -> Iterator[tuple[Int[np.ndarray, "p"], Int[np.ndarray, "p"]]]:
    """Yield the pairs of boxes that overlap, each once, in chunks.

    Args:
      low: least corners of the boxes.
      high: their greatest corners.
    """
    edge = CUBE * max((high - low).max(1).mean(), 1e-12)
    origin = low.min(0)
    first = np.floor((low - origin) / edge).astype(np.int64)
    last = np.floor((high - origin) / edge).astype(np.int64)
    owner, cube = _entries(first, last)
    order = np.argsort(cube, kind="stable")
    owner, cube = owner[order], cube[order]
    place = np.arange(len(owner))
    ends = np.searchsorted(cube, cube, side="right")
    partners = ends - place - 1  # entries of the same cube that follow
    base = last.max(0) + 1
    begin = 0
    sums = np.cumsum(partners)
    while begin < len(owner):
        done = sums[begin - 1] if begin else 0
        stop = max(int(np.searchsorted(sums, done + CHUNK, "right")), begin + 1)
        count = partners[begin:stop]
        left = np.repeat(place[begin:stop], count)
        starts = np.repeat(np.cumsum(count) - count, count)
        right = left + 1 + np.arange(len(left)) - starts
        one, other, there = owner[left], owner[right], cube[left]
        begin = stop
        meets = np.ones(len(one), bool)
        for k in range(3):  # one axis at a time: sums over three columns are slow
            meets &= low[one, k] <= high[other, k]
            meets &= low[other, k] <= high[one, k]
        one, other, there = one[meets], other[meets], there[meets]
        # Of the cubes that both lie in the lowest one counts.
        own = _number(np.maximum(first[one], first[other]), base) == there
        if own.any():
            yield one[own], other[own]


def _entries(first, last):
    """Return owner and number of each cube that a box lies in."""
    size = last - first + 1
    count = size.prod(1)
    owner = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    ny, nz = size[owner, 1], size[owner, 2]
    offset = np.stack([within // (ny * nz), within // nz % ny, within % nz], 1)
    return owner, _number(first[owner] + offset, last.max(0) + 1)


def _number(cubes, base):
    return (cubes[:, 0] * base[1] + cubes[:, 1]) * base[2] + cubes[:, 2]


class _Pairs(NamedTuple):
    """Triangles a and b, relative to a vertex of a, and the height of the corners.

    Heights are volumes over the plane of the other; 0 of vertices that both share.
    """

    a: Float[np.ndarray, "p 3 3"]
    b: Float[np.ndarray, "p 3 3"]
    over_b: Float[np.ndarray, "p 3"]  # of the corners of a
    over_a: Float[np.ndarray, "p 3"]
    tiny: Float[np.ndarray, "p"]

    def take(self, which) -> "_Pairs":
        return _Pairs(*(part[which] for part in self))

    def swapped(self) -> "_Pairs":
        return _Pairs(self.b, self.a, self.over_a, self.over_b, self.tiny)


def crossing(
    corners: Float[np.ndarray, "f 3 3"],
    faces: Int[np.ndarray, "f 3"],
    one: Int[np.ndarray, "p"],
    other: Int[np.ndarray, "p"],
) -> Bool[np.ndarray, "p"]:
    """Return which pairs of triangles cross."""
    pairs = _measured(corners, faces, one, other)
    found = np.zeros(len(one), bool)

    def both_sides(heights):
        x, y, z = heights.T
        above, below = (x > 0) | (y > 0) | (z > 0), (x < 0) | (y < 0) | (z < 0)
        return above & below

    def in_plane(heights):
        x, y, z = heights.T
        return (x == 0) & (y == 0) & (z == 0)

    cut = np.flatnonzero(both_sides(pairs.over_a) & both_sides(pairs.over_b))
    some = pairs.take(cut)
    found[cut] = _pierced(some) | _pierced(some.swapped())
    flat = np.flatnonzero(in_plane(pairs.over_a) & in_plane(pairs.over_b))
    some = pairs.take(flat)
    found[flat] = _overlapping(some.a, some.b, some.tiny ** (2 / 3))
    return found


def _measured(corners, faces, one, other) -> _Pairs:
    origin = corners[one, :1]
    a, b = corners[one] - origin, corners[other] - origin
    size = np.linalg.norm(np.stack([a.reshape(-1, 9), b.reshape(-1, 9)]), axis=2)
    tiny = TINY * size.max(0) ** 3
    own, rest = faces[one], faces[other]
    shared = [own[:, i] == rest[:, j] for i in range(3) for j in range(3)]
    shared = np.reshape(shared, (3, 3, -1))

    def heights(points, plane, zero):
        normal = np.cross(plane[:, 1] - plane[:, 0], plane[:, 2] - plane[:, 0])
        value = np.einsum("pki,pi->pk", points - plane[:, :1], normal)
        return np.where(zero | (abs(value) <= tiny[:, None]), 0.0, value)

    over_b = heights(a, b, shared.any(1).T)
    over_a = heights(b, a, shared.any(0).T)
    return _Pairs(a, b, over_b, over_a, tiny)


def _pierced(pairs: _Pairs):
    """Return where an edge of b passes through a."""
    found = np.zeros(len(pairs.a), bool)
    for k in range(3):
        p, q = pairs.b[:, k], pairs.b[:, _NEXT[k]]
        through = pairs.over_a[:, k] * pairs.over_a[:, _NEXT[k]] < 0
        # The same sign at all edges of a: the line runs inside, or through an edge.
        turns = np.stack(
            [
                np.einsum(
                    "pi,pi->p",
                    q - p,
                    np.cross(pairs.a[:, j] - p, pairs.a[:, _NEXT[j]] - p),
                )
                for j in range(3)
            ],
            1,
        )
        turns = np.where(abs(turns) <= pairs.tiny[:, None], 0.0, turns)
        inside = (turns >= 0).all(1) | (turns <= 0).all(1)
        found |= through & inside & turns.any(1)
    return found


def _overlapping(a, b, tiny):
    """Return where two triangles in one plane overlap by more than an edge."""
    normal = np.cross(a[:, 1] - a[:, 0], a[:, 2] - a[:, 0])
    solid = normal.any(1) & np.cross(b[:, 1] - b[:, 0], b[:, 2] - b[:, 0]).any(1)
    # Seen along the axis that is steepest on the plane.
    keep = np.array([[1, 2], [0, 2], [0, 1]])[abs(normal).argmax(1)]
    a, b = (np.take_along_axis(part, keep[:, None], 2) for part in (a, b))

    def side(p, q, r):
        along, off = q - p, r - p
        value = along[:, 0] * off[:, 1] - along[:, 1] * off[:, 0]
        return np.where(abs(value) <= tiny, 0.0, np.sign(value))

    def inside(point, triangle):
        edges = [side(triangle[:, k], triangle[:, _NEXT[k]], point) for k in range(3)]
        return abs(sum(edges)) == 3

    found = inside(a.mean(1), b) | inside(b.mean(1), a)
    for i in range(3):
        p, q = a[:, i], a[:, _NEXT[i]]
        for j in range(3):
            r, s = b[:, j], b[:, _NEXT[j]]
            cut = side(p, q, r) * side(p, q, s) < 0
            found |= cut & (side(r, s, p) * side(r, s, q) < 0)
    return found & solid
