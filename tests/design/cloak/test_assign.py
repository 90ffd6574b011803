"""Real cells in the places of a cloak."""

import numpy as np
import pytest

from mmdiff.design.cloak import assign
from mmdiff.design.cloak.model import Model

PLACES = 90


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cells(rng):
    """The constants of some cells."""
    return np.array([0.3, 0.1, 0.1]) * rng.uniform(0.2, 1, (300, 3))


def _linear(goal):
    """A model whose distortion is the distance of the sum of constants from a goal."""

    def slope(constants):
        off = constants.sum(0) - goal
        norm = np.linalg.norm(off)
        gradient = np.broadcast_to(off / norm, constants.shape)
        return norm, np.array([norm]), gradient

    def distortion(constants):
        return slope(constants)[1]

    return Model(None, None, distortion, slope, np.ones(1))


def test_exchanges_lower_the_distortion_of_the_nearest_cells(cells, rng):
    designed = np.array([0.2, 0.06, 0.06]) * rng.uniform(0.5, 1.5, (PLACES, 3))
    model = _linear(designed.sum(0))
    seen = []
    found = assign.choose(
        model, designed, cells, steps=60, after=lambda step, each: seen.append(each[0])
    )
    nearest = assign.nearest(cells, designed, 1)[:, 0]
    np.testing.assert_allclose(found.nearest, model.distortion(cells[nearest]))
    assert found.distortion < 0.7 * found.nearest
    assert (np.diff(seen) <= 0).all()
    np.testing.assert_allclose(found.distortion, model.distortion(cells[found.pick]))


def test_cells_that_are_designed_exactly_are_taken(cells, rng):
    pick = rng.integers(0, len(cells), PLACES)
    found = assign.choose(_linear(np.zeros(3)), cells[pick], cells, steps=1)
    np.testing.assert_array_equal(found.pick, pick)
