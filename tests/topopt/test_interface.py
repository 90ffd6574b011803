"""Binary refinement: thresholds, the linear model, and whole runs on known cells."""

import numpy as np
import pytest

from mmdiff.cells import specimens
from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.cells.symmetry import gather_independent, is_cubic, multiplicity, spread
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.topopt import interface

N = 16


def _wave(n=N):
    c = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return c[:, None, None] + c[:, None] + c


def _schwarz(volume, n=N):
    return threshold_to_volume(_wave(n), volume)


@pytest.fixture(scope="module")
def evaluate():
    return interface.make_evaluate(N)


def test_thresholds_follow_the_phase_and_the_surface():
    octant = _schwarz(0.4)
    field = interface.thresholds(octant)
    solid = gather_independent(octant) > 0
    np.testing.assert_array_equal(field > 0, solid)
    grid = spread(field, N)
    # Away from the surface nothing flips, whatever moves less than a voxel and a half.
    inner = interface._eroded(octant > 0)
    assert (grid[inner] == 2).all() and inner.any()
    near = abs(field) < 1
    # By rank: the thresholds of the surface fill (0, 1) evenly, here in tenths.
    share = np.histogram(abs(grid[abs(grid) < 1]), 10, (0, 1))[0]
    assert near.any() and share.min() > 0.5 * share.mean()


def test_thin_walls_flip_last():
    octant = specimens.plates(N).astype(np.uint8)
    grid = spread(interface.thresholds(octant), N)
    # Two voxels thick in the cell, one in the octant: far from the edges where walls
    # meet, no solid voxel has an inner neighbour.
    assert octant[0, N // 2 :, N // 2 :].all()
    assert abs(grid[0, N // 2 :, N // 2 :]).min() >= 1


def test_advance_gives_what_the_linear_model_promises():
    octant = _schwarz(0.4)
    field = interface.thresholds(octant)
    x = np.linspace(0, 1, field.size)
    density = np.stack([np.ones_like(x), 1 + x, 2 - x**2]) / N**3
    wanted = np.array([0.02, 0.035, 0.03])
    solid = interface.advance(field, density, wanted, N)
    flips = solid.astype(float) - (field > 0)
    got = density @ (multiplicity(N) * flips)
    # An orbit of six voxels changes each quantity by up to 12 / n^3 = 0.003.
    np.testing.assert_allclose(got, wanted, atol=0.003)


def test_a_cell_without_surface_stays_as_it_is():
    field = interface.thresholds(np.ones((N, N, N), np.uint8))
    density = np.ones((3, field.size)) / N**3
    solid = interface.advance(field, density, np.full(3, -0.01), N)
    assert solid.all()


@pytest.mark.slow
def test_sensitivities_are_the_derivatives(evaluate):
    octant = _schwarz(0.4)
    result = evaluate(octant)
    stiff = np.where(octant > 0, 1.0, interface.homogenize.VOID)
    # C is homogeneous of degree one in the moduli: sum_e E_e dC/dE_e = C (Euler).
    total = (result.sensitivity * stiff).sum((1, 2, 3))
    # float32 sums of 4,096 terms.
    np.testing.assert_allclose(total, result.constants, rtol=1e-5)
    assert result.converged and result.residual <= 1e-5


def test_polish_reaches_the_tensor_of_another_cell(evaluate):
    start = _schwarz(0.34)
    target = evaluate(_schwarz(0.30)).constants
    done = interface.polish(start, interface.target_residual(target), evaluate)
    assert done.history[0] > 0.008
    # One orbit of six of 4,096 voxels is worth about 0.1 % of the ranges.
    assert done.history[-1] < 1e-3
    assert list(done.history) == sorted(done.history, reverse=True)
    assert is_load_bearing(done.octant) and is_cubic(done.octant)
    again = evaluate(done.octant).constants
    np.testing.assert_allclose(again, done.evaluation.constants, rtol=1e-5)


def test_polish_keeps_near_the_wanted_volume(evaluate):
    start = _schwarz(0.36)
    x = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    pairs = x[:, None, None] * x[:, None] + x[:, None] * x + x[:, None, None] * x
    other = threshold_to_volume(_wave() - 0.25 * pairs, 0.36)
    target = evaluate(other).constants
    done = interface.polish(
        start, interface.target_residual(target), evaluate, volume=0.36
    )
    assert done.history[-1] < 0.3 * done.history[0]
    # Beyond the slack every step aims back, so it ends within about twice of it.
    assert abs(done.octant.mean() - 0.36) < 2.5 * interface.VOLUME_SLACK


def test_polish_never_makes_things_worse(evaluate):
    start = _schwarz(0.3)
    # Twice the stiffness of the solid: no cell can do it.
    done = interface.polish(
        start, interface.target_residual(np.array([2.7, 1.1, 0.7])), evaluate, steps=2
    )
    assert done.history[-1] <= done.history[0]
    assert is_load_bearing(done.octant)
    same = interface.polish(
        start, interface.target_residual(evaluate(start).constants), evaluate
    )
    np.testing.assert_array_equal(same.octant, start)
    assert len(same.history) == 1


def test_polish_ends_where_it_creeps(evaluate):
    missing = interface.target_residual(np.array([2.7, 1.1, 0.7]))
    run = [
        interface.polish(_schwarz(0.3), missing, evaluate, steps=5, creep=creep)
        for creep in (0.0, 0.5, 1.0)
    ]
    # It gains with every step, though never half of the error in four.
    assert [len(each.history) - 1 for each in run] == [interface.PATIENCE] * 2 + [5]
    np.testing.assert_allclose(run[0].history, run[2].history[:-1], rtol=1e-5)
