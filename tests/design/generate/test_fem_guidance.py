"""Guidance by the homogenizer: the estimate gets what was asked, where it may."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import wave

from mmdiff.cells import symmetry
from mmdiff.design.bench import specimens
from mmdiff.design.generate import fem_guidance
from mmdiff.elasticity import PAPER_RANGES, voigt_to_cubic
from mmdiff.fem.homogenize import homogenize
from mmdiff.targets import quantities, target

N = 8
T = 0.5  # the time at which estimates are moved


def _values(x0):
    """C11, C12, C44 and V of an estimate, in the unit that errors are told in."""
    share = fem_guidance.shares(jnp.asarray(x0), T, N)
    constants = voigt_to_cubic(homogenize(share, penal=1.0)[0])
    return np.append(np.asarray(constants) / PAPER_RANGES, share.mean())


def _denser(x0):
    """Values of a denser cell, so that they go together."""
    return np.clip(np.asarray(x0) + 0.2, -1, 1)


@pytest.fixture(scope="module")
def estimate():
    """Two uncertain estimates of cells."""
    x0 = 0.8 * np.clip(3 * np.asarray(specimens.graded(N)) - 1.2, -1, 1)
    return jnp.asarray(np.stack([x0, 0.9 * x0]), jnp.float32)


@pytest.fixture(scope="module")
def guide():
    return fem_guidance.FemGuidance(N, newton=12)


@pytest.fixture(scope="module")
def moved(guide, estimate):
    """Return what moves the estimates; one program for one goal and for two."""
    run = jax.jit(guide)

    def move(t, wanted):
        goals = np.broadcast_to(np.float32(wanted), (2, 9))
        return run(estimate, jnp.float32(t), jnp.asarray(goals))

    return move


def _unscaled(values):
    """C11, C12, C44, V among all that can be wanted, the others free."""
    values = values * np.append(PAPER_RANGES, 1.0)
    return np.concatenate([values[:3], np.full(5, np.nan), values[3:]])


def test_wanted_is_what_a_target_counts():
    assert fem_guidance.NAMES == (
        "C11",
        "C12",
        "C44",
        "K",
        "G",
        "E",
        "nu",
        "zener",
        "V",
    )
    nan = np.nan
    got = fem_guidance.target_values(target.parse("E=0.1,zener=2", volume=0.3))
    expected = [nan, nan, nan, nan, nan, 0.1, nan, 2, 0.3]
    np.testing.assert_array_equal(got, np.float32(expected))
    # As errors are told of the constants, it is the constants that are wanted.
    asked = target.parse("E=0.1,nu=0.2,zener=2")
    got = fem_guidance.target_values(asked)
    expected = [*asked.constants, *6 * [nan]]
    np.testing.assert_array_equal(got, np.float32(expected))


@pytest.mark.slow
def test_the_estimate_gets_the_asked_constants(estimate, moved):
    start = _values(estimate[0])
    goal = _values(_denser(estimate[0]))
    out = moved(T, _unscaled(goal))
    assert symmetry.is_cubic(np.asarray(out))
    before, after = abs(start - goal), abs(_values(out[0]) - goal)
    # Newton's method with solves of 1e-2.
    assert after.max() < 0.02 * before.max()


@pytest.mark.slow
def test_free_values_stay_free(estimate, moved):
    start = _values(estimate[1])
    goal = np.array([start[0] + 0.02, np.nan, np.nan, np.nan])
    got = _values(moved(T, _unscaled(goal))[1])
    assert abs(got[0] - goal[0]) < 2e-3
    # The least change that gives C11 takes more material.
    assert got[3] > start[3]


@pytest.mark.parametrize("names", [("E",), ("K", "zener"), ("nu", "C44", "V")])
def test_any_quantities_can_be_asked(estimate, moved, names):
    def present(x0):
        values = _values(x0) * np.append(PAPER_RANGES, 1.0)
        every = dict(zip(quantities.NAMES, quantities.values(values[:3]), strict=True))
        every["V"] = values[3]
        return np.array([every[name] for name in names])

    start = present(estimate[0])
    goal = present(_denser(estimate[0]))
    wanted = np.full(9, np.nan)
    wanted[[fem_guidance.NAMES.index(name) for name in names]] = goal
    off = abs(present(moved(T, wanted)[0]) - goal) / abs(goal - start).max()
    assert off.max() < 0.02


def test_each_estimate_can_have_a_goal_of_its_own(guide, estimate, moved):
    goals = [
        _unscaled(_values(one) * factor)
        for one, factor in zip(estimate, (1.05, 1.1), strict=True)
    ]
    both = moved(T, np.stack(goals))
    for one, goal, i in zip(both, goals, range(2), strict=True):
        np.testing.assert_array_equal(one, moved(T, goal)[i])
    one = jax.eval_shape(guide, estimate, jnp.float32(T), jnp.float32(goals[0]))
    assert one.shape == estimate.shape


def test_early_estimates_are_let_be(estimate, moved):
    goal = _unscaled(_values(estimate[0]) + 0.02)
    np.testing.assert_array_equal(moved(fem_guidance.FIRST + 0.01, goal), estimate)
    for t in (fem_guidance.FIRST, 0.02):
        assert (np.asarray(moved(t, goal)) != np.asarray(estimate)).any()


def test_surfaces_count_as_sharper_the_later_it_is(estimate):
    grey, half, sharp = (fem_guidance.shares(estimate[0], t, 4) for t in (1, 0.5, 0))
    between = [((share > 0) & (share < 1)).mean() for share in (grey, half, sharp)]
    assert between[0] > between[1] > between[2] > 0
    # Both sides of a minimal surface are alike, however much of them counts.
    for t in (1.0, 0.0):
        share = fem_guidance.shares(jnp.asarray(wave(8), jnp.float32), t, 4)
        np.testing.assert_allclose(share.mean(), 0.5, atol=1e-6)


def test_fewer_elements_than_samples_serve(estimate):
    guide = fem_guidance.FemGuidance(N, newton=1, elements=N // 2)
    before = fem_guidance.shares(estimate[0], T, N // 2).mean()
    goal = jnp.full(9, jnp.nan).at[-1].set(before + 0.05)
    out = jax.jit(guide)(estimate, jnp.float32(T), goal)
    after = fem_guidance.shares(out[0], T, N // 2).mean()
    # One step, of which the second order is left.
    assert abs(float(after - before) - 0.05) < 0.01


def test_solutions_are_counted_where_the_estimate_is_moved():
    # Those at 0.95, 0.5 and 0.2 count; 1 is too early, 0 arrived at.
    times = [1.0, 0.95, 0.5, 0.2, 0.0]
    assert (
        fem_guidance.solutions(times, 2) == 6 and fem_guidance.solutions(times, 0) == 0
    )
    assert fem_guidance.solutions([0.9, 0.5], 1) == 1
