"""Edges that the solver takes, and four ways to get there from any grid of voxels.

"nearest" and "linear" resample the box, "pad" surrounds it with void, "tile" repeats
it, which changes the voxels but not the material. Grids are cells, which go on
periodically, or octants, which go on mirrored.
"""

import math

import numpy as np
from scipy import ndimage

from mmdiff.errors import InputError

RESAMPLING = {"nearest": 0, "linear": 1}
FILLING = ("pad", "tile")


def good_edge(edge: int, multiple: int = 4) -> int:
    """Return the smallest edge that the solver takes and is not below `edge`."""
    return max(2 * multiple, -(-edge // multiple) * multiple)


def tile_edge(*edges: int, multiple: int = 4) -> int:
    """Return the smallest edge that the solver takes and whole copies fill."""
    edge = math.lcm(*edges, multiple)
    return edge if edge > multiple else 2 * edge


def check_edge(edge: int, name: str, *, factor: int = 1) -> None:
    """Raise InputError unless the edge is a multiple of 4 and at least 8.

    Args:
      edge: voxels per side that the solver gets.
      name: of the file, for the message.
      factor: 2 where the file holds the whole cell and its octant is solved.
    """
    if edge < 8 or edge % 4:
        size, multiple = factor * edge, 4 * factor
        repeated = tile_edge(size, multiple=multiple)
        tile = (
            f", or `resize={repeated}` `resize_method=tile` to repeat the cell as it is"
        )
        raise InputError(
            f"{name} has {size} voxels per edge; the solver needs a multiple of "
            f"{multiple} and at least {2 * multiple}. Pass "
            f"`resize={good_edge(size, multiple)}` to resample"
            # Four times an odd edge is 64 times the voxels.
            f"{tile if repeated <= max(2 * size, 64) else ''}."
        )


def resample(density: np.ndarray, edge: int, method: str, *, periodic: bool):
    """Return a grid resampled to (edge, edge, edge), voxel edges aligned.

    It goes on periodically (a cell) or mirrored (an octant); see `RESAMPLING`.
    """
    factors = [edge / size for size in density.shape]
    order, mode = RESAMPLING[method], "grid-wrap" if periodic else "reflect"
    zoomed = ndimage.zoom(density, factors, order=order, mode=mode, grid_mode=True)
    return zoomed.clip(0, 1)


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
            raise InputError(
                f"{name} has shape {shape}, which does not fill resize={edge} with "
                f"whole copies. Pass `resize={tile_edge(*shape)}`."
            )
        mode = "symmetric" if octant else "wrap"
        times = " x ".join(str(edge // size) for size in shape)
        density = np.pad(density, [(0, m) for m in missing], mode=mode)
        return density, f"{name}: repeated {times} times to {edge}^3 voxels."
    if min(missing) < 0:
        raise InputError(
            f"{name} has shape {shape}, more than resize={edge}: padding only adds "
            f"voxels. Pass `resize={good_edge(max(shape))}`."
        )
    before = [m if octant else m // 2 for m in missing]
    widths = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    note = f"{name}: shape {shape} padded with void to {edge}^3 voxels."
    return np.pad(density, widths), note
