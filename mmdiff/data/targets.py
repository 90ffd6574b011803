"""Test targets: tensors and volumes in or near the covered part of property space.

As in arXiv 2401.13570 (1,660 of them). Every filled bin of the grid is as likely as any
other, so rare tensors count as much as common ones; a quarter lies in empty bins beside
filled ones. The list is in random order: its first lines are a smaller test.
"""

import numpy as np

from mmdiff.data import select, space
from mmdiff.errors import DataError
from mmdiff.typing import Bool, Float

NEAR = 0.25  # share of targets in empty bins
COLUMNS = ("C11", "C12", "C44", "V", "inside", "distance")


def draw_targets(
    rng: np.random.Generator,
    count: int,
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    training: Bool[np.ndarray, "N"],
    limits: tuple[float, float],
) -> list[dict[str, float]]:
    """Return test targets, one dict of `COLUMNS` each.

    Args:
      rng: source of the targets.
      count: targets wanted.
      constants: those of all cells, base E = 1.
      volume: their volume fractions.
      training: which cells a model may be trained on.
      limits: least and largest volume.

    Returns:
      C11, C12, C44, V rounded to 1e-5, "inside" 1 for a bin that holds a cell and 0 for
      an empty one, and the property distance to the nearest training cell.

    Raises:
      DataError: if there is no cell to start from.
    """
    if not count:
        return []
    index = space.bin_index(constants, volume)
    filled = np.intersect1d(index, space.reachable_bins(*limits))
    if not (len(filled) and training.any()):
        raise DataError(
            f"{len(volume)} cells, {training.sum()} of them for training, fill "
            f"{len(filled)} bins of property space: there is nothing to draw targets "
            "from. Ask for more candidates, or pass --config.num_targets=0."
        )
    beside = space.frontier(constants, volume, limits)
    outside = rng.random(count) < NEAR
    if not len(beside):
        outside[:] = False
    bins = np.where(
        outside,
        rng.choice(beside if len(beside) else filled, count),
        rng.choice(filled, count),
    )
    points = space.draw_in_bins(rng, bins, limits, decimals=5)
    known = np.concatenate([constants, volume[:, None]], axis=1)[training]
    distance = select.property_distance(points, known)
    return [
        dict(zip(COLUMNS, (*point, int(not far), round(away, 6)), strict=True))
        for point, far, away in zip(
            points.tolist(), outside, distance.tolist(), strict=True
        )
    ]
