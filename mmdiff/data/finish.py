"""Closing a dataset: repeated cells, the property-uniform subset, test targets.

Needs the labels of all shards; octants are read only where two cells may be one. The
outcome depends on the cells and the seed alone.
"""

from typing import NamedTuple

import numpy as np

from mmdiff.cells.voxels import agreement, pack
from mmdiff.data import select, space, store, targets
from mmdiff.data.recipe import Recipe

_SUBSET, _TARGETS = 1, 2  # streams of random numbers beside those of the shards


class Closing(NamedTuple):
    """What a finished dataset needs beside its shards.

    Attributes:
      kept: (N,) whether a cell repeats no earlier one.
      selected: (N,) whether a cell is in the property-uniform subset.
      targets: test targets, see `targets.draw_targets`.
    """

    kept: np.ndarray
    selected: np.ndarray
    targets: list[dict[str, float]]


def close(
    labels: store.Labels, recipe: Recipe, *, subset: int, num_targets: int
) -> Closing:
    """Return what closes a dataset.

    Args:
      labels: all accepted cells.
      recipe: that of the dataset.
      subset: cells of the property-uniform subset, all of them training cells.
      num_targets: targets of the test list.
    """
    kept = ~_repeated(labels, recipe)
    split = np.array([record["split"] for record in labels.records])
    training = np.flatnonzero(kept & (split == select.TRAIN))
    index = space.bin_index(labels.constants, labels.volume)
    rng = np.random.default_rng([recipe.seed, _SUBSET, len(recipe.plan())])
    chosen = training[select.uniform_subset(rng, index[training], subset)]
    selected = np.isin(np.arange(len(kept)), chosen)
    rng = np.random.default_rng([recipe.seed, _TARGETS, len(recipe.plan())])
    asked = targets.draw_targets(
        rng,
        num_targets,
        labels.constants[kept],
        labels.volume[kept],
        split[kept] == select.TRAIN,
        recipe.volume_range,
    )
    return Closing(kept, selected, asked)


def _repeated(labels: store.Labels, recipe: Recipe) -> np.ndarray:
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
