"""The region of elastic constants that known cells fill, as a distance from it.

The region is that of the cells of a dataset in the coordinates
((K/Ks)^1/3, (M/Ms)^1/3, (G/Gs)^1/3), with M = (C11 - C12) / 2, G = C44 and s the solid:
soft cells, which are many, are as far apart there as stiff ones. Gaps narrower than a
few steps of its grid are closed. The distance keeps an optimizer inside.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from mmdiff.elasticity import NU
from mmdiff.typing import Array, Float

GRID = 48  # steps along each coordinate
CLOSED = 3  # gaps up to twice so many steps count as filled
SOLID = np.array([1 / (3 * (1 - 2 * NU)), 1 / (2 + 2 * NU), 1 / (2 + 2 * NU)])


def coordinates(constants: Float[np.ndarray, "b 3"]) -> Float[np.ndarray, "b 3"]:
    """Return the coordinates of C11, C12, C44 with base E = 1; solid is (1, 1, 1)."""
    c11, c12, c44 = np.asarray(constants, np.float64).T
    moduli = np.stack([(c11 + 2 * c12) / 3, (c11 - c12) / 2, c44], -1)
    return np.cbrt(moduli / SOLID)


def constants_at(y: Float[Array, "b 3"]) -> Float[Array, "b 3"]:
    """Return C11, C12, C44 at coordinates, the inverse of `coordinates`."""
    bulk, first, second = (y**3 * jnp.asarray(SOLID, y.dtype)[None]).T
    return jnp.stack([bulk + 4 / 3 * first, bulk - 2 / 3 * first, second], -1)


def make_excess(
    constants: Float[np.ndarray, "b 3"],
) -> Callable[[Float[Array, "m 3"]], Float[Array, "m"]]:
    """Return `excess(y) -> distance`, of coordinates from the region of known cells.

    It is zero inside, linear between the points of a grid, and has a derivative. The
    constants C11, C12, C44 are for base E = 1.
    """
    y = np.clip(coordinates(constants), 0, 1)
    filled = np.zeros((GRID + 1,) * 3, bool)
    filled[tuple(np.rint(GRID * y).astype(int).T)] = True
    shape = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), CLOSED)
    margin = 2 * CLOSED  # the closing would wear off the region at the ends of the grid
    filled = ndimage.binary_closing(np.pad(filled, margin), shape)
    inner = (slice(margin, -margin),) * 3
    distance = ndimage.distance_transform_edt(~filled)[inner] / GRID

    def excess(y):
        grid = jnp.asarray(distance, y.dtype)
        return jax.scipy.ndimage.map_coordinates(grid, list(GRID * y.T), order=1)

    return excess
