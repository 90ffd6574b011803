"""Bodies with a hole, and the design of what hides it."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.design.cloak import model as cloak
from mmdiff.design.cloak import region
from mmdiff.design.cloak.geometry import geometry, gripped, pulled, strained

REFERENCE = np.array([0.2, 0.07, 0.06])


def _free(y):
    """A region without an end."""
    return jnp.zeros_like(y[:, 0])


@pytest.mark.slow
def test_a_pulled_body_gets_longer_by_stress_over_modulus():
    # Free to contract but at one end: long bodies follow Hooke's law.
    shape = (24, 4, 4)
    where = geometry((4, 4, 4), "cylinder", hole=0.0, cloak=0.3)
    where = where._replace(
        hole=np.zeros(shape, bool),
        cloak=np.arange(24)[:, None, None] * np.ones(shape, int) == 12,
        outside=np.ones([n + 1 for n in shape], bool),
        index=np.zeros(16, int),
    )
    model = cloak.make_model(where, pulled(shape))(REFERENCE)
    u = model.u0[0, 0]
    c11, c12, _ = REFERENCE
    young = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
    strain = (u[20] - u[10]).mean() / 10
    np.testing.assert_allclose(strain, 0.1 / young, rtol=5e-3)


def test_more_elements_along_a_cell_tell_nearly_the_same():
    shape, before = (6, 6, 1), []
    for k in (1, 2):
        where = geometry(shape, "cylinder", elements=k)
        model = cloak.make_model(where, gripped(tuple(k * n for n in shape)))(REFERENCE)
        assert model.u0.shape == (1, 3, 6 * k + 1, 6 * k + 1, k + 1)
        before.append(model.before[0])
    # Finer elements are softer round the hole.
    assert before[0] < before[1] < 1.5 * before[0]


def test_an_offset_is_added_to_what_is_distorted():
    shape = (6, 6, 1)
    where, loads = geometry(shape, "cylinder"), gripped(shape)
    make = cloak.make_model(where, loads)
    plain = make(REFERENCE)
    classes = np.tile(REFERENCE, (where.num_classes, 1))
    u, _ = plain.response(classes)
    there = make(REFERENCE, plain.u0 - np.asarray(u))
    np.testing.assert_allclose(there.distortion(classes), 0, atol=1e-5)
    np.testing.assert_array_equal(there.u0, plain.u0)
    assert plain.distortion(classes) > 0.01


def test_without_a_hole_nothing_is_distorted():
    shape = (6, 6, 2)
    where = geometry(shape, "cylinder", hole=0.0)
    model = cloak.make_model(where, strained(shape))(REFERENCE)
    # float32 solves to 1e-5
    np.testing.assert_allclose(model.before, 0, atol=1e-5)


@pytest.mark.slow
def test_the_slope_is_that_of_the_distortion():
    shape = (6, 6, 2)
    where = geometry(shape, "cylinder", swaps=True)
    model = cloak.make_model(where, strained(shape))(REFERENCE)
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
    where = geometry((12, 12, 1), "cylinder")
    model = cloak.make_model(where, gripped((12, 12, 1)))(REFERENCE)
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
