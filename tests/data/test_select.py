"""Thin bins, even subsets, near pairs, splits by family, and the covered region."""

import numpy as np
import pytest
from scipy import spatial

from mmdiff import elasticity
from mmdiff.cells.symmetry import multiplicity
from mmdiff.data import select

RANGES = np.array([*elasticity.PAPER_RANGES, 1.0])


def _labels(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 3)) * elasticity.PAPER_RANGES, rng.random(count)


def _subset(index, count, seed=0):
    return select.uniform_order(np.random.default_rng(seed), index)[:count]


def test_every_occupied_bin_weighs_the_same():
    index = np.repeat([7123, -4], [90, 10])
    weights = select.sparse_weights(index)
    assert weights.sum() == pytest.approx(1)
    assert weights[:90].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(weights[90:], 0.05)


def test_weights_belong_to_the_cell_whatever_the_order():
    index = np.array([3, 1, 3, 2, 3, 1])
    np.testing.assert_allclose(
        select.sparse_weights(index) * 18, [2, 3, 2, 6, 2, 3], rtol=1e-12
    )


def test_weights_of_one_bin_are_uniform():
    weights = select.sparse_weights(np.full(200, 5))
    np.testing.assert_allclose(weights, 1 / 200)


@pytest.mark.parametrize("count", [1, 4, 5, 17, 30, 61, 99])
def test_subset_fills_bins_to_one_level(count):
    sizes = np.array([40, 1, 25, 4, 30])
    index = np.random.default_rng(0).permutation(np.repeat([9, 2, -5, 7, 100], sizes))
    chosen = _subset(index, count)
    assert len(chosen) == count
    held = np.array([(index[chosen] == i).sum() for i in (9, 2, -5, 7, 100)])
    level = held.max()
    exhausted = held == sizes
    assert (held[~exhausted] >= level - 1).all() and (held <= level).all()


def test_order_holds_every_cell_once():
    index = np.random.default_rng(1).integers(0, 5, 30)
    np.testing.assert_array_equal(np.sort(_subset(index, 30)), np.arange(30))
    assert len(_subset(np.zeros(0, int), 5)) == 0


def test_subset_follows_the_generator():
    index = np.random.default_rng(1).integers(0, 12, 200)
    np.testing.assert_array_equal(_subset(index, 70, 3), _subset(index, 70, 3))
    assert (_subset(index, 70, 3) != _subset(index, 70, 4)).any()


def test_subset_favours_no_cell_of_a_bin_and_no_bin():
    index = np.repeat(np.arange(4), 5)
    times = np.zeros(20)
    for seed in range(400):
        times[_subset(index, 6, seed)] += 1
    # 400 draws of 6 in 20: 120 each, five standard deviations are 46.
    assert (abs(times - 120) < 46).all()


def test_split_follows_the_family_alone():
    family = np.array([7, 3, 7, 12, 3, 7])
    split = select.split_by_family(family, 0.3, 0.3)
    for number in set(family):
        assert len(set(split[family == number])) == 1
    alone = [select.split_by_family(np.array([f]), 0.3, 0.3)[0] for f in family]
    np.testing.assert_array_equal(split, alone)


@pytest.mark.parametrize("start", [0, 1000])
def test_split_shares(start):
    split = select.split_by_family(np.arange(start, start + 1000), 0.05, 0.1)
    shares = np.bincount(split, minlength=3) / 1000
    # Golden-ratio sequences are even to about log(N) / N.
    np.testing.assert_allclose(shares, [0.85, 0.05, 0.1], atol=0.005)


def test_no_shares_means_training_only():
    split = select.split_by_family(np.arange(50), 0.0, 0.0)
    np.testing.assert_array_equal(split, select.TRAIN)


def test_property_points_are_apart_by_the_property_distance():
    constants, volume = _labels(40)
    known = np.column_stack([constants, volume])
    points = select.property_points(constants, volume)
    assert points.shape == (40, 4)
    apart = abs(points[:, None] - points).sum(-1)
    want = [select.property_distance(known, one[None]) for one in known]
    np.testing.assert_allclose(apart, want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("distance", [0.05, 0.1])
def test_near_pairs_are_those_of_brute_force(distance):
    points = select.property_points(*_labels(150))
    apart = abs(points[:, None] - points).sum(-1)
    want = np.argwhere(np.triu(apart <= distance, 1))
    assert len(want) > 3
    np.testing.assert_array_equal(select.near_pairs(points, distance), want)


def test_near_pairs_of_points_far_apart_or_alone():
    points = select.property_points(*_labels(20))
    assert select.near_pairs(points, 1e-9).shape == (0, 2)
    assert select.near_pairs(points[:1], 0.5).shape == (0, 2)
    np.testing.assert_array_equal(select.near_pairs(points[[0, 0]], 0.0), [[0, 1]])


def _similar(packed, *, away=0.0, distance=0.01, similarity=0.95, others=0):
    """Compare with one empty cell `away`, and with solid ones at the same place."""
    known = np.full((1 + others, 20), -9, np.int8)
    known[:others] = 9
    points = np.full((1 + others, 4), 0.1)
    points[others, 2] += away
    return select.similar_to(
        np.full(4, 0.1),
        packed,
        spatial.cKDTree(points),
        lambda index: known[index],
        n=4,
        distance=distance,
        similarity=similarity,
    )


def _packed(*solid):
    """Return a packed cell of 4^3 samples, the given voxels of 20 solid."""
    packed = np.full(20, -100, np.int8)
    packed[list(solid)] = 1
    return packed


def test_similar_cells_agree_in_voxels_and_properties():
    ones = np.flatnonzero(multiplicity(4) == 1)
    one, three = _packed(*ones[:1]), _packed(*ones[:3])
    # 1 and 3 of 64 voxels differ.
    assert _similar(one) and _similar(three, similarity=61 / 64)
    assert not _similar(three, similarity=0.96)
    assert _similar(one, away=0.009) and not _similar(one, away=0.011)
    # Orbits count by their voxels: one of six is too many.
    assert not _similar(_packed(np.argmax(multiplicity(4))))


def test_any_of_the_near_cells_can_be_the_similar_one():
    assert _similar(_packed(), others=3)
    assert not _similar(_packed(), others=3, away=0.02)


def test_nothing_is_similar_to_no_cell():
    tree = spatial.cKDTree(np.zeros((0, 4)))
    got = select.similar_to(
        np.zeros(4), _packed(), tree, list, n=4, distance=1.0, similarity=0.0
    )
    assert got is False


def test_property_distance_is_that_of_the_nearest_cell():
    known = np.array([[0.1, 0.05, 0.02, 0.2], [0.5, 0.3, 0.1, 0.6]])
    points = known + np.array([[-0.1], [0.2]]) * RANGES
    np.testing.assert_allclose(select.property_distance(points, known), [0.1, 0.2])
    np.testing.assert_array_equal(select.property_distance(known, known), 0)


def test_free_components_do_not_count():
    known = np.array([[0.1, 0.05, 0.02, 0.2]])
    point = np.array([[0.1, np.nan, 0.02, 0.5]])
    # Three components remain, one of them 0.3 away.
    np.testing.assert_allclose(select.property_distance(point, known), [0.1])


def test_coverage_radius():
    constants, volume = _labels(100)
    known = np.concatenate([constants, volume[:, None]], axis=1)
    apart = (abs(known[:, None] - known) / RANGES).mean(-1)
    np.fill_diagonal(apart, np.inf)
    want = np.quantile(apart.min(1), 0.99)
    assert select.coverage_radius(known) == pytest.approx(want)
    assert select.coverage_radius(known[:1]) == 0
    # A sample of the cells gives nearly the same.
    assert select.coverage_radius(known, most=50) == pytest.approx(want, rel=0.3)


def test_balanced_rows_repeat_cells_of_sparse_bins():
    index = np.array([5] * 16 + [7] * 4 + [9])
    times = [
        np.bincount(select.balanced_rows(index, power, most=3))[[0, 16, 20]]
        for power in (0, 0.5, 1)
    ]
    # (16 / 4)^power and (16 / 1)^power, at most three.
    np.testing.assert_array_equal(times, [[1, 1, 1], [1, 2, 3], [1, 3, 3]])
