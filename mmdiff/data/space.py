"""The property space of cubic cells: a fixed grid over it, and how much is covered.

The region that microstructures reach is known (`mmdiff.bounds`), so how much of it a
set of cells covers can be counted.
"""

import functools

import numpy as np

from mmdiff import bounds
from mmdiff.elasticity import NU, moduli
from mmdiff.typing import Float, Int

BINS = 10  # along each axis of the grid
POISSON_WIDTH = 0.05  # of the bins of Poisson's ratio


def to_coordinates(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"], nu: float = NU
) -> Float[np.ndarray, "N 4"]:
    """Return V and the shares that K, C44, (C11 - C12) / 2 have of their bounds.

    Args:
      constants: C11, C12, C44 with base E = 1.
      volume: solid fractions in (0, 1].
      nu: Poisson's ratio of the solid.
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
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    bins: int = BINS,
) -> Int[np.ndarray, "N"]:
    """Return the flat bin of each cell in the grid of `to_coordinates`.

    Coarse voxels read too stiff, so that a cell may lie a little above a bound: it
    counts to the last bin.
    """
    index = np.floor(to_coordinates(constants, volume) * bins).astype(int)
    return np.ravel_multi_index(np.clip(index, 0, bins - 1).T, (bins,) * 4)


def poisson_bin(constants: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N"]:
    """Return the bin of Poisson's ratio along <100> of each cell, an integer."""
    return np.floor(moduli(constants)["nu"] / POISSON_WIDTH).astype(int)


@functools.lru_cache(maxsize=4)
def reachable_bins(low: float, high: float, bins: int = BINS) -> Int[np.ndarray, "r"]:
    """Return the bins with a centre that is reachable, V from low to high."""
    centres = (np.indices((bins,) * 4).reshape(4, -1).T + 0.5) / bins
    point = from_coordinates(centres)
    inside = (centres[:, 0] > low) & (centres[:, 0] < high)
    found = np.flatnonzero(inside & bounds.is_reachable(point[:, :3], point[:, 3]))
    found.setflags(write=False)  # it is the cache's own
    return found


def coverage(
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    limits: tuple[float, float],
    bins: int = BINS,
) -> float:
    """Return the share of the reachable bins that hold at least one cell."""
    reachable = reachable_bins(*limits, bins)
    filled = np.intersect1d(bin_index(constants, volume, bins), reachable)
    return len(filled) / len(reachable)


def frontier(
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    limits: tuple[float, float],
    bins: int = BINS,
) -> Int[np.ndarray, "k"]:
    """Return the empty reachable bins that touch a filled one, faces only."""
    filled = np.zeros((bins,) * 4, bool)
    filled.ravel()[bin_index(constants, volume, bins)] = True
    near = np.zeros_like(filled)
    for axis in range(4):
        one = np.moveaxis(near, axis, 0)
        other = np.moveaxis(filled, axis, 0)
        one[1:] |= other[:-1]
        one[:-1] |= other[1:]
    empty = np.flatnonzero(near & ~filled)
    return np.intersect1d(empty, reachable_bins(*limits, bins))


def draw_in_bins(
    rng: np.random.Generator,
    index: Int[np.ndarray, "N"],
    limits: tuple[float, float],
    bins: int = BINS,
    decimals: int | None = None,
) -> Float[np.ndarray, "N 4"]:
    """Return a random reachable point C11, C12, C44, V in each of the given bins.

    Args:
      rng: source of the points.
      index: flat bins, all of them reachable.
      limits: least and largest volume.
      bins: bins along each axis.
      decimals: to which the points are rounded; None leaves them as they are.
    """
    corner = np.stack(np.unravel_index(index, (bins,) * 4), axis=-1) / bins
    points = np.empty((len(corner), 4))
    wanting = np.ones(len(corner), bool)
    while wanting.any():
        inside = corner[wanting] + rng.random((wanting.sum(), 4)) / bins
        drawn = from_coordinates(inside)
        points[wanting] = drawn if decimals is None else drawn.round(decimals)
        same = bin_index(points[:, :3], points[:, 3], bins) == index
        good = same & bounds.is_reachable(points[:, :3], points[:, 3])
        wanting = ~good | (points[:, 3] < limits[0]) | (points[:, 3] > limits[1])
    return points
