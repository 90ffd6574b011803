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

from mmdiff.typing import Bool, Float, Int

MARGIN = 3  # voxels looked at around the cell
_INNER = (slice(MARGIN, -MARGIN),) * 3
# What SciPy calls the modes of np.pad.
_FILTER_MODES = {"symmetric": "reflect", "wrap": "wrap"}


class Thickness(NamedTuple):
    """Thickness of one phase, in voxels unless converted by `in_mm`.

    Both are nan if the phase has no voxel and inf if the other one has none.

    Attributes:
      minimum: of the thinnest wall.
      mean: over the voxels of the phase.
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
      octant: (n, n, n) binary, n >= 3.
      mode: "symmetric" for the octant of a mirror-symmetric cell, "wrap" for a whole
        cell; walls go on through the faces.
      share: the minimum is the smallest thickness that this share of the phase's voxels
        does not exceed. It keeps voxels that stick out of rough surfaces from counting
        as walls; a strut of less volume is missed. 0 counts every voxel.
    """
    solid = np.asarray(octant) > 0.5
    return Features(*(_summary(phase, mode, share) for phase in (solid, ~solid)))


def in_mm(features: Features, edge_mm: float, num_voxels: int) -> Features:
    """Return features in millimetres.

    Args:
      features: in voxels.
      edge_mm: edge of the printed cell.
      num_voxels: voxels along it: 2n for an octant of n.
    """
    size = edge_mm / num_voxels
    return Features(*(Thickness(t.minimum * size, t.mean * size) for t in features))


def wall_thickness(
    phase: Bool[np.ndarray, "n n n"], *, mode: str = "symmetric"
) -> Float[np.ndarray, "n n n"]:
    """Return the thickness at every voxel of a phase, in voxels; 0 in the other phase.

    A slab of k voxels has thickness k throughout, and so have a square rod and a cube.
    Oblique walls are within a voxel; round pieces, measured between the voxels farthest
    in, are one to three voxels short. A tapered wall counts as one where its faces make
    less than 60 degrees. Where voxels are equally near, their order decides: mirrored
    or turned copies of a cell may differ by some voxels at a few places.

    Args:
      phase: which voxels belong to it, n >= 3; if all do, their thickness is inf.
      mode: "symmetric" for an octant, "wrap" for a whole cell.
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


def _to_other_phase(phase, mode) -> Int[np.ndarray, "3 m m m"]:
    """Return vectors to the nearest voxel outside the phase, in the cell and around it.

    There are MARGIN voxels more on each side, m = n + 2 MARGIN.
    """
    vectors = _nearest(phase)
    if mode == "wrap":
        # Images of the other phase can only be nearer, so this reach will do.
        reach = int(np.sqrt((vectors**2).sum(0).max())) + 1 + MARGIN
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

    The middle are voxels that are farthest from the other phase along an axis, alone or
    with one neighbour, and have it on both sides in directions over 120 degrees apart
    (90 in right-angled corners). The thickness is the distance between the nearest
    voxels of the other phase on either side, less one. Peaks without such a pair, as in
    a tetrahedron, have the diameter of their ball; every way uphill ends there anyway.

    Returns:
      thickness (n, n, n) and wall (n, n, n) bool, of arguments with margins.
    """
    inside = np.zeros(squares.shape, bool)
    inside[_INNER] = squares[_INNER] > 0
    peak = inside & (squares == ndimage.maximum_filter(squares, 3))
    thickness = np.where(peak, 2 * np.sqrt(squares) - 1, 0.0)
    wall = np.zeros(squares.shape, bool)
    flat, stride = nearest.reshape(3, -1), _strides(squares)
    pairs = ((-1, 1), (-1, 2), (-2, 1))
    # Axes first: there the gaps of slabs and rods are exact.
    for direction, pair in itertools.product(AXES, pairs):
        crest = inside & ~wall
        for shift in range(pair[0], pair[1] + 1):
            other = squares[_shifted(shift * direction)]
            here = crest[_INNER]
            here &= squares[_INNER] > other if shift in pair else squares[_INNER] == other
        index = np.flatnonzero(crest)
        vectors = [flat[:, index + shift * (direction @ stride)] for shift in pair]
        between = vectors[1] - vectors[0] + (pair[1] - pair[0]) * direction[:, None]
        # A neighbour of the other phase has no direction but that of the line.
        for vector, sign in zip(vectors, (-1, 1), strict=True):
            vector[:, ~vector.any(0)] = sign * direction[:, None]
        dot = (vectors[0] * vectors[1]).sum(0)
        norms = [np.sqrt((vector**2).sum(0)) for vector in vectors]
        opposite = dot < -0.5 * norms[0] * norms[1]
        index = index[opposite]
        gap = np.sqrt((between[:, opposite] ** 2).sum(0)) - 1
        thickness.ravel()[index] = np.maximum(thickness.ravel()[index], gap)
        wall.ravel()[index] = True
    return thickness[_INNER], (wall & ~_bumps(squares, wall))[_INNER]


def _bumps(squares, wall):
    """Whether voxels of `wall` are in bumps: no higher than one voxel, or nearly so.

    Two or three voxels away, at y, lies a ball that holds theirs but for one voxel,
    |y - x| + height(x) <= height(y) + 1, and on the other side, where a neck has a
    second one, nothing is higher.
    """
    index = np.flatnonzero(wall)
    height = np.sqrt(squares).ravel()
    stride = np.array([squares.shape[1] * squares.shape[2], squares.shape[2], 1])
    bump = np.zeros(len(index), bool)
    for step in itertools.product(range(-MARGIN, MARGIN + 1), repeat=3):
        length = np.linalg.norm(step)
        if 2 <= length <= MARGIN:
            offset = np.dot(step, stride)
            higher = height[index + offset] + 1 >= height[index] + length
            bump |= higher & (height[index - offset] <= height[index])
    bumps = np.zeros(squares.shape, bool)
    bumps.ravel()[index] = bump
    return bumps


def _way_uphill(height, wall, mode) -> Int[np.ndarray, "n n n"]:
    """Return the number of the voxel where the steepest way up from each voxel ends.

    It ends on the first voxel of `wall` (n, n, n), or on a peak; height is (m, m, m).
    """
    shape = wall.shape
    number = np.pad(np.arange(wall.size, dtype=np.int32).reshape(shape), MARGIN, mode)
    here, end = height[_INNER], number[_INNER]
    steepest = np.zeros(shape)
    for step in itertools.product((-1, 0, 1), repeat=3):
        to = tuple(slice(MARGIN + s, s - MARGIN) for s in step)
        slope = (height[to] - here) / (np.linalg.norm(step) or 1.0)
        better = ~wall & (slope > steepest)
        steepest = np.where(better, slope, steepest)
        end = np.where(better, number[to], end)
    end = end.ravel()
    while not np.array_equal(end, end[end]):
        end = end[end]
    return end.reshape(shape)
