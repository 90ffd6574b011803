"""A strip of cells that are graded along x through the members of a family.

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
    members: Sequence[Member], cells: int, samples: int = 32
) -> Float[np.ndarray, "x y z"]:
    """Return the field of a strip of cells at the corners of its voxels, float32.

    Args:
      members: by volume, the lightest at the low end of x.
      cells: along x.
      samples: voxels along half a cell.
    """
    count, n = 2 * samples * cells + 1, members[0].psi.shape[-1]
    volume = np.array([member.volume for member in members])
    meant = np.linspace(volume[0], volume[-1], count)
    place = np.interp(meant, volume, np.arange(len(members)))
    points = surface.corners(n, samples)
    # Of mirror images the one in the octant.
    along = samples - abs(np.arange(count) % (2 * samples) - samples)
    across = samples - abs(np.arange(2 * samples + 1) - samples)
    found = np.zeros((count, len(across), len(across)), np.float32)
    for k, member in enumerate(members):
        weight = np.clip(1 - abs(place - k), 0, 1)
        rows = np.flatnonzero(weight)
        value = surface.sample(np.asarray(member.psi, np.float64), points)
        layers = value[along[rows]][:, across][:, :, across]
        found[rows] += weight[rows, None, None] * layers
    return _without_specks(found)


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
