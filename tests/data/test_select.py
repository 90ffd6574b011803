"""Sparse sampling, splits by family, and the covered region."""

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.data import select


def _labels(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 3)) * elasticity.PAPER_RANGES, rng.random(count)


def test_coordinates_fill_the_unit_box():
    points = select.coordinates(*_labels())
    assert points.shape == (200, 4)
    np.testing.assert_array_equal(points.min(0), 0)
    np.testing.assert_array_equal(points.max(0), 1)


def test_coordinates_of_equal_cells_are_finite():
    points = select.coordinates(np.ones((3, 3)), np.full(3, 0.5))
    np.testing.assert_array_equal(points, 0)


def test_every_occupied_bin_weighs_the_same():
    # 90 cells in one corner of property space and 10 in the other.
    constants = np.repeat([[0.1, 0.05, 0.02], [1.0, 0.5, 0.3]], [90, 10], axis=0)
    volume = np.repeat([0.2, 0.8], [90, 10])
    weights = select.sparse_weights(constants, volume)
    assert weights.sum() == pytest.approx(1)
    assert weights[:90].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(weights[90:], 0.05)


def test_weights_of_one_bin_are_uniform():
    weights = select.sparse_weights(*_labels(), bins=1)
    np.testing.assert_allclose(weights, 1 / 200)


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


def test_property_distance_is_that_of_the_nearest_cell():
    known = np.array([[0.1, 0.05, 0.02, 0.2], [0.5, 0.3, 0.1, 0.6]])
    ranges = np.array([*elasticity.PAPER_RANGES, 1.0])
    points = known + np.array([[-0.1], [0.2]]) * ranges
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
    ranges = np.array([*elasticity.PAPER_RANGES, 1.0])
    apart = (abs(known[:, None] - known) / ranges).mean(-1)
    np.fill_diagonal(apart, np.inf)
    want = np.quantile(apart.min(1), 0.99)
    assert select.coverage_radius(known) == pytest.approx(want)
    assert select.coverage_radius(known[:1]) == 0
    # A sample of the cells gives nearly the same.
    assert select.coverage_radius(known, most=50) == pytest.approx(want, rel=0.3)
