"""Choices over a set of labelled cells: sparse regions, families, splits."""

import numpy as np

from mmdiff.elasticity import PAPER_RANGES

TRAIN, VALIDATION, TEST = 0, 1, 2


def coordinates(constants: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Return (N, 4) property coordinates, each component min-max scaled to [0, 1]."""
    points = np.concatenate([constants, volume[:, None]], axis=1)
    low, high = points.min(0), points.max(0)
    return (points - low) / np.maximum(high - low, 1e-12)


def sparse_weights(
    constants: np.ndarray, volume: np.ndarray, bins: int = 12
) -> np.ndarray:
    """Return sampling weights (N,) inverse to the number of cells in the same bin.

    Args:
      constants: (N, 3) elastic constants.
      volume: (N,) volume fractions.
      bins: bins along each of the four property axes.
    """
    index = np.minimum((coordinates(constants, volume) * bins).astype(int), bins - 1)
    flat = np.ravel_multi_index(index.T, (bins,) * 4)
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    return weights / weights.sum()


def split_by_family(family: np.ndarray, validation: float, test: float) -> np.ndarray:
    """Return 0 train, 1 validation, 2 test per cell, the same within a family.

    A perturbed cell stays with the optimized one it descends from, so no near copy of a
    test cell is trained on. The split depends on the family number alone and so does
    not move when cells are added.

    Args:
      family: (N,) family numbers.
      validation: share of families for validation.
      test: share of families for testing.
    """
    # Golden-ratio hashing spreads consecutive numbers evenly over [0, 1).
    place = (np.asarray(family) * 0.6180339887498949) % 1.0
    split = np.full(len(place), TRAIN)
    split[place < validation + test] = VALIDATION
    split[place < test] = TEST
    return split


def property_distance(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest known cell, a fraction.

    Args:
      points: (M, 4) C11, C12, C44, V with base E = 1; NaN components do not count.
      known: (N, 4) the same of the known cells.

    Returns:
      (M,) smallest mean of |difference| / range over the given components, with the
      ranges of `elasticity.PAPER_RANGES` and 1 for the volume.
    """
    ranges = np.array([*PAPER_RANGES, 1.0])
    # One point at a time: all pairs at once would need M N numbers four times over.
    return np.array(
        [np.nanmean(abs(known - point) / ranges, axis=1).min() for point in points]
    )


def coverage_radius(known: np.ndarray, *, most: int = 2000) -> float:
    """Return the distance within which 99 % of cells have a neighbour among the rest.

    A target further than this from every training cell lies outside the covered region.

    Args:
      known: (N, 4) C11, C12, C44, V.
      most: cells that are looked at, evenly spread over the list.
    """
    if len(known) < 2:
        return 0.0
    chosen = np.unique(
        np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)
    )
    nearest = [
        property_distance(known[i : i + 1], np.delete(known, i, axis=0))[0]
        for i in chosen
    ]
    return float(np.quantile(nearest, 0.99))
