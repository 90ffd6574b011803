"""How far a surface may move until a wall or a gap is too thin to print.

Thickness is that of `cells.printable`: along the normal, from the surface through the
phase.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from mmdiff.cells import printable
from mmdiff.cells.symmetry import is_cubic, orbit_first, spread
from mmdiff.typing import Float

BAND = 1.5  # spacings from the surface where samples are changed


class Widths(NamedTuple):
    """Least thickness of the solid and of the void, in spacings; 0 for any."""

    wall: float = 0.0
    gap: float = 0.0


def displacements(
    psi: Float[np.ndarray, "n n n"], widths: Widths, radius: float
) -> Float[np.ndarray, "2 n n n"]:
    """Return the least and the largest displacement of the surface at each sample.

    It is the radius where there is room, and half of what a wall or a gap has beyond
    its least width: thin ones are to get thicker.
    """
    near = np.flatnonzero(abs(psi.ravel()) < BAND)
    if max(widths) == 0 or not len(near):
        return np.stack([np.full(psi.shape, -radius), np.full(psi.shape, radius)])
    n, cubic = psi.shape[-1], is_cubic(psi)
    grid = printable.make_grid(psi)
    found = printable.find_surface(grid)
    if cubic:  # the rest are images of these
        first, found = orbit_first(n), printable.wedge(found)
        near = np.flatnonzero(abs(psi.ravel()[first]) < BAND)
    bounds = np.empty((2, len(first) if cubic else n**3))
    bounds[0], bounds[1] = -radius, radius
    index = first[near] if cubic else near
    places = np.stack(np.unravel_index(index, psi.shape), 1)
    if cubic:
        places = -np.sort(-places, axis=1)
    _, nearest = cKDTree(found.points).query(places)
    for side, (width, sign) in enumerate(zip(widths, (1, -1), strict=True)):
        reach = width + 2 * radius + grid.h
        every = printable.chords(grid, found, sign=sign, reach=reach)
        spare = np.clip((every.lengths - width) / 2, -radius, radius)
        bounds[side][near] = -sign * spare[nearest]
    low, high = spread(bounds, n) if cubic else bounds.reshape(2, n, n, n)
    middle = (low + high) / 2  # where there is no room for both
    return np.stack([np.minimum(low, middle), np.maximum(high, middle)])
