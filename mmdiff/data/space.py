"""The property space of cubic cells: a fixed grid over it, and how much is covered.

The region that microstructures reach is known (`mmdiff.bounds`), so how much of it a
set of cells covers can be counted.
"""

import functools

import numpy as np
from scipy import ndimage

from mmdiff import bounds
from mmdiff.elasticity import NU, moduli
from mmdiff.typing import Float, Int

BINS = 10  # along each axis of the grid
GRID = (BINS,) * 4
POISSON_WIDTH = 0.05  # of the bins of Poisson's ratio


def to_coordinates(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"], nu: float = NU
) -> Float[np.ndarray, "N 4"]:
    """Return V and the shares that K, C44, (C11 - C12) / 2 have of their bounds.

    Constants are for base E = 1, nu is Poisson's ratio of the solid.
    """
    second = (constants[..., 0] - constants[..., 1]) / 2
    bulk, edges, faces = _bounds(volume, nu)
    mean = (constants[..., 0] + 2 * constants[..., 1]) / 3
    shares = (mean / bulk, constants[..., 2] / edges, second / faces)
    return np.stack([volume, *shares], axis=-1)


def from_coordinates(
    points: Float[np.ndarray, "N 4"], nu: float = NU
) -> Float[np.ndarray, "N 4"]:
    """Return C11, C12, C44, V of coordinates; inverse of `to_coordinates`."""
    volume = points[..., 0]
    bulk, edges, faces = _bounds(volume, nu)
    bulk, shear = points[..., 1] * bulk, points[..., 2] * edges
    second = points[..., 3] * faces
    c12 = bulk - 2 * second / 3
    return np.stack([c12 + 2 * second, c12, shear, volume], axis=-1)


def _bounds(volume, nu):
    edges, _ = bounds.shear_bound(volume, bounds.TETRAHEDRAL, nu)
    _, faces = bounds.shear_bound(volume, bounds.AXIAL, nu)
    return bounds.hashin_shtrikman(volume, nu)[0], edges, faces


def bin_index(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"]
) -> Int[np.ndarray, "N"]:
    """Return the flat bin of each cell in the grid of `to_coordinates`.

    Coarse voxels read too stiff, so that a cell may lie a little above a bound: it
    counts to the last bin.
    """
    index = np.floor(to_coordinates(constants, volume) * BINS).astype(int)
    return np.ravel_multi_index(np.clip(index, 0, BINS - 1).T, GRID)


def poisson_bin(constants: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N"]:
    """Return the bin of Poisson's ratio along <100> of each cell, an integer."""
    return np.floor(moduli(constants)["nu"] / POISSON_WIDTH).astype(int)


@functools.lru_cache(maxsize=4)
def reachable_bins(low: float, high: float) -> Int[np.ndarray, "r"]:
    """Return the bins with a centre that is reachable, V from low to high."""
    centres = (np.indices(GRID).reshape(4, -1).T + 0.5) / BINS
    point = from_coordinates(centres)
    inside = (centres[:, 0] > low) & (centres[:, 0] < high)
    found = np.flatnonzero(inside & bounds.is_reachable(point[:, :3], point[:, 3]))
    found.setflags(write=False)  # it is the cache's own
    return found


def coverage(
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    limits: tuple[float, float],
) -> float:
    """Return the share of the reachable bins that hold at least one cell."""
    reachable = reachable_bins(*limits)
    filled = np.intersect1d(bin_index(constants, volume), reachable)
    return len(filled) / len(reachable)


def frontier(
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    limits: tuple[float, float],
) -> Int[np.ndarray, "k"]:
    """Return the empty reachable bins that touch a filled one, faces only."""
    filled = np.zeros(GRID, bool)
    filled.ravel()[bin_index(constants, volume)] = True
    empty = np.flatnonzero(ndimage.binary_dilation(filled) & ~filled)
    return np.intersect1d(empty, reachable_bins(*limits))


def draw_in_bins(
    rng: np.random.Generator,
    index: Int[np.ndarray, "N"],
    limits: tuple[float, float],
    decimals: int | None = None,
) -> Float[np.ndarray, "N 4"]:
    """Return a random point C11, C12, C44, V in each of the given reachable bins.

    Its volume is within the limits; it is rounded to so many decimals, if any.
    """
    corner = np.stack(np.unravel_index(index, GRID), axis=-1) / BINS
    points = np.empty((len(corner), 4))
    wanting = np.ones(len(corner), bool)
    while wanting.any():
        inside = corner[wanting] + rng.random((wanting.sum(), 4)) / BINS
        drawn = from_coordinates(inside)
        points[wanting] = drawn if decimals is None else drawn.round(decimals)
        same = bin_index(points[:, :3], points[:, 3]) == index
        good = same & bounds.is_reachable(points[:, :3], points[:, 3])
        wanting = ~good | (points[:, 3] < limits[0]) | (points[:, 3] > limits[1])
    return points
