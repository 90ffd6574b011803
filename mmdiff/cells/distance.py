"""Fields as signed distances, in 8 bits: what is stored and what a network sees.

A field is redistanced: each sample gets its distance from the surface, levelled off as
`surface.from_voxels` does, so that all fields end at +-`CLIP`. Of a cubic field the
independent samples alone are stored, as whole numbers from -127 to 127.
"""

import numpy as np
from scipy import special
from scipy.spatial import cKDTree

from mmdiff.cells import surface
from mmdiff.cells.printable import find_surface, make_grid
from mmdiff.cells.symmetry import (
    gather_independent,
    multiplicity,
    orbit_first,
    spread,
)
from mmdiff.errors import InputError
from mmdiff.typing import Float, Int8

CLIP = 2.81  # spacings from the surface at which fields end
STEPS = 127  # stored numbers on each side of the surface
_FAR = 5.0  # spacings, at which fields are level
_BESIDE = 0.6  # spacings beside a point of the surface: near it, that is a plane


def level_off(distance: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Return distances that level off smoothly at +-`CLIP`, unchanged up to about 2."""
    smooth = special.erf(distance / np.sqrt(2))
    return np.sqrt(2) * special.erfinv(surface.LEVEL_OFF * smooth)


def redistance(psi: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return a cubic field whose samples are distances from the surface, levelled off.

    The surface stays where it is to some hundredths of a spacing; its volume is met.
    A field without a surface is refused.
    """
    psi, n = np.asarray(psi, np.float64), psi.shape[-1]
    found = find_surface(make_grid(psi), wedged=True)
    if not len(found.points):
        raise InputError("the field is all solid or all void; it has no surface.")
    # Of a point and its images the nearest to a sample of the wedge lies in it.
    samples = np.stack(np.unravel_index(orbit_first(n), psi.shape), 1)
    samples = -np.sort(-samples, axis=1).astype(np.float64)
    tree = cKDTree(found.points, balanced_tree=False, compact_nodes=False)
    length, nearest = tree.query(samples, distance_upper_bound=_FAR)
    length, nearest = np.minimum(length, _FAR), nearest % len(found.points)
    way = samples - found.points[nearest]
    across = (way * found.normals[nearest]).sum(1)
    beside = np.sqrt(np.maximum(length**2 - across**2, 0.0))
    sign = np.where(gather_independent(psi) > 0, 1.0, -1.0)
    # Points lie half a spacing apart: beside them the surface goes on as a plane.
    distance = np.where(beside < _BESIDE, abs(across), length)
    levelled = spread(level_off(sign * distance), n)
    off = surface.volume(psi) - surface.volume(levelled)
    return levelled + off * n**3 / (6 * found.areas.sum())


def pack(psi: Float[np.ndarray, "*b n n n"]) -> Int8[np.ndarray, "*b m"]:
    """Return the independent samples of cubic fields in 8 bits."""
    values = gather_independent(np.asarray(psi)) * (STEPS / CLIP)
    return np.clip(np.rint(values), -STEPS, STEPS).astype(np.int8)


def unpack(packed: Int8[np.ndarray, "*b m"], n: int) -> Float[np.ndarray, "*b n n n"]:
    """Return the fields of `pack`, exactly cubic."""
    return spread(np.asarray(packed) * (CLIP / STEPS), n)


def agreement(
    packed: Int8[np.ndarray, "m"], many: Int8[np.ndarray, "k m"], n: int
) -> Float[np.ndarray, "k"]:
    """Return the share of n^3 voxels in which a cell agrees with each of many.

    The similarity of arXiv 2401.13570, Eq. 4.
    """
    return ((packed > 0) == (many > 0)) @ (multiplicity(n) / n**3)
