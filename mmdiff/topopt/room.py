"""How far a surface may move until a wall or a gap is too thin to print.

Thickness is that of `cells.printable`: along the normal, from the surface through the
phase. Next to the faces of the cell nothing may move where it shall fit its neighbours.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from mmdiff.cells import printable
from mmdiff.cells.mend import Printing
from mmdiff.cells.symmetry import is_cubic, orbit_first, spread
from mmdiff.typing import Float

BAND = 1.5  # spacings from the surface where samples are changed
RAMP = 2.0  # spacings beyond the rim in which samples get free to move
AMPLE = 1.15  # of a width that is held: steps keep to it approximately


class Widths(NamedTuple):
    """What steps leave as it is, in spacings; 0 for nothing.

    Attributes:
      wall: least thickness of the solid,
      gap: and of the void.
      rim: depth of the layer at the cell's faces whose samples stay to the last bit.
    """

    wall: float = 0.0
    gap: float = 0.0
    rim: float = 0.0


def widths(psi: Float[np.ndarray, "n n n"], printing: Printing) -> Widths:
    """Return what steps of a field must hold for its cell to be printed."""
    scale = AMPLE * 2 * psi.shape[-1]
    return Widths(scale * printing.wall, scale * printing.gap)


def freedom(n: int, rim: float) -> Float[np.ndarray, "n n n"]:
    """Return what each sample may move in relation to others: 0 in the rim, then 1."""
    if not rim:
        return np.ones((n, n, n))
    depth = np.indices((n, n, n)).min(0) + 0.5  # the low faces are those of the cell
    return np.clip((depth - rim) / RAMP, 0.0, 1.0)


def displacements(
    psi: Float[np.ndarray, "n n n"], widths: Widths, radius: float
) -> Float[np.ndarray, "2 n n n"]:
    """Return the least and the largest displacement of the surface at each sample.

    It is the radius where there is room, and half of what a wall or a gap has beyond
    its least width: thin ones are to get thicker.
    """
    n, cubic = psi.shape[-1], is_cubic(psi)
    index = orbit_first(n) if cubic else np.arange(n**3)
    bounds = np.full((2, len(index)), radius)
    bounds[0] = -radius
    near = np.flatnonzero(abs(psi.ravel()[index]) < BAND)
    if max(widths[:2]) == 0 or not len(near):
        return _spread(bounds, n, cubic)
    places = np.stack(np.unravel_index(index[near], psi.shape), 1)
    grid = printable.make_grid(psi)
    found = printable.find_surface(grid, wedged=cubic)
    if not len(found.points):  # finer than the grid: nothing to be measured
        return _spread(bounds, n, cubic)
    if cubic:  # the rest are images of these
        places = -np.sort(-places, axis=1)
    _, nearest = cKDTree(found.points).query(places)
    for side, (width, sign) in enumerate(zip(widths[:2], (1, -1), strict=True)):
        reach = width + 2 * radius + grid.h
        every = printable.chords(grid, found, sign=sign, reach=reach)
        spare = np.clip((every.lengths - width) / 2, -radius, radius)
        bounds[side][near] = -sign * spare[nearest]
    low, high = _spread(bounds, n, cubic)
    middle = (low + high) / 2  # where there is no room for both
    return np.stack([np.minimum(low, middle), np.maximum(high, middle)])


def _spread(bounds, n, cubic) -> Float[np.ndarray, "2 n n n"]:
    return spread(bounds, n, "cubic" if cubic else "orthotropic")
