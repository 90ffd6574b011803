"""Bodies with a hole, their loads, and the design of what hides it."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.design.cloak import model as cloak
from mmdiff.design.cloak import region
from mmdiff.fem import element

REFERENCE = np.array([0.2, 0.07, 0.06])
SHAPE = (8, 8, 4)


def _free(y):
    """A region without an end."""
    return jnp.zeros_like(y[:, 0])


def test_hole_and_cloak_have_the_areas_of_circle_and_square():
    n = 60
    round_one = cloak.body((n, n, 2), "cylinder")
    square = cloak.body((n, n, 2), "square")
    np.testing.assert_allclose(
        round_one.hole.sum() / 2, np.pi * (n / 6) ** 2, rtol=0.02
    )
    assert square.hole.sum() / 2 == (n / 3) ** 2
    for where in (round_one, square):
        assert not (where.hole & where.cloak).any()
        # A cloak of twice the radius takes three times the place.
        np.testing.assert_allclose(where.cloak.sum(), 3 * where.hole.sum(), rtol=0.02)


@pytest.mark.parametrize("column", cloak.SHAPES)
def test_only_nodes_beyond_the_cloak_count(column):
    where = cloak.body((12, 12, 1), column)
    touched = np.zeros_like(where.outside)
    for x, y, z in element.CORNERS:
        touched[x : x + 12, y : y + 12, z : z + 1] |= where.hole
    assert not (touched & where.outside).any()
    assert where.outside[0].all() and not where.outside[6, 6].any()


@pytest.mark.parametrize("test", [cloak.pulled, cloak.gripped, cloak.strained])
def test_what_the_test_makes_equal_is_of_one_class(test):
    known = test((24, 24, 4))
    where = cloak.body(
        (24, 24, 4), "cylinder", mirrors=known.mirrors, swaps=known.swaps
    )
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


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match="triangle"):
        cloak.body(SHAPE, "triangle")


def test_the_pull_is_a_tenth_of_the_modulus_on_every_element_face():
    test = cloak.pulled(SHAPE)
    np.testing.assert_allclose(test.forces.sum((0, 2, 3, 4)), [0.1 * 8 * 4, 0, 0])
    assert test.fixed[:, 0].all() and not test.fixed[:, 1:].any()


@pytest.mark.slow
def test_a_pulled_body_gets_longer_by_stress_over_modulus():
    # Free to contract but at one end: long bodies follow Hooke's law.
    shape = (24, 4, 4)
    test = cloak.pulled(shape)
    where = cloak.body((4, 4, 4), "cylinder", hole=0.0, cloak=0.3)
    where = where._replace(
        hole=np.zeros(shape, bool),
        cloak=np.arange(24)[:, None, None] * np.ones(shape, int) == 12,
        outside=np.ones([n + 1 for n in shape], bool),
        index=np.zeros(16, int),
    )
    model = cloak.make_model(where, test)(REFERENCE)
    u = model.wanted[0, 0]
    c11, c12, _ = REFERENCE
    young = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
    strain = (u[20] - u[10]).mean() / 10
    np.testing.assert_allclose(strain, 0.1 / young, rtol=5e-3)


def test_without_a_hole_nothing_is_distorted():
    where = cloak.body((4, 4, 2), "cylinder")
    where = where._replace(hole=np.zeros_like(where.hole))
    model = cloak.make_model(where, cloak.strained((4, 4, 2)))(REFERENCE)
    # float32 solves to 1e-5
    np.testing.assert_allclose(model.before, 0, atol=1e-5)


@pytest.mark.slow
def test_the_slope_is_that_of_the_distortion():
    shape = (6, 6, 2)
    where = cloak.body(shape, "cylinder", swaps=True)
    model = cloak.make_model(where, cloak.strained(shape))(REFERENCE)
    base = np.tile(REFERENCE, (where.num_classes, 1))
    value, each, gradient = model.slope(base)
    assert each.shape == (6,) and each.max() * 6 ** (-1 / 8) <= value <= each.max()
    way = np.random.default_rng(0).normal(size=base.shape) * REFERENCE
    h = 0.02
    up, down = (model.slope(base + s * h * way)[0] for s in (1, -1))
    slope = (gradient * way).sum()
    np.testing.assert_allclose((up - down) / (2 * h), slope, rtol=0.02)


@pytest.fixture(scope="module")
def slab():
    where = cloak.body((12, 12, 1), "cylinder")
    model = cloak.make_model(where, cloak.gripped((12, 12, 1)))(REFERENCE)
    return model, np.tile(REFERENCE, (where.num_classes, 1))


@pytest.mark.slow
def test_the_design_hides_the_hole(slab):
    model, start = slab
    found = cloak.design(model, start, _free, steps=45)
    assert model.distortion(found).max() < model.before.max() / 5
    # What hides a hole is stiffer than the body in the mean.
    assert found[:, 0].mean() > REFERENCE[0]


@pytest.mark.slow
def test_the_design_stays_inside_the_region(slab):
    model, start = slab
    top = region.coordinates(1.5 * REFERENCE[None])

    def excess(y):
        return jnp.maximum(y - jnp.asarray(top, y.dtype), 0).max(1)

    seen = []
    found = cloak.design(
        model, start, excess, steps=60, after=lambda step, each: seen.append(step)
    )
    free = cloak.design(model, start, _free, steps=45)
    off, far = (
        np.asarray(excess(jnp.asarray(region.coordinates(c)))) for c in (found, free)
    )
    assert far.max() > 0.1 and off.max() < 0.04 and off.mean() < 0.01
    assert model.distortion(found).max() < 0.7 * model.before.max()
    assert seen == list(range(1, len(seen) + 1))
