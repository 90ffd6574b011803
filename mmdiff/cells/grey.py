"""Level-set fields of grey arrays: samples of a network, densities of a design.

An array becomes a field at the level that gives a volume, without the pieces of solid
that do not hang together with the largest. What bears no load is refused.
"""

import numpy as np
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.mend import drop_pieces
from mmdiff.cells.symmetry import symmetrize
from mmdiff.typing import AnyArray, Float

MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold


def to_field(
    sample: Float[AnyArray, "n n n"], volume: float | None, symmetry: str = "cubic"
) -> tuple[Float[np.ndarray, "n n n"], str]:
    """Return the field of an array in [-1, 1], and why it is no good ("" if it is).

    The volume is that asked for, or that of the array where it is positive.
    """
    sample = np.clip(np.asarray(sample, np.float64), -1, 1)
    share = float((sample > 0).mean()) if volume is None else volume
    if not 0 < (sample > 0).mean() < 1:
        return sample, "all solid or all void"
    mean = ndimage.gaussian_filter(sample, surface.SIGMA, mode="reflect")
    return connected(surface.to_volume(symmetrize(mean, symmetry), share), symmetry)


def connected(
    psi: Float[np.ndarray, "n n n"], symmetry: str = "cubic"
) -> tuple[Float[np.ndarray, "n n n"], str]:
    """Return a field without loose pieces, and why it is no good ("" if it is)."""
    solid = surface.voxels(psi, psi.shape[-1])
    octant, pieces, share = clean_octant(solid, symmetry)
    if share < MIN_SHARE:
        return psi, "disconnected"
    if not is_load_bearing(octant):
        return psi, "not load bearing"
    if pieces > 1:
        psi = drop_pieces(psi)
    return psi, ""
