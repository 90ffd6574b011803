"""A block of cells whose solid share changes along one axis.

The parameter of the lattice follows the volume from place to place, so that cells grow
into each other without a step. Tensors are those of whole cells of the volume in the
middle of each layer.
"""

import math
from typing import NamedTuple

import numpy as np

from mmdiff.cells import lattices
from mmdiff.errors import InputError
from mmdiff.typing import Float

MOST_POINTS = 4e7  # of the grid on which a block is meshed


class Block(NamedTuple):
    """A graded block of cells.

    Attributes:
      values: field at the corners of voxels, (x, y, z) of them.
      layers: solid share that is meant in the middle of each layer of cells.
    """

    values: Float[np.ndarray, "x y z"]
    layers: Float[np.ndarray, "k"]


def make_block(
    name: str,
    ends: tuple[float, float],
    counts: tuple[int, int, int],
    *,
    axis: int = 2,
    samples: int = 32,
) -> Block:
    """Return cells side by side, with volumes from one end of an axis to the other.

    Args:
      name: one of `lattices.NAMES`.
      ends: solid shares at both ends, linear between.
      counts: cells along x, y and z.
      axis: along which the share changes.
      samples: points along half a cell.

    Raises:
      InputError: a volume that the lattice cannot have, or too many cells.
    """
    sizes = [2 * samples * count + 1 for count in counts]
    if math.prod(sizes) > MOST_POINTS:
        raise InputError(
            f"{' x '.join(map(str, counts))} cells of {2 * samples} voxels are "
            f"{math.prod(sizes):.2g} points, too many to mesh at once. Lower `repeat` "
            "or `samples`."
        )
    along = [np.arange(size) / (2 * samples) for size in sizes]
    share = np.linspace(*ends, sizes[axis])
    shape = [-1 if i == axis else 1 for i in range(3)]
    value = lattices.graded_parameters(name, share, samples).reshape(shape)
    points = lattices.make_points(*along, samples)
    middles = (np.arange(counts[axis]) + 0.5) / counts[axis]
    layers = ends[0] + (ends[1] - ends[0]) * middles
    return Block(lattices.sample(name, value, points), layers)
