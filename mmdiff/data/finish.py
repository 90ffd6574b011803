"""Closing a dataset: repeated cells, the property-uniform subset, test targets.

The outcome depends on the cells and the seed alone; octants are read only where two
cells may be one.

Test targets are tensors and volumes in or near the covered part of property space, as
in arXiv 2401.13570 (1,660 of them). Every filled bin of the grid is as likely as any
other, so rare tensors count as much as common ones; a quarter lies in empty bins beside
filled ones. The list is in random order: its first lines are a smaller test.
"""

from typing import NamedTuple

import numpy as np

from mmdiff.cells.voxels import agreement, pack
from mmdiff.data import select, space, store
from mmdiff.data.recipe import Recipe
from mmdiff.errors import DataError
from mmdiff.typing import Bool, Float

NEAR = 0.25  # share of targets in empty bins
COLUMNS = ("C11", "C12", "C44", "V", "inside", "distance")
_SUBSET, _TARGETS = 1, 2  # streams of random numbers beside those of the shards


class Closing(NamedTuple):
    """Cells that repeat no earlier one, the property-uniform subset, test targets."""

    kept: Bool[np.ndarray, "N"]
    selected: Bool[np.ndarray, "N"]
    targets: list[dict[str, float]]


def close(
    labels: store.Labels, recipe: Recipe, *, subset: int, num_targets: int
) -> Closing:
    """Return duplicates, subset (of training cells) and test targets of a dataset."""
    kept = ~_repeated(labels, recipe)
    split = np.array([record["split"] for record in labels.records])
    training = np.flatnonzero(kept & (split == select.TRAIN))
    index = space.bin_index(labels.constants, labels.volume)
    rng = np.random.default_rng([recipe.seed, _SUBSET, len(recipe.plan())])
    chosen = training[select.uniform_order(rng, index[training])[:subset]]
    selected = np.isin(np.arange(len(kept)), chosen)
    rng = np.random.default_rng([recipe.seed, _TARGETS, len(recipe.plan())])
    cells = labels.constants[kept], labels.volume[kept], split[kept] == select.TRAIN
    targets = draw_targets(rng, num_targets, *cells, recipe.volume_range)
    return Closing(kept, selected, targets)


def draw_targets(
    rng: np.random.Generator,
    count: int,
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    training: Bool[np.ndarray, "N"],
    limits: tuple[float, float],
) -> list[dict[str, float]]:
    """Return test targets with volumes within limits, one dict of `COLUMNS` each.

    C11, C12, C44, V are rounded to 1e-5, "inside" is 1 for a bin that holds a cell and
    0 for an empty one, and the distance is that to the nearest training cell.
    """
    if not count:
        return []
    index = space.bin_index(constants, volume)
    filled = np.intersect1d(index, space.reachable_bins(*limits))
    if not (len(filled) and training.any()):
        raise DataError(
            f"{len(volume)} cells, {training.sum()} of them for training, fill "
            f"{len(filled)} bins of property space: there is nothing to draw targets "
            "from. Ask for more candidates, or pass `num_targets=0`."
        )
    beside = space.frontier(constants, volume, limits)
    outside = (rng.random(count) < NEAR) & (len(beside) > 0)
    empty = rng.choice(beside if len(beside) else filled, count)
    bins = np.where(outside, empty, rng.choice(filled, count))
    points = space.draw_in_bins(rng, bins, limits, decimals=5)
    known = np.column_stack([constants, volume])[training]
    distance = select.property_distance(points, known)
    rows = zip(points.tolist(), outside, distance.tolist(), strict=True)
    return [
        dict(zip(COLUMNS, (*point, int(not far), round(away, 6)), strict=True))
        for point, far, away in rows
    ]


def _repeated(labels: store.Labels, recipe: Recipe) -> Bool[np.ndarray, "N"]:
    """Return which cells repeat an earlier one of another shard of their round.

    All other repetitions were refused when the shard was made.
    """
    shard = np.array([r["id"] // recipe.shard_size for r in labels.records])
    number = np.array([r["round"] for r in labels.records])
    points = select.property_points(labels.constants, labels.volume)
    pairs = select.near_pairs(points, recipe.distance)
    i, j = pairs.T
    repeated = np.zeros(len(points), bool)
    for a, b in pairs[(number[i] == number[j]) & (shard[i] != shard[j])]:
        if not repeated[a] and not repeated[b]:
            first, second = labels.octants([a, b])
            alike = agreement(first, pack(second[None]))[0]
            repeated[b] = alike >= recipe.similarity
    return repeated
