"""Tensors that meet targets which leave constants free."""

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.targets import quantities, target
from mmdiff.targets.completion import CHOICE, complete


def _known(count=200, seed=0):
    """Stable tensors, soft and stiff ones, and their volumes."""
    rng = np.random.default_rng(seed)
    c11 = 10 ** rng.uniform(-2, 0, count)
    c12 = c11 * rng.uniform(-0.45, 0.9, count)
    c44 = c11 * 10 ** rng.uniform(-1.5, 0, count)
    return np.column_stack([c11, c12, c44, rng.uniform(0.1, 0.9, count)])


@pytest.mark.parametrize(
    "text",
    [
        *("nu=-0.4", "E=0.03,nu=-0.2", "K=0.08,G=0.05", "C44=0.05", "zener=1"),
        *("E=0.15,zener=1", "C11=0.2,E=0.15", "nu=0.3,zener=0.2"),
    ],
)
@pytest.mark.parametrize("volume", [None, 0.35])
def test_the_target_is_met_by_stable_tensors_near_known_ones(text, volume):
    asked, known = target.parse(text, volume=volume), _known()
    rows = complete(asked, known, 6, 0)
    assert rows.shape == (6, 4)
    names, wanted = zip(*asked.asked, strict=True)
    off = abs(quantities.values(rows[:, :3], names) - np.array(wanted)[None])
    assert (off / quantities.scales(names)[None]).max() < 1e-3
    for margin in elasticity.stability_margins(rows[:, :3]).values():
        assert (margin > 0).all()
    assert len(np.unique(rows.round(6), axis=0)) > 1  # tensors of their own
    if volume is None:
        assert np.isin(rows[:, 3], known[:, 3]).all()
    else:
        assert (rows[:, 3] == volume).all()


def test_what_follows_from_the_target_is_kept_and_the_rest_is_of_the_cell():
    known = _known()
    rows = complete(target.parse("C44=0.05"), known, 8, 1)
    np.testing.assert_allclose(rows[:, 2], 0.05, rtol=1e-4)
    of = [np.flatnonzero(known[:, 3] == volume).item() for volume in rows[:, 3]]
    np.testing.assert_allclose(rows[:, :2], known[of, :2], rtol=1e-4)
    # Of the nearest ones, each at most once.
    nearest = abs(known[:, 2] - 0.05).argsort()[: CHOICE * 8]
    assert set(of) <= set(nearest.tolist()) and len(set(of)) == 8


def test_the_change_is_small_where_the_cell_is_soft():
    known = np.array([[0.02, -0.008, 0.001, 0.2]])  # nu = -0.667
    (row,) = complete(target.parse("nu=-0.6"), known, 1, 0)
    assert row[1] / (row[0] + row[1]) == pytest.approx(-0.6, abs=1e-3)
    np.testing.assert_allclose(row[:3], known[0, :3], rtol=0.1)


def test_tensors_that_would_be_unstable_are_left_out():
    # More C12 than C11: C44 is asked as well, so that both are the nearest cells.
    known = np.array([[0.5, 0.2, 0.1, 0.4], [0.9, 0.2, 0.1, 0.4]])
    rows = complete(target.parse("C12=0.6,C44=0.1"), known, 3, 0)
    np.testing.assert_allclose(rows, np.tile([0.9, 0.6, 0.1, 0.4], (3, 1)), rtol=1e-4)
    rows = complete(target.parse("C12=0.95,C44=0.1"), known, 2, 0)
    np.testing.assert_array_equal(np.sort(rows, axis=0), known)


def test_seeds_choose():
    known, asked = _known(), target.parse("nu=0.1")
    first, again, other = (complete(asked, known, 4, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
