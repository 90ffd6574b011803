"""Newton steps on a field: exact slopes, targets met, steps that stay within bounds."""

import jax
import numpy as np
import pytest
from design_helpers import wave
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.topopt import move
from mmdiff.topopt.room import Widths

N = 8
RANGES = np.array([1.330768, 0.667355, 0.383357])


def _cell(volume=0.4, bump=0.3):
    line = np.cos(2 * np.pi * (np.arange(N) + 0.5) / N)
    array = wave(N) + bump * line[:, None, None] * line[:, None] * line
    return surface.to_volume(symmetrize(array / 4), volume)


@pytest.fixture(scope="module")
def evaluate():
    return move.make_evaluate(N)


@pytest.fixture(scope="module")
def exact():
    """The same to a residual of 1e-6."""
    return move.make_evaluate(N, tol=1e-6)


def _noise(seed):
    noise = np.random.default_rng(seed).normal(size=(N, N, N))
    return symmetrize(4 * ndimage.gaussian_filter(noise, 1, mode="reflect"))


def test_slopes_are_those_of_differences(exact):
    psi = _cell()
    found = exact(psi)
    assert found.converged and found.residual < 1e-5
    step, change = 5e-3, _noise(0)
    ahead, behind = (exact(psi + sign * step * change).values for sign in (1, -1))
    expected = np.tensordot(found.slopes, change, 3)
    np.testing.assert_allclose((ahead - behind) / (2 * step), expected, rtol=5e-3)
    for slope in found.slopes:
        assert is_cubic(slope)


def test_a_loose_tolerance_tells_nearly_the_same(evaluate, exact):
    psi = _cell()
    values = exact(psi).values
    loose = evaluate(psi)
    assert loose.residual > 1e-5
    # Energies err with the square of the residual.
    np.testing.assert_allclose(loose.values, values, rtol=2e-5)


def test_a_target_of_another_cell_is_met_in_a_few_solves(evaluate):
    target = evaluate(_cell(0.42, -0.2)).values
    residual = move.target_residual(target[:3])
    moved = move.newton(_cell(), residual, evaluate, volume=float(target[3]))
    assert moved.errors[0] > 5e-3 and moved.errors[-1] < 2e-5
    assert moved.solves <= 8 and is_cubic(moved.psi)
    assert len(moved.errors) == len(moved.values) <= moved.solves
    got = evaluate(moved.psi).values
    np.testing.assert_allclose(got, moved.evaluation.values, rtol=1e-5)
    assert np.mean(abs(got[:3] - target[:3]) / RANGES) < 2e-5
    assert abs(got[3] - target[3]) < 2e-4


def test_a_shift_moves_the_aim(evaluate):
    shift = np.array([0.01, 0.004, 0.002])
    psi = _cell()
    target = evaluate(psi).values
    moved = move.newton(
        psi, move.target_residual(target[:3]), move.shifted(evaluate, shift)
    )
    got = evaluate(moved.psi).values[:3]
    np.testing.assert_allclose(got, target[:3] - shift, atol=1e-4)


def test_what_cannot_be_had_ends_no_worse_than_it_began(evaluate):
    residual = move.target_residual(np.array([1.2, 0.1, 0.3]))
    moved = move.newton(_cell(), residual, evaluate, volume=0.4, steps=3)
    assert len(moved.errors) <= 4 and moved.errors[-1] < moved.errors[0]
    # The volume counts, though less than the constants.
    assert moved.values[-1, 3] < 0.9


def test_trials_beyond_repair_are_not_taken(evaluate):
    psi, asked = _cell(), []

    def repair(trial):
        asked.append(float(abs(trial - psi).max()))

    residual = move.target_residual(np.array([0.1, 0.03, 0.03]))
    moved = move.newton(psi, residual, evaluate, repair=repair)
    np.testing.assert_array_equal(moved.psi, psi)
    assert moved.solves == 1 and len(moved.errors) == 1
    # Shorter and shorter ones were tried.
    assert len(asked) > 2 and all(a > b for a, b in zip(asked, asked[1:], strict=False))


def test_changes_close_gaps_or_keep_to_the_radius(evaluate):
    psi = _cell()
    rows = evaluate(psi).slopes
    gap = np.array([1e-3, -2e-4, 3e-4, 1e-3])
    change, length = move.smallest_change(psi, rows, gap)
    np.testing.assert_allclose(np.tensordot(rows, change, 3), gap, rtol=1e-2)
    assert length < move.RADIUS and is_cubic(change)
    change, length = move.smallest_change(psi, rows, 100 * gap, 0.3)
    assert 0.29 < length < 0.31
    # Wherever the surface is, it moves by less; slopes there are about 1.
    near = abs(psi) < 0.5
    assert abs(change[near]).max() < 0.32


def test_the_rim_stays_to_the_last_bit(evaluate):
    psi, rim = _cell(), np.indices((N, N, N)).min(0) < 2
    found = evaluate(psi)
    target = found.values[:3] + np.array([0.01, 0.004, 0.004])
    moved = move.newton(
        psi, move.target_residual(target), evaluate, widths=Widths(rim=2.0)
    )
    assert moved.errors[-1] < moved.errors[0] / 10
    np.testing.assert_array_equal(moved.psi[rim], psi[rim])
    assert (moved.psi[~rim] != psi[~rim]).mean() > 0.9 and is_cubic(moved.psi)


def test_thin_walls_stay_and_thick_ones_give_way():
    psi = _cell(0.4, 0.0)  # struts along the axes, thinnest half-way between nodes
    rows, gap = np.ones((1, N, N, N)) / N**3, np.array([-0.02])
    neck = 2 * N * printability(psi).wall
    free, _ = move.smallest_change(psi, rows, gap)
    kept, _ = move.smallest_change(psi, rows, gap, widths=Widths(neck + 0.3, 0.0))
    np.testing.assert_allclose(np.sum(rows[0] * kept), gap[0], rtol=1e-2)
    np.testing.assert_allclose(free, -0.02, rtol=0.05)
    assert abs(kept[-1, 0, :2]).max() < 2e-3 and kept[4, 4, :3].max() < -0.023
    assert is_cubic(kept)


def test_the_residual_is_the_error_over_the_ranges():
    constants = np.array([0.2, 0.1, 0.05], np.float32)
    residual = move.target_residual(np.array([0.1, 0.1, 0.1]))
    got = jax.jit(residual)(constants)
    np.testing.assert_allclose(got, np.array([-0.1, 0, 0.05]) / RANGES, atol=1e-6)
    assert move.price(0.35, 0.3) == pytest.approx(0.005) and move.price(0.3, None) == 0


def test_a_cubic_field_becomes_orthotropic():
    evaluate = move.make_evaluate(N, symmetry="orthotropic", tol=1e-5)
    psi = _cell()
    here = evaluate(psi)
    assert len(here.values) == 10 and is_cubic(psi)
    # Slopes along one axis are not those along another, as differences show.
    change = _noise(3) * np.linspace(0, 1, N)[:, None, None]
    ahead, behind = (evaluate(psi + sign * 5e-3 * change).values for sign in (1, -1))
    expected = np.tensordot(here.slopes, change, 3)
    got = (ahead - behind) / 1e-2
    np.testing.assert_allclose(got, expected, atol=1e-2 * abs(expected).max())
    goal = here.values[:9] * np.repeat([[1.08, 1.0, 0.93]], 3, 0).ravel()

    def residual(constants):
        scale = np.repeat(RANGES, 3).astype(constants.dtype)
        return (goal.astype(constants.dtype) - constants) / scale

    moved = move.newton(psi, residual, evaluate, steps=12, goal=1e-5)
    assert moved.errors[-1] < 2e-5 < moved.errors[0] and not is_cubic(moved.psi)
    np.testing.assert_allclose(evaluate(moved.psi).values[:9], goal, rtol=2e-3)
    np.testing.assert_array_equal(moved.psi, symmetrize(moved.psi, "orthotropic"))
