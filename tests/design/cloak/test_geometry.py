"""Boxes with a hole, their loads, and which of their elements are alike."""

import numpy as np
import pytest

from mmdiff.design.cloak.geometry import (
    COLUMNS,
    geometry,
    gripped,
    pulled,
    strained,
)
from mmdiff.errors import InputError
from mmdiff.fem import element


def test_hole_and_cloak_have_the_areas_of_circle_and_square():
    n = 60
    round_one = geometry((n, n, 2), "cylinder")
    square = geometry((n, n, 2), "square")
    np.testing.assert_allclose(
        round_one.hole.sum() / 2, np.pi * (n / 6) ** 2, rtol=0.02
    )
    assert square.hole.sum() / 2 == (n / 3) ** 2
    for where in (round_one, square):
        assert not (where.hole & where.cloak).any()
        # A cloak of twice the radius takes three times the place.
        np.testing.assert_allclose(where.cloak.sum(), 3 * where.hole.sum(), rtol=0.02)


@pytest.mark.parametrize("column", COLUMNS)
def test_only_nodes_beyond_the_cloak_count(column):
    where = geometry((12, 12, 1), column)
    touched = np.zeros_like(where.outside)
    for x, y, z in element.CORNERS:
        touched[x : x + 12, y : y + 12, z : z + 1] |= where.hole
    assert not (touched & where.outside).any()
    assert where.outside[0].all() and not where.outside[6, 6].any()


@pytest.mark.parametrize("make_loads", [pulled, gripped, strained])
def test_what_the_loads_make_equal_is_of_one_class(make_loads):
    known = make_loads((24, 24, 4))
    where = geometry((24, 24, 4), "cylinder", mirrors=known.mirrors, swaps=known.swaps)
    label = np.full(where.hole.shape, -1)
    label[where.cloak] = where.index
    assert np.array_equal(label, label[::-1]) == known.mirrors
    assert np.array_equal(label, label[:, ::-1])
    assert np.array_equal(label, label[..., ::-1])
    assert np.array_equal(label, label.transpose(1, 0, 2)) == known.swaps
    # No more than that is one class: eight images, four, or sixteen off the diagonal.
    images = 8 if known.mirrors else 4
    quotient = where.cloak.sum() / where.num_classes
    assert quotient == pytest.approx(images * (1 + known.swaps), rel=0.1)


@pytest.mark.parametrize(
    ("shape", "column", "words"),
    [
        ((3, 3, 1), "cylinder", "3 cells along x has no room for a cylinder"),
        ((4, 4, 1), "cylinder", "4 cells along x has no room"),
    ],
)
def test_what_cannot_be_a_cloak_is_refused(shape, column, words):
    with pytest.raises(InputError, match=words):
        geometry(shape, column)


def test_rows_stand_where_their_classes_are():
    where = geometry((6, 6, 2), "cylinder")
    rows = where.rows(10 + np.arange(where.num_classes), 7)
    assert (rows[where.hole] == -1).all()
    np.testing.assert_array_equal(rows[where.cloak], 10 + where.index)
    assert (rows[~where.hole & ~where.cloak] == 7).all()


def test_the_pull_is_a_tenth_of_the_modulus_on_every_element_face():
    pull = pulled((8, 8, 4))
    np.testing.assert_allclose(pull.forces.sum((0, 2, 3, 4)), [0.1 * 8 * 4, 0, 0])
    assert pull.fixed[:, 0].all() and not pull.fixed[:, 1:].any()


def test_the_nodes_are_the_corners_of_the_elements_of_cells():
    one, three = (geometry((6, 6, 2), "cylinder", elements=k) for k in (1, 3))
    assert three.elements == 3 and three.outside.shape == (19, 19, 7)
    np.testing.assert_array_equal(three.outside[::3, ::3, ::3], one.outside)
    np.testing.assert_array_equal(three.hole, one.hole)
