"""Binary voxel cells: threshold to a volume, thin parts, voxels in which two agree.

Host-side NumPy; nothing here is traced. Pieces and load paths: `cells.connectivity`.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmdiff.cells.symmetry import (
    gather_independent,
    multiplicity,
    num_independent,
    spread,
)


def threshold_to_volume(
    field: np.ndarray, volume: float, symmetry: str = "cubic"
) -> np.ndarray:
    """Binarize an octant so that its solid share is nearest to `volume`.

    Whole orbits are switched, highest value first, so the result stays symmetric. The
    field may have any range; the octant is uint8.
    """
    n = field.shape[-1]
    values = gather_independent(np.asarray(field, np.float64), symmetry)
    order = np.argsort(-values, kind="stable")
    filled = np.cumsum(multiplicity(n, symmetry)[order])
    count = np.argmin(abs(np.concatenate([[0], filled]) - volume * n**3))
    solid = np.zeros(num_independent(n, symmetry), np.uint8)
    solid[order[:count]] = 1
    return spread(solid, n, symmetry)


def thin_share(octant: np.ndarray) -> float:
    """Return the share of voxels in features one voxel thick, of solid or void.

    Such a voxel lies in no cube of 2^3 voxels alike. Tips of curved surfaces are among
    them, a few in a thousand.
    """
    count, cube = 0, np.ones((2, 2, 2), bool)
    padded = np.pad(octant > 0, 2, mode="symmetric")
    for part in (padded, ~padded):
        thin = part & ~ndimage.binary_opening(part, cube)
        count += np.count_nonzero(thin[2:-2, 2:-2, 2:-2])
    return count / octant.size


def pack(octants: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Return binary octants or cells (N, n, n, n) as bits (N, b), for `agreement`."""
    octants = np.asarray(octants)
    return np.packbits(octants.reshape(len(octants), -1) > 0, axis=1)


def agreement(
    octant: np.ndarray, packed: np.ndarray, *, half_shift: bool = False
) -> np.ndarray:
    """Return the share of voxels (N,) in which an octant agrees with each of many.

    The similarity of arXiv 2401.13570, Eq. 4. A cell and its shift by half a period
    are the same material: with `half_shift` the higher agreement of the two counts.
    """
    same = [octant, octant[::-1, ::-1, ::-1]] if half_shift else [octant]
    differing = np.min(
        [np.bitwise_count(packed ^ one).sum(1, dtype=np.int64) for one in pack(same)], 0
    )
    return (octant.size - differing) / octant.size
