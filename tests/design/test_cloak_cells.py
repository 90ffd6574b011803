"""Real cells in the places of a cloak."""

import numpy as np
import pytest

from mmdiff.design import cloak, cloak_cells
from mmdiff.design.cloak import Model
from mmdiff.topopt import interface

SHAPE = (16, 16, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def where():
    return cloak.body(SHAPE, "cylinder")


@pytest.fixture
def cells(rng):
    octants = rng.integers(0, 2, (300, 4, 4, 4))
    constants = np.array([0.3, 0.1, 0.1]) * rng.uniform(0.2, 1, (300, 3))
    reference = (np.ones((4, 4, 4), int), np.array([0.2, 0.07, 0.06]))
    return cloak_cells.palette(octants, constants, reference)


def _brute(cells, where, pick):
    """Return the mean agreement of touching faces, one by one."""
    number = np.full(where.hole.shape, len(cells.faces) - 1)
    number[where.cloak] = pick[where.index]
    number[where.hole] = -1
    found = []
    for place in np.argwhere(where.cloak):
        for axis in range(3):
            for step in (-1, 1):
                other = place.copy()
                other[axis] += step
                if not (0 <= other[axis] < SHAPE[axis]):
                    continue
                one, two = number[tuple(place)], number[tuple(other)]
                if two >= 0:
                    found.append((cells.faces[one] == cells.faces[two]).mean())
    return np.mean(found)


def test_agreement_is_that_of_all_faces_that_touch(where, cells, rng):
    touch = cloak_cells.touching(where)
    assert touch.shape == (where.num_classes, where.num_classes + 1)
    np.testing.assert_allclose(touch.sum(), 1, rtol=1e-12)
    pick = rng.integers(0, 300, where.num_classes)
    fit = cloak_cells.agreement(cells, touch, pick)
    np.testing.assert_allclose(fit, _brute(cells, where, pick), rtol=1e-6)
    alike = np.full(where.num_classes, 300)  # the cell of the body everywhere
    np.testing.assert_allclose(cloak_cells.agreement(cells, touch, alike), 1)


def _linear(goal):
    """A model whose distortion is the distance of the sum of constants from a goal."""

    def slope(constants):
        off = constants.sum(0) - goal
        norm = np.linalg.norm(off)
        gradient = np.broadcast_to(off / norm, constants.shape)
        return norm, np.array([norm]), gradient

    def distortion(constants):
        return slope(constants)[1]

    return Model(None, None, None, distortion, slope, np.ones(1))


def test_exchanges_lower_the_distortion_of_the_nearest_cells(where, cells, rng):
    wanted = np.array([0.2, 0.06, 0.06]) * rng.uniform(0.5, 1.5, (where.num_classes, 3))
    model = _linear(wanted.sum(0))
    touch = cloak_cells.touching(where)
    seen = []
    found = cloak_cells.choose(
        model, wanted, cells, touch, steps=60, weight=0.0,
        after=lambda step, each, fit: seen.append(each[0]),
    )  # fmt: skip
    nearest = cloak_cells.nearest(cells.constants, wanted, 1)[:, 0]
    np.testing.assert_allclose(
        found.nearest, model.distortion(cells.constants[nearest])
    )
    assert found.distortion < 0.7 * found.nearest
    assert (np.diff(seen) <= 0).all()
    np.testing.assert_allclose(
        found.distortion, model.distortion(cells.constants[found.pick])
    )


def test_faces_fit_better_where_they_count(where, cells, rng):
    wanted = np.array([0.2, 0.06, 0.06]) * rng.uniform(0.5, 1.5, (where.num_classes, 3))
    model, touch = _linear(wanted.sum(0)), cloak_cells.touching(where)
    fits = [
        cloak_cells.choose(model, wanted, cells, touch, steps=60, weight=weight)
        for weight in (0.0, 30.0)
    ]
    assert fits[0].nearest_agreement == fits[1].nearest_agreement
    assert fits[1].agreement > fits[0].agreement + 0.05


def test_cells_that_are_wanted_are_taken(where, cells, rng):
    pick = rng.integers(0, 300, where.num_classes)
    model = _linear(np.zeros(3))
    touch = cloak_cells.touching(where)
    wanted = cells.constants[pick]
    found = cloak_cells.choose(model, wanted, cells, touch, steps=1, weight=0.0)
    np.testing.assert_array_equal(cells.constants[found.pick], wanted)


def test_the_solid_is_a_cell_too():
    octants = np.zeros((2, 8, 8, 8), np.uint8)
    octants, constants, volume = cloak_cells.with_solid(
        octants, np.zeros((2, 3)), np.zeros(2)
    )
    assert octants[2].all() and volume.tolist() == [0, 0, 1]
    found = interface.make_evaluate(8)(octants[2]).constants
    np.testing.assert_allclose(constants[2], found, rtol=1e-5)
