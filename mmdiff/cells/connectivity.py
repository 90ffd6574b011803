"""Connectivity of binary cells: pieces, load paths, clean-up.

A printed lattice repeats the cell, so connectivity is always periodic: pieces that meet
through opposite faces are one piece. The same functions serve the void. Host-side NumPy
and SciPy; nothing here is traced.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmdiff.cells.symmetry import is_cubic
from mmdiff.typing import Bool, Int


def periodic_pieces(cell: np.ndarray) -> tuple[np.ndarray, int]:
    """Return labels of the solid pieces, 0 where void, and how many there are.

    Voxels are connected through faces, also those of the cell.
    """
    labels, count = ndimage.label(cell)
    if count < 2:
        return labels, count
    pairs = [
        np.stack([np.take(labels, 0, axis).ravel(), np.take(labels, -1, axis).ravel()])
        for axis in range(3)
    ]
    i, j = np.concatenate(pairs, axis=1)
    both = (i > 0) & (j > 0)
    graph = coo_array(
        (np.ones(both.sum(), bool), (i[both] - 1, j[both] - 1)), shape=(count, count)
    )
    merged, component = connected_components(graph, directed=False)
    return np.concatenate([[0], component + 1])[labels], int(merged)


def keep_largest(cell: np.ndarray) -> tuple[np.ndarray, int, float]:
    """Return the largest periodic piece, the number of pieces, and its share of them.

    The share is 0 for an empty cell.
    """
    labels, count = periodic_pieces(cell)
    if count == 0:
        return cell, 0, 0.0
    sizes = np.bincount(labels.ravel())[1:]
    kept = (labels == 1 + np.argmax(sizes)).astype(cell.dtype)
    return kept, count, float(sizes.max() / sizes.sum())


def spanning_axes(cell: np.ndarray) -> tuple[bool, bool, bool]:
    """Whether some piece connects the two faces of each axis inside one period.

    A piece that touches both faces without winding round the cell also counts as
    spanning here; for mirror-symmetric cells the two notions agree, because a path to
    one face is reflected into a path to the other.
    """
    labels, _ = ndimage.label(cell)
    spans = []
    for axis in range(3):
        low, high = np.take(labels, 0, axis), np.take(labels, -1, axis)
        spans.append(bool(np.intersect1d(low[low > 0], high[high > 0]).size))
    return tuple(spans)


def winding_axes(cell: np.ndarray) -> tuple[bool, bool, bool]:
    """Whether solid runs on for ever along each axis when the cell is repeated.

    Unlike `spanning_axes` this follows paths through the other faces and does not take
    a piece for spanning that touches both faces without meeting its own image.
    """
    winds = winding_pieces(cell).winds.any(0)
    return bool(winds[0]), bool(winds[1]), bool(winds[2])


class PeriodicPieces(NamedTuple):
    """Pieces of a periodic cell: voxels of each, and along which axes it runs on."""

    sizes: Int[np.ndarray, "p"]
    winds: Bool[np.ndarray, "p 3"]


def winding_pieces(cell: np.ndarray) -> PeriodicPieces:
    """Return the periodic pieces of solid, connected through faces of voxels.

    A piece winds along an axis where it meets its own image in another copy of the
    repeated cell.
    """
    labels, count = ndimage.label(cell)
    links: dict[int, list[tuple[int, np.ndarray]]] = {}
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        faces = np.take(labels, -1, axis).ravel(), np.take(labels, 0, axis).ravel()
        pairs = np.stack(faces, axis=1)[(faces[0] > 0) & (faces[1] > 0)]
        for high, low in np.unique(pairs, axis=0).tolist():
            links.setdefault(high, []).append((low, step))
            links.setdefault(low, []).append((high, -step))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    winds = np.zeros((count + 1, 3), bool)
    period: dict[int, np.ndarray] = {}  # in which copy of the cell a label was met
    for root in links:
        if root in period:
            continue
        period[root] = np.zeros(3, int)
        stack = [root]
        while stack:
            label = stack.pop()
            for other, step in links[label]:
                if other in period:
                    winds[root] |= period[label] + step != period[other]
                else:
                    period[other] = period[label] + step
                    sizes[root] += sizes[other]
                    sizes[other] = 0
                    stack.append(other)
    pieces = 1 + np.flatnonzero(sizes[1:])
    return PeriodicPieces(sizes[pieces], winds[pieces])


def clean_octant(
    octant: np.ndarray, symmetry: str = "cubic"
) -> tuple[np.ndarray, int, float]:
    """Keep the largest periodic piece of the octant's cell; see `keep_largest`.

    When the largest pieces are mirror or permutation images of each other, the kept
    piece is not symmetric; such a cell has no connected symmetric part and comes back
    empty.
    """
    pieces = mirror_pieces(np.asarray(octant) > 0)
    if not pieces.sizes.size:
        return octant, 0, 0.0
    count, largest = int(pieces.copies.sum()), pieces.largest
    kept = pieces.labels == largest
    symmetric = pieces.copies[largest - 1] == 1
    if not symmetric or (symmetry == "cubic" and not is_cubic(kept)):
        return np.zeros_like(octant), count, 0.0
    return kept.astype(octant.dtype), count, float(kept.sum() / pieces.sizes.sum())


def is_load_bearing(octant: np.ndarray) -> bool:
    """Whether the solid of the octant's cell is one piece that spans all three axes."""
    pieces = mirror_pieces(np.asarray(octant) > 0)
    return bool(pieces.copies.sum() == 1 and pieces.ends.all())


class MirrorPieces(NamedTuple):
    """Pieces of a mirror-symmetric, periodic cell, seen in its octant.

    Attributes:
      labels: the number of each voxel's piece from 1, 0 outside.
      sizes: voxels of each piece in the octant.
      ends: whether it reaches the first and the last plane of each axis, where it goes
        on in its own mirror image.
    """

    labels: Int[np.ndarray, "n n n"]
    sizes: Int[np.ndarray, "p"]
    ends: Bool[np.ndarray, "p 3 2"]

    @property
    def copies(self) -> Int[np.ndarray, "p"]:
        """How many pieces of the periodic cell each of the octant stands for."""
        return 2 ** (3 - self.ends.any(2).sum(1))

    @property
    def endless(self) -> Bool[np.ndarray, "p"]:
        """Whether it runs on through the repeated cell, along one axis at least."""
        return self.ends.all(2).any(1)

    @property
    def largest(self) -> int:
        """The label of the largest piece of the periodic cell."""
        return int(np.argmax(self.sizes / self.copies)) + 1


def mirror_pieces(octant: Bool[np.ndarray, "n n n"]) -> MirrorPieces:
    """Return the pieces of the octant's cell, connected through faces of voxels.

    Exact, in an eighth of the time of `periodic_pieces`: a path in the repeated cell,
    folded back into the octant, stays in one piece of it.
    """
    labels, count = ndimage.label(octant)
    ends = np.zeros((count + 1, 3, 2), bool)
    for axis in range(3):
        for end, place in enumerate((0, -1)):
            ends[np.unique(labels.take(place, axis)), axis, end] = True
    return MirrorPieces(labels, np.bincount(labels.ravel())[1:], ends[1:])
