"""Refinement: targets met on the fine grid, cells that print, the nearest one kept."""

import field_helpers
import numpy as np
import pytest
from design_helpers import frame, smooth_field, wave
from field_helpers import estimate, evaluate

from mmdiff.cells import surface
from mmdiff.cells.grey import to_field
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.generate.cell import make_cell
from mmdiff.design.generate.refine import (
    GOAL,
    field_of,
    goal,
    make_refine,
    polish,
)
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import of_constants, parse

ANY = Printing(0.0, 0.0, drainable=False)


@pytest.fixture
def free(monkeypatch):
    """Stiffness without finite elements."""
    field_helpers.patch(monkeypatch)


def _start(psi, asked):
    return make_cell(psi, estimate(psi), asked)


def test_refinement_aims_at_what_the_fine_grid_says(free):
    asked = parse("C11=0.18", volume=None)
    start = _start(smooth_field(0.4), asked)
    cell = make_refine(evaluate, steps=20, printing=ANY)(start, asked)
    assert cell.error < GOAL < 2e-2 * start.error
    # Constants are those of the volume, less what the coarse grid is off.
    assert cell.volume == pytest.approx(0.45, rel=4e-3)
    assert cell.history[0] == pytest.approx(start.error, rel=1e-4)
    assert cell.volumes[0] == pytest.approx(start.volume, rel=1e-4)
    assert len(cell.volumes) == len(cell.history) > 1
    assert cell.solves > len(cell.history) - 1 + 2
    np.testing.assert_allclose(cell.sampled, start.constants, rtol=1e-4)


def test_samples_count_as_their_surface_and_not_as_their_coarse_grid(free):
    asked = parse("C11=0.18", volume=None)
    psi = smooth_field(0.4)
    found = evaluate(psi)
    alone = accuracy.of_coarse(found.values[:3], found.values[3], found.residual)
    start, known = make_cell(psi, alone, asked), _start(psi, asked)
    assert abs(start.error / known.error - 1) > 1e-3
    cell = make_refine(evaluate, steps=20, printing=ANY)(start, asked)
    assert cell.history[0] == pytest.approx(known.error, rel=1e-4)
    np.testing.assert_allclose(cell.sampled, known.constants, rtol=1e-4)


def test_the_shift_of_a_cell_that_was_estimated_is_known(free):
    asked = of_constants(field_helpers.RATES * 0.4, 0.4)
    start = _start(smooth_field(0.4), asked)
    np.testing.assert_allclose(start.coarse, evaluate(start.psi).values[:3], rtol=1e-5)
    cell = make_refine(evaluate, steps=20, printing=ANY)(start, asked)
    assert len(cell.history) <= 2 and cell.error < 1e-4


def test_steps_are_limited(free):
    asked = parse("C11=0.28", volume=None)
    start = _start(smooth_field(0.4), asked)
    cell = make_refine(evaluate, steps=2, printing=ANY)(start, asked)
    assert len(cell.history) == 3
    assert cell.history[0] > cell.history[1] > cell.history[2] > GOAL


def test_walls_are_mended_before_anything_is_moved(free):
    plates = surface.to_volume(frame(16, 2) * 0.9, 0.3)
    asked = parse("C11=0.2", volume=None)
    limits = Printing(wall=0.16, gap=0.1, drainable=True)
    start = _start(plates, asked)
    assert start.printability.wall < 0.16 and start.printability.trapped > 0.9
    assert limits.flaw(start) == "trapped void" != ANY.flaw(start) == ""
    cell = make_refine(evaluate, steps=30, printing=limits)(start, asked)
    found = printability(cell.psi)
    assert limits.flaw(cell) == "" and found.wall >= 0.16 and found.gap >= 0.1
    assert found.trapped == 0 and found.void_pieces == 1
    assert cell.error < 1e-3
    thick = Printing(wall=0.3, gap=0.03)
    assert thick.flaw(cell) == "thin walls"


def test_soft_targets_are_met_more_closely():
    assert goal(of_constants((0.4, 0.2, 0.1))) == GOAL
    soft = 0.01 * np.array([1.330768, 0.667355, 0.383357])
    assert goal(of_constants(soft)) == pytest.approx(2e-5)
    # Poisson's ratio has no size of its own.
    assert goal(parse("nu=0", volume=None)) == GOAL


def test_a_cell_without_room_is_moved_as_it_is(free):
    psi, _ = to_field(wave(16), 0.4)
    cell = _start(psi, parse("C11=0.2"))
    result = polish(cell, "C11=0.2", min_wall=0.6, min_gap=0.6)
    assert result.cell.error < GOAL and result.steps > 0
    assert Printing(0.6, 0.6).flaw(result.cell)
    kept = make_refine(evaluate, steps=40, printing=Printing(0.6, 0.6))
    assert kept(cell, parse("C11=0.2")).error > 10 * GOAL


def test_what_did_not_move_is_not_solved_again(free, monkeypatch):
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return estimate(*args, **options)

    monkeypatch.setattr(accuracy, "estimate", counted)
    psi, _ = to_field(wave(16), 0.4)
    start = _start(psi, parse("C11=0.2"))
    kept = make_refine(evaluate, steps=40, printing=Printing(0.6, 0.6))
    # Once on each grid.
    assert kept(start, parse("C11=0.2")).solves == start.solves + 2
    assert len(calls) == 1


def _schwarz(volume, n=16):
    return threshold_to_volume(wave(n), volume)


def test_polish_moves_a_cell_of_any_kind_to_a_target(free):
    psi, _ = to_field(wave(16), 0.4)
    cell = _start(psi, parse("C11=0.2"))
    options = {"min_wall": 0.0, "min_gap": 0.0}
    result = polish(cell, "C11=0.2", **options)
    assert result.cell.error < GOAL < 0.1 * cell.error
    assert result.errors == result.cell.history
    assert result.volumes == result.cell.volumes
    assert result.steps == len(result.errors) - 1 > 0
    voxels = octant_to_cell(_schwarz(0.4))
    first, *others = (
        polish(kind(voxels), parse("C11=0.2"), **options).cell
        for kind in (np.asarray, lambda a: a.astype(bool), lambda a: a.astype(float))
    )
    assert first.error < GOAL
    for other in others:
        np.testing.assert_array_equal(other.psi, first.psi)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda cell: cell[:, :, :8], "the cell is not binary and cubic"),
        (lambda cell: 0.7 * cell, "the cell is not binary and cubic"),
        (
            lambda cell: np.maximum(cell, np.arange(16) < 2),
            "the cell is not binary and cubic",
        ),
        (lambda cell: 0 * cell, "no solid voxel"),
        (lambda cell: _speck(cell), "the cell has 9 solid pieces"),
        (lambda cell: _thin(), "once its steps are rounded off"),
    ],
)
def test_cells_that_cannot_be_polished(free, change, part):
    voxels = octant_to_cell(_schwarz(0.3, 8)).astype(float)
    with pytest.raises(InputError, match=part):
        polish(change(voxels), "C11=0.4")


def _speck(cell):
    cell[np.ix_([5, 10], [5, 10], [5, 10])] = 1
    return cell


def _thin():
    """A block in the middle of the cell, held by struts of two voxels."""
    block, line = abs(np.arange(16) - 7.5) < 5, abs(np.arange(16) - 7.5) < 1
    x, y, z = line[:, None, None], line[:, None], line
    struts = (x & y) | (y & z) | (z & x)
    return (struts | (block[:, None, None] & block[:, None] & block)).astype(float)


@pytest.mark.parametrize(
    ("options", "part"),
    [({"steps": -1}, "steps=-1 is"), ({"min_wall": 1.0}, "min_wall=1.0 is")],
)
def test_options_out_of_range(free, options, part):
    with pytest.raises(InputError, match=part):
        polish(octant_to_cell(_schwarz(0.3, 8)), "C11=0.4", **options)


def test_cells_and_targets_of_other_symmetries(free):
    asked = parse("C11=0.18", volume=None)
    psi = smooth_field(0.4)
    skewed = psi + 0.1 * np.cos(np.pi * np.arange(len(psi)) / len(psi))[:, None, None]
    cell = make_cell(skewed, estimate(psi), asked)
    with pytest.raises(InputError, match="is orthotropic and the target cubic"):
        polish(cell, asked)


@pytest.mark.slow
def test_an_array_is_moved_to_an_orthotropic_tensor():
    solid = octant_to_cell((frame(16, 5) > 0).astype(np.uint8))
    psi = field_of(solid)
    found = accuracy.estimate(psi, symmetry="orthotropic", tol=1e-3)
    goal = found.constants * np.array([1.05, 1, 1, 1, 1, 1, 1, 1, 1])
    result = polish(solid, OrthotropicTarget(tuple(goal)), steps=8)
    assert result.cell.constants.shape == (9,) and result.cell.symmetry == "orthotropic"
    assert result.errors[-1] < result.errors[0] / 3
