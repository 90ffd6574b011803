"""The property space of cubic cells: its bounds, and a fixed grid over it.

A stiff phase and void reach every set of energies that the stiffest laminates bound:
the bulk modulus is at most that of Hashin and Shtrikman, and the two shear moduli lie
below a curve that the directions of the layers sweep (Avellaneda, SIAM J. Appl. Math.
47 (1987) 1216; Milton, Briane & Harutyunyan, Math. Mech. Complex Syst. 5 (2017) 41). So
the region is known, and how much of it a set of cells covers can be counted.
"""

import functools

import numpy as np

from mmdiff.elasticity import NU, hashin_shtrikman, moduli
from mmdiff.typing import Bool, Float, Int

BINS = 10  # along each axis of the grid
POISSON_WIDTH = 0.05  # of the bins of Poisson's ratio
TETRAHEDRAL, AXIAL = 1 / 3, 1.0  # sum of n_i^4 for layers normal to <111> and <100>


def shear_bound(volume, fourth, nu: float = NU):
    """Return C44 and (C11 - C12) / 2 of the stiffest laminates, E = 1.

    The layers of a cubic laminate are normal to a direction n and its images. In
    C = C0 - (1 - V) (C0^-1 - V Gamma)^-1 the direction enters through sum n_i^4 alone,
    and K is that of Hashin and Shtrikman for all. At 3/5 the laminate is isotropic.

    Args:
      volume: solid fraction in (0, 1].
      fourth: sum of n_i^4, from 1/3 (<111>) to 1 (<100>).
      nu: Poisson's ratio of the solid.
    """
    stiff, first, second = _solid(nu)
    edges = (first - second * (1 - fourth)) / 3
    faces = (first * 2 / 3 - second * (fourth - 1 / 3)) / 2
    return tuple(
        stiff - (1 - volume) / (2 * (1 / (2 * stiff) - volume * gamma))
        for gamma in (edges, faces)
    )


def _solid(nu):
    """Return G and the two coefficients of Gamma, 1/G and (K + G/3) / (G M)."""
    shear = 1 / (2 * (1 + nu))
    lame = nu / ((1 + nu) * (1 - 2 * nu))
    return shear, 1 / shear, (lame + shear) / (shear * (lame + 2 * shear))


def is_reachable(
    constants: Float[np.ndarray, "*b 3"], volume, nu: float = NU
) -> Bool[np.ndarray, "*b"]:
    """Whether some cubic microstructure of the volume may have the constants.

    Args:
      constants: C11, C12, C44 with base E = 1.
      volume: solid fractions in (0, 1).
      nu: Poisson's ratio of the solid.
    """
    bulk = (constants[..., 0] + 2 * constants[..., 1]) / 3
    edges = constants[..., 2]
    second = (constants[..., 0] - constants[..., 1]) / 2
    stiff, first, factor = _solid(nu)
    # The direction whose laminate has this second modulus, from `shear_bound`.
    lost = np.maximum(2 * (stiff - second), 1e-12)
    gamma = (1 / (2 * stiff) - (1 - volume) / lost) / volume
    fourth = (first * 2 / 3 - 2 * gamma) / factor + 1 / 3
    most, _ = shear_bound(volume, np.clip(fourth, TETRAHEDRAL, AXIAL), nu)
    stable = (bulk > 0) & (second > 0) & (edges > 0)
    below = (bulk <= hashin_shtrikman(volume, nu)[0]) & (edges <= most)
    return stable & below & (fourth <= AXIAL)


def to_coordinates(constants, volume, nu: float = NU) -> Float[np.ndarray, "N 4"]:
    """Return V and the shares that K, C44, (C11 - C12) / 2 have of their bounds.

    Args:
      constants: (N, 3) C11, C12, C44 with base E = 1.
      volume: (N,) solid fractions in (0, 1].
      nu: Poisson's ratio of the solid.
    """
    second = (constants[..., 0] - constants[..., 1]) / 2
    bulk, edges, faces = _bounds(volume, nu)
    mean = (constants[..., 0] + 2 * constants[..., 1]) / 3
    shares = (mean / bulk, constants[..., 2] / edges, second / faces)
    return np.stack([volume, *shares], axis=-1)


def from_coordinates(points, nu: float = NU) -> Float[np.ndarray, "N 4"]:
    """Return C11, C12, C44, V of coordinates (N, 4); inverse of `to_coordinates`."""
    volume = points[..., 0]
    bulk, edges, faces = _bounds(volume, nu)
    bulk, shear = points[..., 1] * bulk, points[..., 2] * edges
    second = points[..., 3] * faces
    c12 = bulk - 2 * second / 3
    return np.stack([c12 + 2 * second, c12, shear, volume], axis=-1)


def _bounds(volume, nu):
    edges, _ = shear_bound(volume, TETRAHEDRAL, nu)
    _, faces = shear_bound(volume, AXIAL, nu)
    return hashin_shtrikman(volume, nu)[0], edges, faces


def bin_index(constants, volume, bins: int = BINS) -> Int[np.ndarray, "N"]:
    """Return the flat bin of each cell in the grid of `to_coordinates`.

    Coarse voxels read too stiff, so that a cell may lie a little above a bound: it
    counts to the last bin.
    """
    index = np.floor(to_coordinates(constants, volume) * bins).astype(int)
    return np.ravel_multi_index(np.clip(index, 0, bins - 1).T, (bins,) * 4)


def poisson_bin(constants) -> Int[np.ndarray, "N"]:
    """Return the bin of Poisson's ratio along <100> of each cell, an integer."""
    return np.floor(moduli(constants)["nu"] / POISSON_WIDTH).astype(int)


@functools.lru_cache(maxsize=4)
def reachable_bins(low: float, high: float, bins: int = BINS) -> Int[np.ndarray, "r"]:
    """Return the bins whose centre a microstructure can reach, V from low to high."""
    centres = (np.indices((bins,) * 4).reshape(4, -1).T + 0.5) / bins
    point = from_coordinates(centres)
    inside = (centres[:, 0] > low) & (centres[:, 0] < high)
    found = np.flatnonzero(inside & is_reachable(point[:, :3], point[:, 3]))
    found.setflags(write=False)  # it is the cache's own
    return found


def coverage(constants, volume, limits: tuple[float, float], bins: int = BINS) -> float:
    """Return the share of the reachable bins that hold at least one cell."""
    reachable = reachable_bins(*limits, bins)
    filled = np.intersect1d(bin_index(constants, volume, bins), reachable)
    return len(filled) / len(reachable)


def frontier(constants, volume, limits: tuple[float, float], bins: int = BINS):
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
    index,
    limits: tuple[float, float],
    bins: int = BINS,
    decimals: int | None = None,
) -> Float[np.ndarray, "N 4"]:
    """Return a random reachable point C11, C12, C44, V in each of the given bins.

    Args:
      rng: source of the points.
      index: (N,) flat bins, all of them reachable.
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
        good = same & is_reachable(points[:, :3], points[:, 3])
        wanting = ~good | (points[:, 3] < limits[0]) | (points[:, 3] > limits[1])
    return points
