"""The geometry of a cloak, a box of cells with a column of void along z, and its loads.

Cells of the cloak that the symmetry of the loads makes equal are of one class, which
gets one cell.
"""

from typing import NamedTuple

import numpy as np

from mmdiff.errors import InputError
from mmdiff.fem import structure
from mmdiff.fem.stencil import Shape
from mmdiff.typing import Bool, Float, Int

HOLE, CLOAK = 1 / 6, 1 / 3  # radii by the edge of the box
COLUMNS = {"cylinder": np.hypot, "square": np.maximum}  # distance from the axis


class Geometry(NamedTuple):
    """Cells of hole and cloak, and the nodes outside, where the displacement counts.

    `index` holds the class of each of the m cells of the cloak, in C order. Each cell
    is divided into so many trilinear elements along its edge as the nodes show.
    """

    hole: Bool[np.ndarray, "x y z"]
    cloak: Bool[np.ndarray, "x y z"]
    outside: Bool[np.ndarray, "X Y Z"]
    index: Int[np.ndarray, "m"]

    @property
    def elements(self) -> int:
        """Elements along the edge of a cell."""
        return (len(self.outside) - 1) // len(self.hole)

    @property
    def num_classes(self) -> int:
        """Number of different cells in the cloak."""
        return int(self.index.max()) + 1

    def rows(self, pick: Int[np.ndarray, "k"], body: int) -> Int[np.ndarray, "x y z"]:
        """Return the row of the cell in every place, -1 for the hole."""
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
    elements: int = 1,
) -> Geometry:
    """Return the geometry of a box of cells, as many along x as along y.

    Args:
      shape: cells along x, y and z.
      column: a name of `COLUMNS`.
      mirrors: whether mirror images by x = 0 are of one class, as by y = 0 and z = 0.
      swaps: whether elements that x and y exchanged make equal are; with mirrors.
      hole: radius, or half the width of a square, by the edge along x.
      cloak: the same of the cloak, which has the shape of the hole.
      elements: along the edge of each cell, whose corners are the nodes.
    """
    n = shape[0]
    # In half edges: exact, so that mirror images agree.
    away = [abs(2 * np.arange(m) + 1 - m) for m in shape]
    x, y, z = np.meshgrid(*away, indexing="ij")
    radius = COLUMNS[column](x, y) / 2
    void = radius < hole * n
    ring = (radius < cloak * n) & ~void
    if not ring.any() or (hole > 0 and not void.any()):
        raise InputError(
            f"a box of {n} cells along x has no room for a {column} and its cloak. "
            "Take 5 cells or more."
        )
    sizes = [elements * m for m in shape]
    nodes = [abs(np.arange(m + 1) - m / 2) for m in sizes]
    at = COLUMNS[column](nodes[0][:, None], nodes[1])[:, :, None]
    outside = np.broadcast_to(at >= cloak * n * elements, [m + 1 for m in sizes])
    if not mirrors:
        x = (2 * np.arange(n) + 1 - n)[:, None, None] + 0 * y
    elif swaps:
        x, y = np.minimum(x, y), np.maximum(x, y)
    place = [x[ring], y[ring], z[ring]]
    _, index = np.unique(place, axis=1, return_inverse=True)
    return Geometry(void, ring, outside, index.ravel())


class LoadCase(NamedTuple):
    """Loads with the same fixed dofs, and their symmetry.

    Displacements `values` of the fixed dofs are in element edges, nodal `forces` for
    base E = 1. Mirrors and swaps: see `geometry`.
    """

    name: str
    fixed: Bool[np.ndarray, "3 X Y Z"]
    values: Float[np.ndarray, "l 3 X Y Z"]
    forces: Float[np.ndarray, "l 3 X Y Z"]
    mirrors: bool = True
    swaps: bool = False


def pulled(shape: Shape) -> LoadCase:
    """Return one load: a face normal to x is held, its opposite pulled, others free.

    The traction is uniform, a tenth of the base material's Young's modulus.
    """
    nodes = (3, *(n + 1 for n in shape))
    fixed, forces = np.zeros(nodes, bool), np.zeros((1, *nodes))
    fixed[:, 0] = True
    lines = [np.ones(n + 1) for n in shape[1:]]
    for line in lines:
        line[[0, -1]] = 0.5
    forces[0, 0, -1] = 0.1 * np.outer(*lines)
    return LoadCase("pull", fixed, np.zeros_like(forces), forces, mirrors=False)


def gripped(shape: Shape) -> LoadCase:
    """Return the load of a slab: its faces normal to x are held and moved apart.

    Those normal to z stay in their planes, those normal to y are free.
    """
    values = structure.affine(shape)[:1]
    fixed = np.zeros(values.shape[1:], bool)
    fixed[:, [0, -1]] = True
    fixed[2, :, :, [0, -1]] = True
    return LoadCase("grips", fixed, values, np.zeros_like(values))


def strained(shape: Shape) -> LoadCase:
    """Return six loads: all faces are moved as the unit strains move them."""
    values = structure.affine(shape)
    free = np.zeros_like(values)
    return LoadCase("strains", structure.faces(shape), values, free, swaps=True)


LOADS = {"pull": pulled, "strains": strained}  # those of boxes, by name
