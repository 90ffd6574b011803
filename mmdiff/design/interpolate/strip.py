"""Cells that are graded along an axis through the members of a family.

The field at each place is that of the member of the volume meant there, between the two
nearest ones: where these differ by little, as in a chain, cells grow into each other
without a step.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.design.interpolate.family import Member
from mmdiff.typing import Float

SPECK = 30  # points of a closed pore that is filled
LEVEL = 0.1  # spacings from the surface that is left of it


def graded(
    members: Sequence[Member],
    cells: int,
    samples: int = 32,
    *,
    tiles: tuple[int, int, int] | None = None,
    axis: int = 0,
    ends: tuple[float, float] | None = None,
) -> Float[np.ndarray, "x y z"]:
    """Return the field of a strip of cells at the corners of its voxels, float32.

    Args:
      members: by volume, the lightest at the low end of the axis.
      cells: along the axis.
      samples: voxels along half a cell.
      tiles: cells along x, y and z; None for one across the axis.
      axis: along which the volume changes, 0 for x.
      ends: volumes at both ends of the axis; None for those of the members.
    """
    count, n = 2 * samples * cells + 1, members[0].psi.shape[-1]
    volume = np.array([member.volume for member in members])
    meant = np.linspace(*(ends or (volume[0], volume[-1])), count)
    place = np.interp(meant, volume, np.arange(len(members)))
    points = surface.corners(n, samples)
    first, second = (k for k in range(3) if k != axis)
    wide, deep = (1, 1) if tiles is None else (tiles[first], tiles[second])
    # Of mirror images the one in the octant.
    along, across, behind = (_folded(samples, k) for k in (cells, wide, deep))
    found = np.zeros((count, len(across), len(behind)), np.float32)
    for k, member in enumerate(members):
        weight = np.clip(1 - abs(place - k), 0, 1)
        rows = np.flatnonzero(weight)
        value = surface.sample(np.asarray(member.psi, np.float64), points)
        value = np.moveaxis(value, axis, 0)
        layers = value[along[rows]][:, across][:, :, behind]
        found[rows] += weight[rows, None, None] * layers
    return np.ascontiguousarray(np.moveaxis(_without_specks(found), 0, axis))


def _folded(samples, cells):
    """Return the sample of the octant at each corner of a row of cells."""
    place = np.arange(2 * samples * cells + 1) % (2 * samples)
    return samples - abs(place - samples)


def _without_specks(values):
    """Fill closed pores of a few points, and drop solid outside of the largest piece.

    Drain holes that move from member to member leave such.
    """
    void, _ = ndimage.label(values <= 0)
    sizes = np.bincount(void.ravel())
    small = sizes < SPECK
    small[0] = False
    values = np.where(small[void], LEVEL, values)
    solid, _ = ndimage.label(values > 0)
    sizes = np.bincount(solid.ravel())
    sizes[0] = 0
    loose = (solid > 0) & (solid != sizes.argmax())
    return np.where(loose, -LEVEL, values).astype(np.float32)
