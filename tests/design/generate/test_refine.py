"""Refinement and rework: goals met, the better one kept, twice the resolution."""

import dataclasses

import numpy as np
import pytest
from design_helpers import octant, proportional, wave

from mmdiff import elasticity
from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.symmetry import is_cubic, octant_to_cell, symmetrize
from mmdiff.cells.thickness import thin_shares
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.generate import rework
from mmdiff.design.generate.cell import binarize, make_cell
from mmdiff.design.generate.fem_guidance import target_values
from mmdiff.design.generate.refine import (
    FAR,
    GOAL,
    double,
    goal,
    make_refine,
    polish,
    smoothed,
)
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.targets.target import of_constants, parse
from mmdiff.topopt import interface

N = 16


def _schwarz(volume, n=N):
    return threshold_to_volume(wave(n), volume)


def test_refinement_aims_at_what_is_asked():
    asked = parse("K=0.2", volume=None)
    part = octant()
    start = make_cell(part, proportional(part), asked, 1)
    cell = make_refine(proportional, steps=8)(start, asked)
    # K is 0.6 of the volume here, so that half an orbit of six voxels is this error.
    assert cell.error < 0.5 * 0.6 * 6 / 8**3 / 0.888493 < 0.1 * start.error
    assert abs(cell.volume - 1 / 3) < 0.02
    assert cell.history[0] == pytest.approx(start.error, rel=1e-5)  # float32
    assert cell.volumes[0] == start.volume and cell.volumes[-1] == cell.volume
    assert len(cell.volumes) == len(cell.history) > 1
    np.testing.assert_array_equal(cell.sampled, start.constants)


def _rough():
    """A cell with the bumps and pits of noise, in one piece."""
    noise = symmetrize(np.random.default_rng(0).normal(size=(N, N, N)))
    octant, _, _ = clean_octant(threshold_to_volume(wave(N) + 0.9 * noise, 0.4))
    assert is_load_bearing(octant)
    return octant


def test_surfaces_are_smoothed_at_their_volume():
    octant = _rough()
    smooth = smoothed(octant)
    assert is_load_bearing(smooth) and is_cubic(smooth)
    assert abs(smooth.mean() - octant.mean()) <= 0.5 * 6 / N**3
    assert np.mean(smooth == octant) > 0.8
    before, after = thin_shares(octant), thin_shares(smooth)
    assert max(after) < 0.03 < 0.05 < min(before)
    # What is smooth stays what it is, but for the corners of its steps.
    assert np.mean(smoothed(_schwarz(0.4)) == _schwarz(0.4)) > 0.97


def test_what_would_fall_apart_is_not_smoothed():
    octant = np.zeros((N, N, N), np.uint8)
    octant[6:10, 6:10, 6:10] = 1
    octant[:, 7, 7] = octant[7, :, 7] = octant[7, 7, :] = 1  # struts of a voxel
    np.testing.assert_array_equal(smoothed(octant), octant)


def test_refinement_smooths_first():
    asked = parse("K=0.27", volume=None)
    octant = _rough()
    start = make_cell(octant, proportional(octant), asked, 1)
    cell = make_refine(proportional, steps=8)(start, asked)
    smooth = smoothed(octant)
    expected = make_cell(smooth, proportional(smooth), asked, 1)
    assert cell.history[:2] == pytest.approx((start.error, expected.error), rel=1e-5)
    assert cell.volumes[:2] == (start.volume, expected.volume)
    assert len(cell.volumes) == len(cell.history) > 2
    assert max(thin_shares(cell.octant)) < 0.03
    plain = make_refine(proportional, steps=8, smooth=False)(start, asked)
    assert min(thin_shares(plain.octant)) > 0.03
    assert plain.volumes[0] == cell.volumes[0] and plain.volumes[1] != cell.volumes[1]


def test_where_the_smoothed_cell_is_worse_the_cell_itself_is_polished():
    octant = _rough()

    def by_surface(octant, fields=None):  # what is rough is stiff
        result = proportional(octant)
        return result._replace(
            constants=result.constants * (1 + sum(thin_shares(octant)))
        )

    asked = of_constants(by_surface(octant).constants, 0.4)
    start = make_cell(octant, by_surface(octant), asked, 1)
    cell = make_refine(by_surface, steps=1)(start, asked)
    np.testing.assert_array_equal(cell.octant, octant)
    assert cell.history == pytest.approx((start.error,), abs=1e-6)


def test_nothing_counts_that_did_not_converge():
    octant = _rough()
    smooth = smoothed(octant)

    def solve(octant, fields=None):
        good = not np.array_equal(octant, smooth)
        return proportional(octant)._replace(converged=good)

    asked = of_constants(proportional(smooth).constants)  # met by what is smooth
    start = make_cell(octant, solve(octant), asked, 1)
    cell = make_refine(solve, steps=0)(start, asked)
    np.testing.assert_array_equal(cell.octant, octant)
    with pytest.raises(ValueError, match="unconverged"):
        double(
            start, asked, lambda octant: proportional(octant)._replace(converged=False)
        )


def test_the_better_of_polished_and_reworked_counts():
    asked = of_constants((0.9, 0.3, 0.3))  # not in proportion: polishing stops short
    octant = _schwarz(0.4, 8)
    start = make_cell(octant, proportional(octant), asked, 1)
    calls = []

    def worse(octant, wanted):
        calls.append(wanted)
        return _schwarz(0.05, 8).astype(float)

    plain = make_refine(proportional, steps=2)(start, asked)
    assert plain.error > FAR * GOAL
    cell = make_refine(proportional, steps=2, rework=worse, rounds=3)(start, asked)
    # Nothing was gained, so it stopped after the first and kept what it had.
    assert len(calls) == 1 and cell.history == plain.history
    np.testing.assert_array_equal(calls[0], target_values(asked))

    def better(octant, wanted):
        return _schwarz(0.8, 8).astype(float)

    cell = make_refine(proportional, steps=2, rework=better)(start, asked)
    assert cell.error < plain.error
    assert cell.history[: len(plain.history)] == plain.history
    assert len(cell.volumes) == len(cell.history) > len(plain.history)


def test_rework_holds_the_volume_and_then_lets_it_go():
    # The constants of twice the volume that is asked for.
    asked = of_constants((0.6, 0.24, 0.18), 0.3)
    octant = _schwarz(0.3, 8)
    start = make_cell(octant, proportional(octant), asked, 1)
    calls = []

    def remade(octant, wanted):
        calls.append(wanted[-1])
        if np.isnan(wanted[-1]):
            return wave(8) / 6 + 0.5
        return np.zeros_like(octant, float)  # nothing that could be binarized

    settings = {"steps": 1, "rework": remade, "rounds": 3}
    cell = make_refine(proportional, price=0.01, **settings)(start, asked)
    assert np.isnan(calls[1]) and calls[0] == np.float32(0.3)
    assert cell.error < 0.1 * start.error and cell.volume > 0.5
    # Too dear: nothing is gained by either, and nothing is tried twice.
    calls.clear()
    dear = make_refine(proportional, price=30.0, **settings)(start, asked)
    assert abs(dear.volume - 0.3) < 0.02 and len(calls) == 2


@pytest.mark.parametrize(("price", "volume"), [(0.01, 0.6), (30.0, 0.41)])
def test_the_price_says_how_far_the_volume_gives_way(price, volume):
    # Constants go with the volume, and those asked for have 0.6.
    asked = of_constants((0.6, 0.24, 0.18), 0.4)
    octant = _schwarz(0.4, 8)
    start = make_cell(octant, proportional(octant), asked, 1)
    cell = make_refine(proportional, steps=20, price=price)(start, asked)
    assert abs(cell.volume - volume) <= 0.5 * 6 / 8**3 + 1e-3


def test_soft_targets_are_met_more_closely():
    assert goal(of_constants((0.4, 0.2, 0.1))) == GOAL
    soft = 0.01 * np.array([1.330768, 0.667355, 0.383357])
    assert goal(of_constants(soft)) == pytest.approx(5e-5)
    # Poisson's ratio has no size of its own.
    assert goal(parse("nu=0", volume=None)) == GOAL


def test_cells_near_their_target_are_not_reworked():
    octant = _schwarz(0.4, 8)
    asked = of_constants(proportional(octant).constants)
    start = make_cell(octant, proportional(octant), asked, 1)

    def never(octant, wanted):
        raise AssertionError("reworked")

    assert make_refine(proportional, steps=2, rework=never)(start, asked).error < 1e-6


@pytest.fixture(scope="module")
def evaluate():
    """Finite elements for cells and for the grey density of a rework."""
    assert homogenize.PENAL == rework.PENAL
    return interface.make_evaluate(8, void=rework.VOID)


@pytest.fixture(scope="module")
def run():
    return rework.make_rework(8, betas=(4.0,) * 10 + (8.0,) * 8)


@pytest.mark.slow
def test_rework_meets_a_target_that_moving_the_surface_does_not(evaluate, run):
    line = np.cos(np.pi * (np.arange(8) + 0.5) / 4)
    other = threshold_to_volume(wave(8) + 0.8 * line[:, None, None] * line * line, 0.45)
    constants = evaluate(_schwarz(0.45, 8)).constants * 0.8
    asked = of_constants(constants, 0.45)
    density = run(other, target_values(asked))
    assert density.shape == (8, 8, 8) and np.ptp(density) > 0.9
    assert density.min() >= 0 and density.max() <= 1
    got = evaluate(symmetrize(density)).constants
    ranges = np.array([1.330768, 0.667355, 0.383357])
    # Solves to 1e-3, and the last step is not checked by another.
    assert np.mean(abs(got - constants) / ranges) < 2e-3
    assert np.mean(abs(evaluate(other).constants - constants) / ranges) > 2e-2
    assert abs(density.mean() - 0.45) < 5e-3


def test_rework_leaves_free_what_is_free(evaluate, run):
    density = run(_schwarz(0.4, 8), target_values(parse("E=0.2", volume=None)))
    constants = evaluate(symmetrize(density)).constants
    assert elasticity.moduli(constants)["E"] == pytest.approx(0.2, abs=2e-3)


def test_cells_are_doubled():
    octant = _schwarz(0.4, 8)
    asked = of_constants((0.3, 0.1, 0.1), 0.35)
    cell = make_cell(octant, proportional(octant), asked, 3)
    fine = double(cell, asked, proportional)
    assert fine.octant.shape == (16, 16, 16) and is_load_bearing(fine.octant)
    # An orbit has at most six of 4,096 voxels.
    assert abs(fine.volume - cell.volume) < 2e-3
    assert np.mean(fine.octant == octant.repeat(2, 0).repeat(2, 1).repeat(2, 2)) > 0.95
    np.testing.assert_array_equal(fine.sampled, cell.sampled)
    assert fine.pieces_found == 3


def test_a_cell_that_falls_apart_when_doubled_is_refused():
    octant = np.zeros((8, 8, 8), np.uint8)
    octant[0] = octant[:, 0] = octant[:, :, 0] = 1  # walls of a voxel
    asked = of_constants((0.3, 0.1, 0.1))
    cell = make_cell(octant, proportional(octant), asked, 1)
    assert binarize(2.0 * octant - 1, None)[1] == ""
    thin = dataclasses.replace(cell, volume=0.01)
    with pytest.raises(ValueError, match="doubled cell is"):
        double(thin, asked, proportional)


@pytest.fixture
def free(monkeypatch):
    """Stiffness without finite elements."""
    monkeypatch.setattr(interface, "make_evaluate", lambda n: proportional)


def test_polish_moves_a_cell_of_any_kind_to_a_target(free):
    part = octant()
    cell = make_cell(part, proportional(part), parse("C11=0.4"), 3)
    result = polish(cell, "C11=0.4")
    assert result.cell.error < 0.1 * cell.error
    assert result.errors == result.cell.history
    assert result.volumes == result.cell.volumes
    assert result.steps == len(result.errors) - 1 > 0
    for other in (cell.voxels, cell.voxels.astype(bool), cell.voxels.astype(float)):
        again = polish(other, parse("C11=0.4"))
        np.testing.assert_array_equal(again.cell.octant, result.cell.octant)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda cell: cell[:, :, :8], "three equal edges"),
        (lambda cell: 0.7 * cell, "the cell is not binary and cubic"),
        (
            lambda cell: np.maximum(cell, np.arange(16) < 2),
            "the cell is not binary and cubic",
        ),
        (lambda cell: 0 * cell, "no solid voxel"),
        (lambda cell: _speck(cell), "the cell has 9 solid pieces"),
    ],
)
def test_cells_that_cannot_be_polished(free, change, part):
    voxels = octant_to_cell(_schwarz(0.3, 8)).astype(float)
    with pytest.raises(InputError, match=part):
        polish(change(voxels), "C11=0.4")


def _speck(cell):
    cell[np.ix_([5, 10], [5, 10], [5, 10])] = 1
    return cell
