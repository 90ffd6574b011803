"""A cell as a level-set field: one smooth surface, and its views on any grid.

`psi` (n, n, n), sampled at the voxel centres of the octant [0, 1/2]^3, is about the
signed distance to the surface in lattice spacings (1/(2n) of the cell's edge), positive
in the solid, and levels off a few spacings away. The surface is the zero set of its
half-sample-even cosine interpolation (DCT-II): infinitely smooth, periodic and
mirror-symmetric, with all values and slopes anywhere from small matrix products. What
is thinner than about two spacings cannot be represented. NumPy fields give NumPy
arrays, JAX fields differentiable JAX ones.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from scipy import fft, ndimage, optimize, special

from mmdiff.cells.cut import TINY, cut_fraction, cut_slopes
from mmdiff.cells.symmetry import (
    gather_independent,
    is_cubic,
    multiplicity,
    orbit_first,
    spread,
    symmetrize,
)
from mmdiff.errors import InputError
from mmdiff.typing import AnyArray, Float, Scalar, Shaped, UInt8

SIGMA = 1.0  # spacings over which the steps of voxels are smoothed
LEVEL_OFF = 0.995  # of the smoothed voxels: the field ends at +-2.8 SIGMA
SHIFT = 1.4  # spacings by which a surface is moved to a volume at most
_HALF_DIAGONAL = 0.88  # of a unit cube, and a little more
_FINEST = 0.5  # spacings: largest part of an element in which the surface is a plane


@functools.lru_cache(maxsize=64)
def _matrices(n: int, points: tuple[float, ...]):
    """Return what gives values and slopes at points, in spacings: (m, n) each."""
    both = [terms @ _to_series(n) for terms in _cosines(n, np.asarray(points))]
    for matrix in both:
        matrix.setflags(write=False)
    return tuple(both)


@functools.lru_cache(maxsize=8)
def _to_series(n: int) -> Float[np.ndarray, "n n"]:
    """Return samples to coefficients of cos(pi k (x + 1/2) / n)."""
    matrix = fft.dct(np.eye(n), axis=0) / n
    matrix[0] /= 2
    matrix.setflags(write=False)
    return matrix


def _cosines(n, points):
    """Return the n cosines at points (...) and their slopes, (..., n) each."""
    order = np.pi * np.arange(n) / n
    angle = (points[..., None] + 0.5) * order
    return np.cos(angle), -np.sin(angle) * order


def centres(n: int, m: int) -> tuple[float, ...]:
    """Return the centres of m elements along the octant, in spacings from sample 0."""
    return tuple((np.arange(m) + 0.5) * n / m - 0.5)


def corners(n: int, m: int) -> tuple[float, ...]:
    """Return the m + 1 ends of m elements along the octant, in spacings."""
    return tuple(np.arange(m + 1) * n / m - 0.5)


def _product(psi, matrices):
    """Apply one matrix along each axis."""
    if isinstance(psi, np.ndarray):  # without transposes in between
        first, second, third = (matrix.astype(psi.dtype) for matrix in matrices)
        psi = second @ (psi @ third.T)
        return (first @ psi.reshape(len(psi), -1)).reshape(-1, *psi.shape[1:])
    for axis, matrix in enumerate(matrices):
        matrix = jnp.asarray(matrix, psi.dtype)
        psi = jnp.moveaxis(jnp.tensordot(matrix, psi, axes=(1, axis)), 0, axis)
    return psi


def _exact(values):
    """Copy one value to all of an orbit: rounding depends on the order of the axes."""
    return spread(gather_independent(values), values.shape[-1])


def sample(
    psi: Float[AnyArray, "n n n"], points: tuple[float, ...]
) -> Float[AnyArray, "m m m"]:
    """Return the field on the grid of points (in spacings) along each axis."""
    value, _ = _matrices(psi.shape[-1], points)
    return _product(psi, (value, value, value))


def slopes(
    psi: Float[AnyArray, "n n n"], points: tuple[float, ...]
) -> Float[AnyArray, "3 m m m"]:
    """Return the derivatives of the field along x, y and z, per spacing."""
    value, slope = _matrices(psi.shape[-1], points)
    if isinstance(psi, np.ndarray) and is_cubic(psi):
        return np.stack(_turned(_product(psi, (slope, value, value))))
    xp = np if isinstance(psi, np.ndarray) else jnp
    first = ((slope, value, value), (value, slope, value), (value, value, slope))
    return xp.stack([_product(psi, matrices) for matrices in first])


def _turned(along_x):
    """Return the slopes of a cubic field along x, y and z from that along x."""
    return along_x, along_x.transpose(1, 0, 2), along_x.transpose(1, 2, 0)


def at_points(
    psi: Float[np.ndarray, "n n n"], points: Float[np.ndarray, "p 3"]
) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p 3"]]:
    """Return values and slopes of the field at any points, in spacings from sample 0.

    Points outside the octant are those of the mirror-symmetric, periodic cell.
    """
    n = psi.shape[-1]
    series = _product(psi.astype(np.float64), (_to_series(n),) * 3)
    values, gradients = np.empty(len(points)), np.empty((len(points), 3))
    for part in np.array_split(np.arange(len(points)), len(points) // 4096 + 1):
        (x, dx), (y, dy), (z, dz) = (_cosines(n, line) for line in points[part].T)
        plane, slope = (np.tensordot(end, series, (1, 2)) for end in (z, dz))
        line = np.einsum("pxy,py->px", plane, y)
        values[part] = (line * x).sum(1)
        gradients[part, 0] = (line * dx).sum(1)
        gradients[part, 1] = (np.einsum("pxy,py->px", plane, dy) * x).sum(1)
        gradients[part, 2] = (np.einsum("pxy,py->px", slope, y) * x).sum(1)
    return values, gradients


def fractions(
    psi: Float[AnyArray, "n n n"], m: int, *, cubic: bool = True
) -> Float[AnyArray, "m m m"]:
    """Return the solid share of each of m^3 elements of the octant, differentiable.

    In each element, or its parts where elements are large, the surface is a plane: at
    the distance psi / |gradient| of the centre, across the gradient there.
    """
    n = psi.shape[-1]
    split = _parts(n, m)
    points = centres(n, m * split)
    if isinstance(psi, np.ndarray):
        kind = _kind(psi)
        share = spread(_shares(psi, points, kind)[0], m * split, kind)
    else:
        value, slope = sample(psi, points), slopes(psi, points)
        share = cut_fraction(_in_edges(value, slope, m * split / n), slope)
    share = share.reshape(m, split, m, split, m, split).mean((1, 3, 5))
    return _exact(share) if cubic else share


def with_transpose(
    psi: Float[np.ndarray, "n n n"], m: int, *, cubic: bool = True
) -> tuple[Float[np.ndarray, "m m m"], Callable]:
    """Return `fractions` and the transpose of their derivative.

    This is `back(by_shares (k, m, m, m)) -> (k, n, n, n)`: derivatives by the samples
    of the field from those by the shares, symmetric if the field is and may only change
    so (`cubic`). Only elements that the surface cuts have any.
    """
    n, kind = psi.shape[-1], _kind(psi) if cubic else "orthotropic"
    split = _parts(n, m)
    fine = m * split
    points = centres(n, fine)
    share, cut, by_value, by_slope = _shares(psi, points, kind, slopes_too=True)
    share = spread(share, fine, kind).reshape(m, split, m, split, m, split)
    share = share.mean((1, 3, 5))
    first = np.arange(fine**3) if kind == "orthotropic" else orbit_first(fine)
    place = np.unravel_index(first[cut], (fine,) * 3)
    parent = tuple(line // split for line in place)
    images = multiplicity(fine, kind)[cut] / split**3
    value, slope = (each.astype(np.float32) for each in _matrices(n, points))

    def back(by_shares):
        by_cut = symmetrize(by_shares, kind)[:, *parent] * images
        total = 0
        for axis in (None, 0, 1, 2):
            part = by_cut * (by_value if axis is None else by_slope[axis])
            grid = np.zeros((len(part), fine, fine, fine), np.float32)
            grid[:, *place] = part
            matrices = [slope if axis == i else value for i in range(3)]
            total = total + _transposed(grid, matrices)
        return symmetrize(total.astype(np.float64), kind)

    return (_exact(share) if kind == "cubic" else share), back


def _transposed(grid, matrices):
    """Apply the transpose of one matrix along each of the last three axes."""
    first, second, third = matrices
    grid = second.T @ (grid @ third)
    flat = first.T @ grid.reshape(*grid.shape[:2], -1)
    return flat.reshape(len(grid), -1, *grid.shape[2:])


def _parts(n, m):
    """Return the parts along the edge of an element in which the surface is a plane."""
    return max(1, round(n / (m * _FINEST)))


def _kind(psi):
    return "cubic" if is_cubic(psi) else "orthotropic"


def _in_edges(value, slope, per_spacing):
    """Return the distance of a surface of these values and slopes, in edges."""
    xp = np if isinstance(value, np.ndarray) else jnp
    return value * per_spacing / xp.sqrt((slope**2).sum(0) + TINY)


def _shares(psi, points, kind, slopes_too=False):
    """Return the solid share round each independent point, and which ones are cut.

    With `slopes_too` also the derivatives of those by value and slope of the field.
    """
    per_spacing = len(points) / psi.shape[-1]
    value, slope = _at_grid(psi, points, kind)
    share, cut = _cut(value, slope, per_spacing)
    if not slopes_too:
        return share, cut
    slope = slope[:, cut]
    distance = _in_edges(value[cut], slope, per_spacing)
    by_distance, by_slope = cut_slopes(distance, slope)
    square = (slope**2).sum(0) + TINY
    by_slope = by_slope - by_distance * distance / square * slope
    return share, cut, by_distance * per_spacing / np.sqrt(square), by_slope


def _at_grid(psi, points, kind):
    """Return value (s,) and slope (3, s) of a field at the independent points."""
    value = gather_independent(sample(psi, points), kind)
    return value, gather_independent(slopes(psi, points), kind)


def _cut(value, slope, per_spacing):
    """Return the solid share round points, and round which a surface lies."""
    share = (value > 0).astype(value.dtype)
    distance = _in_edges(value, slope, per_spacing)
    cut = abs(distance) < _HALF_DIAGONAL  # most are not
    share[cut] = cut_fraction(distance[cut], slope[:, cut])
    return share, cut


def halved(
    share: Float[AnyArray, "m m m"], *, cubic: bool = True
) -> Float[AnyArray, "h h h"]:
    """Return the solid shares of elements twice as large."""
    h = len(share) // 2
    share = share.reshape(h, 2, h, 2, h, 2).mean((1, 3, 5))
    return _exact(share) if cubic else share


def soft_step(psi: Float[AnyArray, "*s"], width: Scalar) -> Float[AnyArray, "*s"]:
    """Return 0 in void and 1 in solid, smoothly within `width` of the surface."""
    xp = np if isinstance(psi, np.ndarray) else jnp
    x = xp.clip(psi / width, -1.0, 1.0)
    return 0.5 + 0.75 * x - 0.25 * x * x * x


def soft_fractions(
    psi: Float[AnyArray, "n n n"], m: int, width: Scalar
) -> Float[AnyArray, "m m m"]:
    """Return solid shares of m^3 elements with a blurred surface, for large changes.

    Where `fractions` sees what is cut, this sees what is within `width` spacings of it,
    so that the surface of a field that is no distance yet has somewhere to go.
    """
    n = psi.shape[-1]
    split = max(1, round(n / m))
    share = soft_step(sample(psi, centres(n, m * split)), width)
    return _exact(share.reshape(m, split, m, split, m, split).mean((1, 3, 5)))


def voxels(psi: Float[AnyArray, "n n n"], m: int) -> UInt8[np.ndarray, "m m m"]:
    """Return the binary octant of m^3 voxels, 1 where the field is positive there."""
    psi = np.asarray(psi, np.float64)
    solid = (sample(psi, centres(psi.shape[-1], m)) > 0).astype(np.uint8)
    return _exact(solid) if is_cubic(psi) else solid


def resampled(psi: Float[AnyArray, "k k k"], n: int) -> Float[np.ndarray, "n n n"]:
    """Return the field of the same surface with n samples along the octant."""
    psi = np.asarray(psi, np.float64)
    k = psi.shape[-1]
    if k == n:
        return psi
    found = sample(psi, centres(k, n)) * (n / k)
    return _exact(found) if is_cubic(psi) else found


def volume(psi: Float[AnyArray, "n n n"]) -> float:
    """Return the solid share of the cell, to about 1e-4."""
    return float(fractions(psi, 2 * psi.shape[-1], cubic=False).mean())


def shift_to_volume(
    psi: Float[np.ndarray, "n n n"], share: float
) -> Float[np.ndarray, "n n n"]:
    """Return the field with its surface moved everywhere alike until it has a volume.

    It is met to 1e-5, by at most `SHIFT` spacings: else as near as that comes.
    """
    n, kind = psi.shape[-1], _kind(psi)
    # As in `volume`; a shift changes values and no slope.
    value, slope = _at_grid(psi, centres(n, 2 * n), kind)
    weights = multiplicity(2 * n, kind) / (2 * n) ** 3

    def excess(shift):
        return _cut(value + shift, slope, 2.0)[0] @ weights - share

    if excess(-SHIFT) > 0:
        return psi - SHIFT
    if excess(SHIFT) < 0:
        return psi + SHIFT
    return psi + optimize.brentq(excess, -SHIFT, SHIFT, xtol=1e-5)


def from_voxels(
    octant: Shaped[AnyArray, "m m m"], n: int | None = None, sigma: float = SIGMA
) -> Float[np.ndarray, "n n n"]:
    """Return the field (float64) of a binary octant of about the same volume.

    Steps are rounded off: the surface is where a Gaussian mean of the voxels has the
    level that keeps the volume. That mean is an error function of the distance beside
    flat walls, and is turned into a distance as there.

    Args:
      octant: binary, of a mirror-symmetric cell; cubic ones give cubic fields.
      n: samples along the octant, a divisor of m; None for as many as voxels.
      sigma: standard deviation of the Gaussian, in spacings of these samples.

    Raises:
      InputError: n does not divide the edge, or the octant is all solid or void.
    """
    solid = np.asarray(octant) > 0.5
    m = solid.shape[-1]
    n = m if n is None else n
    if m % n:
        raise InputError(f"n={n} does not divide the {m} voxels of the octant's edge.")
    if solid.all() or not solid.any():
        raise InputError(
            f"the cell is all {'solid' if solid.all() else 'void'}; it has no surface."
        )
    mean = ndimage.gaussian_filter(2.0 * solid - 1, sigma * m / n, mode="reflect")
    mean = mean.reshape(n, m // n, n, m // n, n, m // n).mean((1, 3, 5))
    if is_cubic(solid):
        mean = symmetrize(mean)
    return to_volume(mean, float(solid.mean()), sigma=sigma)


def to_volume(
    mean: Float[np.ndarray, "n n n"], share: float, *, sigma: float = SIGMA
) -> Float[np.ndarray, "n n n"]:
    """Return the field of a smooth array in [-1, 1] at the level that gives a volume.

    The array is about an error function of the distance over `sigma` spacings.
    """

    def field(level):
        # Both ends stay in place: -1 and 1 remain what they are.
        moved = (mean - level) / (1 - level * mean)
        return np.sqrt(2) * sigma * special.erfinv(LEVEL_OFF * np.clip(moved, -1, 1))

    def coarse(level):
        return float(fractions(field(level), mean.shape[-1], cubic=False).mean())

    ends = float(mean.min()), float(mean.max())
    inner = ends[0] + 1e-3 * (ends[1] - ends[0]), ends[1] - 1e-3 * (ends[1] - ends[0])
    wanted = share
    for _ in range(2):  # then with what the coarse grid is off
        if not coarse(inner[1]) < wanted < coarse(inner[0]):
            return field(0.0)  # next to all solid or all void
        goal = wanted
        level = optimize.brentq(lambda a: coarse(a) - goal, *inner, xtol=1e-6)  # noqa: B023
        wanted = share - (volume(field(level)) - coarse(level))
    return field(level)
