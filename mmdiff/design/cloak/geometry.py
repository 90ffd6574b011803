"""The geometry of a cloak: a box of cells with a column of void and what is around it.

The column runs along z. Elements of the cloak that the symmetry of the loads makes
equal are of one class, which gets one cell.
"""

from typing import NamedTuple

import numpy as np

from mmdiff.errors import InputError
from mmdiff.fem.cubic import Shape
from mmdiff.typing import Bool, Int

HOLE, CLOAK = 1 / 6, 1 / 3  # radii by the edge of the box
COLUMNS = ("cylinder", "square")


class Geometry(NamedTuple):
    """Hole, cloak and the nodes outside of both.

    Attributes:
      hole: (nx, ny, nz) elements of void.
      cloak: (nx, ny, nz) elements to be designed.
      outside: (nx + 1, ny + 1, nz + 1) nodes where the displacement counts.
      index: (m,) for the elements of the cloak, in C order, the number of their class;
        what the symmetry of the loads makes equal is of one class.
    """

    hole: Bool[np.ndarray, "x y z"]
    cloak: Bool[np.ndarray, "x y z"]
    outside: Bool[np.ndarray, "X Y Z"]
    index: Int[np.ndarray, "m"]

    @property
    def num_classes(self) -> int:
        """Number of different cells in the cloak."""
        return int(self.index.max()) + 1

    def rows(self, pick: Int[np.ndarray, "k"], body: int) -> Int[np.ndarray, "x y z"]:
        """Return the row of the cell in every element, -1 for the hole.

        Args:
          pick: rows of the cells of the classes.
          body: row of the body's own cell.
        """
        index = np.where(self.hole, -1, body)
        index[self.cloak] = pick[self.index]
        return index


def geometry(
    shape: Shape,
    column: str,
    *,
    mirrors: bool = True,
    swaps: bool = False,
    hole: float = HOLE,
    cloak: float = CLOAK,
) -> Geometry:
    """Return the geometry of a box of cells.

    Args:
      shape: elements along x, y and z; the first two equal.
      column: "cylinder", or "square" of the same width.
      mirrors: whether mirror images by the plane x = 0 are of one class, as those by
        y = 0 and z = 0 are.
      swaps: whether elements that x and y exchanged make equal are; with mirrors.
      hole: radius, or half the width of a square, by the edge along x.
      cloak: the same of the cloak, which has the shape of the hole.

    Raises:
      InputError: for an unknown column, or a box too small for hole and cloak.
    """
    if column not in COLUMNS:
        raise InputError(f"column={column!r} is unknown. Use {' or '.join(COLUMNS)}.")
    n = shape[0]
    # In half edges: exact, so that mirror images agree.
    away = [abs(2 * np.arange(m) + 1 - m) for m in shape]
    x, y, z = np.meshgrid(*away, indexing="ij")
    away_from_axis = np.hypot if column == "cylinder" else np.maximum
    radius = away_from_axis(x, y) / 2
    void = radius < hole * n
    ring = (radius < cloak * n) & ~void
    if not ring.any() or (hole > 0 and not void.any()):
        raise InputError(
            f"a box of {n} cells along x has no room for a {column} and its cloak. "
            "Take 5 cells or more."
        )
    nodes = [abs(np.arange(m + 1) - m / 2) for m in shape]
    at = away_from_axis(nodes[0][:, None], nodes[1])[:, :, None]
    outside = np.broadcast_to(at >= cloak * n, [m + 1 for m in shape])
    if not mirrors:
        x = (2 * np.arange(n) + 1 - n)[:, None, None] + 0 * y
    elif swaps:
        x, y = np.minimum(x, y), np.maximum(x, y)
    place = np.stack([x[ring], y[ring], z[ring]])
    _, index = np.unique(place, axis=1, return_inverse=True)
    return Geometry(void, ring, outside, index.ravel())
