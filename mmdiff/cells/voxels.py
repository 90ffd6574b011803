"""Arrays of voxels: binarized to a volume, resampled, filled up, repeated, compared.

Host-side NumPy; nothing here is traced. Pieces and load paths: `cells.connectivity`.
Grids are cells, which go on periodically, or octants, which go on mirrored: "nearest"
and "linear" resample the box, "pad" surrounds it with void, "tile" repeats it, which
changes the voxels but not the material.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmdiff.cells.symmetry import (
    gather_independent,
    multiplicity,
    num_independent,
    spread,
)
from mmdiff.errors import InputError

RESAMPLING = {"nearest": 0, "linear": 1}
FILLING = ("pad", "tile")


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


def good_edge(edge: int, multiple: int = 4) -> int:
    """Return the smallest edge, not below `edge`, that is so many times a whole."""
    return max(2 * multiple, -(-edge // multiple) * multiple)


def resample(density: np.ndarray, edge: int, method: str, *, periodic: bool):
    """Return a grid resampled to (edge, edge, edge), voxel edges aligned.

    It goes on periodically (a cell) or mirrored (an octant); see `RESAMPLING`.
    """
    factors = [edge / size for size in density.shape]
    order, mode = RESAMPLING[method], "grid-wrap" if periodic else "reflect"
    zoomed = ndimage.zoom(density, factors, order=order, mode=mode, grid_mode=True)
    return zoomed.clip(0, 1)


def to_cubes(cell: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Return a binary grid in voxels whose edges are all the shortest one's."""
    if len(set(edges)) == 1:
        return cell
    least = min(edges)
    shape = [
        max(1, round(n * e / least)) for n, e in zip(cell.shape, edges, strict=True)
    ]
    places = [
        (np.arange(m) + 0.5) * n // m for m, n in zip(shape, cell.shape, strict=True)
    ]
    return cell[np.ix_(*(place.astype(int) for place in places))]


def fill(density, edge: int, method: str, name: str, *, octant: bool):
    """Return a grid padded with void or repeated to (edge, edge, edge), and a note.

    A padded cell keeps its middle. An octant keeps the middle of its cell, which is at
    its far end, and is repeated as its cell is: by mirror images.

    Raises:
      InputError: the grid is too large, or does not fit a whole number of times.
    """
    shape = density.shape
    missing = [edge - size for size in shape]
    if method == "tile":
        if any(edge % size for size in shape):
            copies = math.lcm(*shape)
            raise InputError(
                f"{name} has shape {shape}, which does not fill resize={edge} with "
                f"whole copies. Pass `resize={copies * -(-edge // copies)}`."
            )
        mode = "symmetric" if octant else "wrap"
        times = " x ".join(str(edge // size) for size in shape)
        density = np.pad(density, [(0, m) for m in missing], mode=mode)
        return density, f"{name}: repeated {times} times to {edge}^3 voxels."
    if min(missing) < 0:
        raise InputError(
            f"{name} has shape {shape}, more than resize={edge}: padding only adds "
            f"voxels. Pass `resize={max(shape)}`."
        )
    before = [m if octant else m // 2 for m in missing]
    widths = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    note = f"{name}: shape {shape} padded with void to {edge}^3 voxels."
    return np.pad(density, widths), note
