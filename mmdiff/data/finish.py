"""Closing a dataset: repeated cells, the property-uniform subset, test targets.

The outcome depends on the cells and the seed alone; fields are read only where two
cells may be one. A dataset that is not finished is closed as far as it goes.

Test targets are tensors and volumes in or near the covered part of property space, as
in arXiv 2401.13570 (1,660 of them). Every filled bin of the grid is as likely as any
other, so rare tensors count as much as common ones; a quarter lies in empty bins beside
filled ones. The list is in random order: its first 200 lines are the small test.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from mmdiff.cells.distance import agreement
from mmdiff.data import select, space, store, tables
from mmdiff.data.recipe import Recipe
from mmdiff.errors import DataError
from mmdiff.typing import Bool, Float, Int

NEAR = 0.25  # share of targets in empty bins
KNOWN = 0.01  # of the ranges: a cell this near in C11, C12, C44 on average is known
COLUMNS = ("C11", "C12", "C44", "V", "inside", "known", "distance")
# Streams of random numbers beside those of the shards.
_SUBSET, _TARGETS, _HELD_OUT = 1, 2, 3
_PAIRS = 2048  # near cells that are compared at a time


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
    training = labels.split == select.TRAIN
    chosen = _evenly(labels, kept & training, recipe, _SUBSET)[:subset]
    selected = np.isin(np.arange(len(kept)), chosen)
    rng = np.random.default_rng([recipe.seed, _TARGETS, len(recipe.plan())])
    cells = labels.constants[kept], labels.volume[kept], training[kept]
    targets = draw_targets(rng, num_targets, *cells, recipe.volume_range)
    return Closing(kept, selected, targets)


def close_dataset(
    root: pathlib.Path, *, subset: int, num_targets: int
) -> tuple[tables.Contents, list[dict[str, float]]]:
    """Return what the finished shards hold, closed, and test targets; see `close`."""
    recipe = Recipe.from_dict(store.read_layout(root)["recipe"])
    # Read once: others may be finished meanwhile.
    manifests = store.read_manifests(root)
    shards = [manifest["shard"] for manifest in manifests]
    labels = store.read_labels(root, shards)
    sizes = {"subset": subset, "num_targets": num_targets}
    kept, selected, targets = close(labels, recipe, **sizes)
    timings = store.read_timings(root, shards)
    contents = tables.Contents(labels, recipe, manifests, timings, kept, selected)
    return contents, targets


def extract(contents: tables.Contents, count: int) -> Int[np.ndarray, "k"]:
    """Return the cells, in order, of a part of a dataset: ten of twelve for training.

    They are the first ones of its property-uniform subset; of validation and of test
    cells, uniform too, there are at most a tenth of them.
    """
    labels, recipe, _, _, kept, selected = contents
    most = count * 10 // 12
    chosen = [_evenly(labels, selected, recipe, _SUBSET)[:most]]
    for split in (select.VALIDATION, select.TEST):
        able = kept & (labels.split == split)
        chosen.append(_evenly(labels, able, recipe, _HELD_OUT)[: -(-most // 10)])
    return np.sort(np.concatenate(chosen))


def _evenly(labels, able, recipe, stream) -> Int[np.ndarray, "k"]:
    """Return the able cells in an order whose first ones fill bins evenly."""
    able = np.flatnonzero(able)
    rng = np.random.default_rng([recipe.seed, stream, len(recipe.plan())])
    index = space.bin_index(labels.constants[able], labels.volume[able])
    return able[select.uniform_order(rng, index)]


def draw_targets(
    rng: np.random.Generator,
    count: int,
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
    training: Bool[np.ndarray, "N"],
    limits: tuple[float, float],
) -> list[dict[str, float]]:
    """Return test targets with volumes within limits, one dict of `COLUMNS` each.

    C11, C12, C44, V are rounded to 1e-5; "inside" is 1 for a bin that holds a cell and
    0 for an empty one; "known" is 1 if some training cell is within `KNOWN` in C11,
    C12, C44 (of whatever volume), and the distance that to the nearest one, in V too.
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
    free = np.where([True, True, True, False], points, np.nan)
    near = (select.property_distance(free, known) <= KNOWN).astype(int)
    columns = (~outside).astype(int), near, distance.round(6)
    rows = zip(*points.T.tolist(), *(c.tolist() for c in columns), strict=True)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def _repeated(labels: store.Labels, recipe: Recipe) -> Bool[np.ndarray, "N"]:
    """Return which cells repeat an earlier one of another shard of their round.

    All other repetitions were refused when the shard was made.
    """
    shard = labels.rows // recipe.shard_size
    number = np.array([r["round"] for r in labels.records])
    points = select.property_points(labels.constants, labels.volume)
    pairs = select.near_pairs(points, recipe.distance)
    i, j = pairs.T
    pairs = pairs[(number[i] == number[j]) & (shard[i] != shard[j])]
    repeated = np.zeros(len(points), bool)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        cells, places = np.unique(some, return_inverse=True)
        packed = labels.packed(cells)
        for (a, b), (first, second) in zip(some, places.reshape(-1, 2), strict=True):
            if not repeated[a] and not repeated[b]:
                alike = agreement(packed[first], packed[[second]], labels.n)[0]
                repeated[b] = alike >= recipe.similarity
    return repeated
