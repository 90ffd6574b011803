"""Wall and gap thickness of binary cells: what a printer must resolve.

The thickness of a voxel is that of its wall, strut or pore in the middle, where the
steepest way leads from the voxel away from the surface. The usual definition, the
largest ball that covers the voxel (Hildebrand & Rueegsegger, J. Microsc. 185 (1997)
67), is small in every corner and on every step of a rough surface, so its minimum is a
voxel or two on whatever cell; this one gives a square rod its edge and a neck its
width, and leaves bumps of one voxel out. Overhangs and closed pores are not looked at.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mmdiff.elasticity import AXES
from mmdiff.typing import Bool, Float, Int

MARGIN = 3  # voxels looked at around the cell
_INNER = (slice(MARGIN, -MARGIN),) * 3
# What SciPy calls the modes of np.pad.
_FILTER_MODES = {"symmetric": "reflect", "wrap": "wrap"}


class Thickness(NamedTuple):
    """Thickness of one phase: the thinnest wall, and the mean over its voxels.

    Both are nan if the phase has no voxel and inf if the other one has none.
    """

    minimum: float
    mean: float


class Features(NamedTuple):
    """Thickness of the walls (solid) and of the gaps between them (void)."""

    solid: Thickness
    void: Thickness


def feature_size(
    octant: np.ndarray, *, mode: str = "symmetric", share: float = 0.01
) -> Features:
    """Return the thinnest and the mean thickness of solid and void, in voxels.

    Args:
      octant: (nx, ny, nz) binary, 3 voxels or more along each axis.
      mode: "symmetric" for the octant of a mirror-symmetric cell, "wrap" for a whole
        cell; walls go on through the faces.
      share: the minimum is the smallest thickness that this share of the phase's voxels
        does not exceed. It keeps voxels that stick out of rough surfaces from counting
        as walls; a strut of less volume is missed. 0 counts every voxel.
    """
    solid = np.asarray(octant) > 0.5
    return Features(*(_summary(phase, mode, share) for phase in (solid, ~solid)))


def wall_thickness(
    phase: Bool[np.ndarray, "nx ny nz"], *, mode: str = "symmetric"
) -> Float[np.ndarray, "nx ny nz"]:
    """Return the thickness at every voxel of a phase, in voxels; 0 in the other phase.

    A slab of k voxels has thickness k throughout, and so have a square rod and a cube.
    Oblique walls are within a voxel, round pieces up to two voxels short. Tapered walls
    are walls where their faces make less than 60 degrees. Where voxels are equally near
    their order decides: mirrored or turned copies of a rough cell may differ in places.
    If all voxels belong to the phase their thickness is inf.
    """
    if mode not in _FILTER_MODES:
        raise ValueError(f'mode={mode!r} must be "symmetric" or "wrap".')
    phase = np.asarray(phase, bool)
    if min(phase.shape) < MARGIN:
        raise ValueError(
            f"cell of shape {phase.shape} is too small; needs {MARGIN} voxels per side."
        )
    if phase.all() or not phase.any():
        return np.where(phase, np.inf, 0.0)
    nearest = _to_other_phase(phase, mode)
    squares = (nearest**2).sum(0, dtype=np.int32)
    thickness, wall = _middles(nearest, squares)
    # In oblique walls the steps of both faces take turns.
    thickness = ndimage.maximum_filter(thickness, 3, mode=_FILTER_MODES[mode])
    end = _way_uphill(np.sqrt(squares), wall, mode)
    return np.where(phase, thickness.ravel()[end], 0.0)


def _summary(phase, mode, share):
    values = wall_thickness(phase, mode=mode)[phase]
    if not values.size:
        return Thickness(np.nan, np.nan)
    thinnest = np.quantile(values, share, method="inverted_cdf")
    return Thickness(float(thinnest), float(values.mean()))


def _to_other_phase(phase, mode) -> Int[np.ndarray, "3 mx my mz"]:
    """Return vectors to the nearest voxel outside the phase, in the cell and around it.

    There are MARGIN voxels more on each side, m = n + 2 MARGIN.
    """
    vectors = _nearest(phase)
    if mode == "wrap":
        # Images of the other phase can only be nearer, so this reach will do.
        reach = int(_length(vectors).max()) + 1 + MARGIN
        part = slice(reach - MARGIN, MARGIN - reach)
        return _nearest(np.pad(phase, reach, "wrap"))[:, part, part, part]
    # Of a voxel and its mirror images the nearest to the octant always lies in it.
    vectors = np.pad(vectors, [(0, 0), *[(MARGIN, MARGIN)] * 3], "symmetric")
    for axis in range(3):
        side = np.moveaxis(vectors[axis], axis, 0)
        side[:MARGIN] *= -1
        side[-MARGIN:] *= -1
    return vectors


def _nearest(phase):
    where = ndimage.distance_transform_edt(
        phase, return_distances=False, return_indices=True
    )
    return where - np.indices(phase.shape, np.int32)


def _middles(nearest, squares):
    """Return the thickness in the middle of walls, else 0, and where walls are.

    Walls are where the other phase lies on opposite sides, see `_walls_along`. Peaks
    where it does not, as in a tetrahedron, have the diameter of their ball; every way
    uphill ends there anyway. The arguments have margins, the results not.
    """
    inside = np.zeros(squares.shape, bool)
    inside[_INNER] = squares[_INNER] > 0
    peak = inside & (squares == ndimage.maximum_filter(squares, 3))
    thickness = np.where(peak, 2 * np.sqrt(squares) - 1, 0.0)
    wall = np.zeros(squares.shape, bool)
    # Axes first: along them the gaps of slabs and rods are exact. Diagonals cut convex
    # edges off unless all 26 neighbours are inside.
    for lines, depth in ((AXES[:3], 0), (AXES[3:], 3)):
        places = inside & ~wall & (squares > depth)
        for line, pair in itertools.product(lines, ((-1, 1), (-1, 2), (-2, 1))):
            index, gap = _walls_along(nearest, squares, places, line, pair)
            thickness.ravel()[index] = np.maximum(thickness.ravel()[index], gap)
            wall.ravel()[index] = True
    return thickness[_INNER], (wall & ~_bumps(squares, wall))[_INNER]


def _walls_along(nearest, squares, places, line, pair):
    """Return flat indices and thickness of voxels in the middle of a wall.

    They are farther from the other phase than the voxels `pair` steps along the line
    and as far as the one between, if there is one; and the two of the pair have it in
    directions over 120 degrees apart (90 in right-angled corners). The thickness is the
    distance of the two voxels of the other phase across the wall, less one.
    """
    crest = places.copy()
    for step in range(pair[0], pair[1] + 1):
        here, there = squares[_INNER], squares[_moved(step * line)]
        crest[_INNER] &= here > there if step in pair else here == there
    index = np.flatnonzero(crest)
    flat, stride = nearest.reshape(3, -1), _strides(squares)
    low, high = (flat[:, index + step * (line @ stride)] for step in pair)
    gap = high - low + (pair[1] - pair[0]) * line[:, None]
    # A voxel of the other phase itself has no direction but that of the line.
    low = np.where(low.any(0), low, -line[:, None])
    high = np.where(high.any(0), high, line[:, None])
    low, high = low / _length(low), high / _length(high)
    opposite = (low * high).sum(0) < -0.5
    across = (high - low)[:, opposite]
    gap = (gap[:, opposite] * across).sum(0) / _length(across)
    return index[opposite], gap - 1


def _bumps(squares, wall):
    """Whether voxels of `wall` are in bumps: no higher than one voxel, or nearly so.

    Two or three voxels away, at y, lies a ball that holds theirs but for one voxel,
    |y - x| + height(x) <= height(y) + 1, and away from all of these balls nothing is
    higher; in a neck the other body is.
    """
    index = np.flatnonzero(wall)
    height, strides = np.sqrt(squares).ravel(), _strides(squares)
    steps = np.array(list(itertools.product(range(-MARGIN, MARGIN + 1), repeat=3)))
    length = np.linalg.norm(steps, axis=1)
    steps = steps[(length >= 2) & (length <= MARGIN)]
    body = np.zeros((3, len(index)), np.int32)
    for step in steps:
        gain = height[index + step @ strides] - height[index]
        body += (gain >= np.linalg.norm(step) - 1) * step[:, None].astype(np.int32)
    bump = body.any(0)
    for step in steps:
        away = step @ body < 0
        bump &= ~(away & (height[index + step @ strides] > height[index]))
    bumps = np.zeros(squares.shape, bool)
    bumps.ravel()[index] = bump
    return bumps


def _length(vectors):
    return np.sqrt((vectors**2).sum(0))


def _strides(array):
    """Return by how much a step on each axis moves the flat index of an array."""
    return np.array([array.shape[1] * array.shape[2], array.shape[2], 1])


def _moved(step):
    """Return the slices of the cell, moved by a step, in an array with margins."""
    return tuple(slice(MARGIN + s, (s - MARGIN) or None) for s in step)


def _way_uphill(height, wall, mode) -> Int[np.ndarray, "nx ny nz"]:
    """Return the number of the voxel where the steepest way up from each voxel ends.

    It ends on the first voxel of `wall` (nx, ny, nz), or on a peak; height is that of
    the voxels with a margin around them.
    """
    shape = wall.shape
    number = np.pad(np.arange(wall.size, dtype=np.int32).reshape(shape), MARGIN, mode)
    here, end = height[_INNER], number[_INNER]
    steepest = np.zeros(shape)
    for step in itertools.product((-1, 0, 1), repeat=3):
        to = _moved(step)
        slope = (height[to] - here) / (np.linalg.norm(step) or 1.0)
        better = ~wall & (slope > steepest)
        steepest = np.where(better, slope, steepest)
        end = np.where(better, number[to], end)
    end = end.ravel()
    while not np.array_equal(end, end[end]):
        end = end[end]
    return end.reshape(shape)
