"""Level-set fields that are cells: samples of a network, densities of a design.

An array becomes a field of a volume, without the pieces of solid that do not hang
together with the largest. What bears no load is refused.
"""

import numpy as np
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.distance import CLIP
from mmdiff.cells.mend import drop_pieces
from mmdiff.cells.symmetry import symmetrize
from mmdiff.typing import AnyArray, Float

MIN_SHARE = 0.8  # least share of the solid that the largest piece must hold


def to_field(
    sample: Float[AnyArray, "n n n"], volume: float | None, symmetry: str = "cubic"
) -> tuple[Float[np.ndarray, "n n n"], str]:
    """Return the field of a network's sample, and why it is no good ("" if it is).

    Samples in [-1, 1] are distances in units of `CLIP`. The surface is moved to the
    volume asked for, everywhere alike; None leaves it.
    """
    psi = CLIP * np.clip(np.asarray(sample, np.float64), -1, 1)
    if not 0 < (psi > 0).mean() < 1:
        return psi, "all solid or all void"
    psi = symmetrize(psi, symmetry)
    if volume is not None:
        psi = surface.shift_to_volume(psi, volume)
    return connected(psi, symmetry)


def to_sample(psi: Float[AnyArray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return what a network would have sampled for a field, in [-1, 1]."""
    return np.clip(np.asarray(psi) / CLIP, -1, 1)


def of_density(
    density: Float[AnyArray, "n n n"], volume: float | None, symmetry: str = "cubic"
) -> tuple[Float[np.ndarray, "n n n"], str]:
    """Return the field of a density in [-1, 1], and why it is no good ("" if it is).

    Steps are rounded off. The volume is that asked for, or that of the density where it
    is positive.
    """
    density = np.clip(np.asarray(density, np.float64), -1, 1)
    share = float((density > 0).mean()) if volume is None else volume
    if not 0 < (density > 0).mean() < 1:
        return density, "all solid or all void"
    mean = ndimage.gaussian_filter(density, surface.SIGMA, mode="reflect")
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


def repaired(
    psi: Float[np.ndarray, "n n n"], symmetry: str = "cubic"
) -> Float[np.ndarray, "n n n"] | None:
    """Return a field without loose pieces, None where it is no good (`connected`)."""
    psi, flaw = connected(psi, symmetry)
    return None if flaw else psi
