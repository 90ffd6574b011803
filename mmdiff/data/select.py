"""Choices over a set of labelled cells: thin bins, subsets, duplicates, splits."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import spatial

from mmdiff.cells.distance import agreement
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.typing import Float, Int, Int8

TRAIN, VALIDATION, TEST = 0, 1, 2
_RANGES = np.array([*PAPER_RANGES, 1.0])


def sparse_weights(index: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Return sampling weights inverse to the number of cells in the same bin."""
    _, inverse, counts = np.unique(index, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    return weights / weights.sum()


def balanced_rows(
    index: Int[np.ndarray, "N"], power: float, most: int = 4
) -> Int[np.ndarray, "M"]:
    """Return row numbers, those of sparse bins repeated.

    A cell counts (cells of the fullest bin / cells of its own)^power times, rounded, at
    least once and at most `most` times; power 0 returns every row once.
    """
    _, inverse, counts = np.unique(index, return_inverse=True, return_counts=True)
    times = (counts.max() / counts[inverse]) ** power
    times = np.clip(np.rint(times), 1, most).astype(int)
    return np.repeat(np.arange(len(index)), times)


def uniform_order(
    rng: np.random.Generator, index: Int[np.ndarray, "N"]
) -> Int[np.ndarray, "N"]:
    """Return all cells in an order whose first ones fill the bins as evenly as can be.

    Bins are filled like glasses: all to one level, the small ones to their brim.
    """
    shuffled = rng.permutation(len(index))
    # The r-th cell of every bin, in shuffled order, comes before any (r + 1)-th one.
    order = shuffled[np.argsort(index[shuffled], kind="stable")]
    _, starts, counts = np.unique(index[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    return order[np.lexsort((rng.random(len(order)), rank))]


def split_by_family(
    family: Int[np.ndarray, "N"], validation: float, test: float
) -> Int[np.ndarray, "N"]:
    """Return 0 train, 1 validation, 2 test per cell, the same within a family.

    A perturbed cell stays with the optimized one it descends from, so no near copy of a
    test cell is trained on. The split depends on the family number alone and so does
    not move when cells are added.
    """
    # Golden-ratio hashing spreads consecutive numbers evenly over [0, 1).
    place = (np.asarray(family) * 0.6180339887498949) % 1.0
    split = np.full(len(place), TRAIN)
    split[place < validation + test] = VALIDATION
    split[place < test] = TEST
    return split


def property_points(
    constants: Float[np.ndarray, "N 3"], volume: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N 4"]:
    """Return points with `property_distance` as their distance in the 1-norm."""
    points = np.column_stack([constants, volume])
    return points / _RANGES / points.shape[1]


def near_pairs(
    points: Float[np.ndarray, "N 4"], distance: float
) -> Int[np.ndarray, "P 2"]:
    """Return all pairs of `property_points` within a distance, in order."""
    pairs = spatial.cKDTree(points).query_pairs(distance, p=1, output_type="ndarray")
    pairs = np.sort(pairs.reshape(-1, 2), axis=1)
    return pairs[np.lexsort(pairs.T[::-1])]


def similar_to(
    point: Float[np.ndarray, "4"],
    packed: Int8[np.ndarray, "m"],
    tree: spatial.cKDTree,
    packed_of: Callable[[Sequence[int]], np.ndarray],
    *,
    n: int,
    distance: float,
    similarity: float,
) -> bool:
    """Whether a packed cell counts as one with a cell of a tree of `property_points`.

    `packed_of` gives those of a list of their numbers (n samples a side); two count as
    one within a property distance and from a share of equal voxels (arXiv 2401.13570,
    Eq. 4) on.
    """
    near = np.sort(tree.query_ball_point(point, distance, p=1)).astype(int)
    if not len(near):
        return False
    return bool((agreement(packed, packed_of(near), n) >= similarity).any())


def property_distance(
    points: Float[np.ndarray, "M 4"], known: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, "M"]:
    """Return the distance of each point C11, C12, C44, V to the nearest known cell.

    It is the mean of |difference| / range over all components but those that are NaN,
    with the ranges of `elasticity.PAPER_RANGES` and 1 for the volume.
    """
    # One point at a time: all pairs at once would need M N numbers four times over.
    off = (abs(known - point) / _RANGES for point in points)
    return np.array([np.nanmean(each, axis=1).min() for each in off])


def coverage_radius(known: Float[np.ndarray, "N 4"], *, most: int = 2000) -> float:
    """Return the distance within which 99 % of cells have a neighbour among the rest.

    A target further than this from every training cell lies outside the covered region.
    At `most` so many cells, evenly spread over the list, are looked at.
    """
    if len(known) < 2:
        return 0.0
    chosen = np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)
    nearest = [
        property_distance(known[i : i + 1], np.delete(known, i, axis=0))[0]
        for i in np.unique(chosen)
    ]
    return float(np.quantile(nearest, 0.99))
