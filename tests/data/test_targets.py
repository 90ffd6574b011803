"""Test targets: possible ones, in filled bins or beside them, and how far away."""

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.data import select, space, targets

LIMITS = (0.15, 0.85)
COUNT = 400


def _cells(seed=0, bins=60):
    """Return constants and volumes: one bin full of cells, many with few."""
    rng = np.random.default_rng(seed)
    reachable = space.reachable_bins(*LIMITS)
    index = rng.choice(reachable, bins, replace=False)
    index = np.concatenate([np.repeat(index[:1], 300), np.repeat(index, 2)])
    points = space.draw_in_bins(rng, index, LIMITS)
    return points[:, :3], points[:, 3]


CONSTANTS, VOLUME = _cells()
TRAINING = np.arange(len(VOLUME)) % 3 > 0


def _draw(seed=1, count=COUNT):
    rng = np.random.default_rng(seed)
    return targets.draw_targets(rng, count, CONSTANTS, VOLUME, TRAINING, LIMITS)


def _points(found):
    points = np.array([[row[name] for name in targets.COLUMNS[:4]] for row in found])
    return points[:, :3], points[:, 3]


@pytest.fixture(scope="module")
def found():
    return _draw()


def test_count_and_columns(found):
    assert len(found) == COUNT
    for row in found:
        assert tuple(row) == targets.COLUMNS
        assert all(type(row[name]) in (int, float) for name in row)
        assert row["inside"] in (0, 1)
    assert _draw(count=0) == []


def test_values_are_rounded(found):
    for row in found:
        for name in ("C11", "C12", "C44", "V"):
            assert row[name] == round(row[name], 5)


def test_rounding_leaves_targets_possible_and_in_their_bins():
    # The thinnest bins, where 1e-5 counts.
    cells = space.from_coordinates(np.array([[0.25, 0.05, 0.05, 0.05]]))
    constants, volume = cells[:, :3], cells[:, 3]
    rng = np.random.default_rng(0)
    found = targets.draw_targets(
        rng, 2000, constants, volume, np.array([True]), (0.2, 0.85)
    )
    constants, volume = _points(found)
    margins = elasticity.stability_margins(constants)
    assert all((margin > 0).all() for margin in margins.values())
    assert bounds.is_reachable(constants, volume).all()
    index = space.bin_index(constants, volume)
    inside = np.array([row["inside"] for row in found])
    np.testing.assert_array_equal(index == 2000, inside)


def test_targets_are_possible(found):
    constants, volume = _points(found)
    assert bounds.is_reachable(constants, volume).all()
    assert (volume >= LIMITS[0]).all() and (volume <= LIMITS[1]).all()


def test_inside_means_that_the_bin_holds_a_cell(found):
    index = space.bin_index(*_points(found))
    filled = np.isin(index, space.bin_index(CONSTANTS, VOLUME))
    inside = np.array([row["inside"] for row in found])
    np.testing.assert_array_equal(inside, filled)
    beside = np.isin(index, space.frontier(CONSTANTS, VOLUME, LIMITS))
    np.testing.assert_array_equal(inside, ~beside)


def test_distance_is_that_to_the_nearest_training_cell(found):
    points = np.column_stack(_points(found))
    known = np.column_stack([CONSTANTS, VOLUME])
    distance = np.array([row["distance"] for row in found])
    want = select.property_distance(points, known[TRAINING])
    # Rounded to 1e-6.
    np.testing.assert_allclose(distance, want, rtol=0, atol=5.1e-7)
    assert (distance > select.property_distance(points, known) + 1e-6).any()


def test_quarter_lies_outside(found):
    outside = sum(1 - row["inside"] for row in found)
    # Binomial with 400 draws: four standard deviations are 35.
    assert abs(outside - 100) < 35


def test_every_filled_bin_is_as_likely(found):
    index = space.bin_index(*_points(found))
    crowded = space.bin_index(CONSTANTS, VOLUME)[0]
    inside = sum(row["inside"] for row in found)
    # That bin holds 300 of 420 cells and is one of 60: some 5 targets of 300. Poisson
    # with mean 5 exceeds 20 with a probability of 1e-7.
    assert inside > 200 and (index == crowded).sum() <= 20
    # 60 bins drawn 265 times or more: one stays empty with a probability of 1 %, three
    # do with less than 1e-6.
    drawn = {i for i, row in zip(index, found, strict=True) if row["inside"]}
    assert len(drawn) > 57


def test_order_is_random(found):
    flags = np.array([row["inside"] for row in found])
    # The mean number of alternations is 2 p (1 - p) N = 150 with a deviation below 10.
    assert 100 < (np.diff(flags) != 0).sum() < 200


def test_same_generator_same_targets(found):
    assert _draw() == found
    other = _draw(seed=2)
    assert all(a != b for a, b in zip(found, other, strict=True))


def test_without_empty_neighbours_all_targets_are_inside():
    index = space.reachable_bins(*LIMITS)
    points = space.draw_in_bins(np.random.default_rng(0), index, LIMITS)
    training = np.arange(len(points)) % 40 == 0
    rng = np.random.default_rng(0)
    found = targets.draw_targets(rng, 50, points[:, :3], points[:, 3], training, LIMITS)
    assert len(found) == 50 and all(row["inside"] for row in found)
