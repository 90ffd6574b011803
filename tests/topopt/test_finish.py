"""Grey designs become surfaces of the asked volume, and better ones by steps."""

import numpy as np
import pytest
from design_helpers import block, frame, smooth_field

from mmdiff import elasticity
from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.elasticity import constants_to_voigt
from mmdiff.fem import accuracy
from mmdiff.topopt import finish, move, objectives
from mmdiff.topopt.ascent import SLACK
from mmdiff.topopt.problem import Limits, Problem

N = 8
BULK = Problem(lambda _: objectives.bulk)
ANY = Printing(0.0, 0.0, drainable=False)


def _grey(tilt=(1.0, 1.0, 1.0)):
    line = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    x, y, z = (a * t for a, t in zip(np.ix_(line, line, line), tilt, strict=True))
    wave = 0.5 + (x + y + z) / 7
    return symmetrize(wave) if len(set(tilt)) == 1 else wave


@pytest.fixture(scope="module")
def evaluate():
    return move.make_evaluate(N)


def test_nothing_is_made_of_islands(evaluate):
    density = np.zeros((N, N, N))
    density[3:5, 3:5, 3:5] = 1
    design = finish.finish(density, BULK, Limits(0.01), evaluate)
    assert design.psi is None and design.estimate is None
    assert design.value == -np.inf and design.violation == np.inf


@pytest.mark.parametrize("volume", [0.35, 0.45])
def test_a_known_cell_keeps_its_surface_without_steps(evaluate, volume):
    psi = smooth_field(0.4, N)
    limits = Limits(volume)
    design = finish.finish_field(psi, BULK, limits, evaluate, steps=0, printing=ANY)
    # Moved to the volume, everywhere alike.
    assert np.ptp(design.psi - psi) < 1e-9 and is_cubic(design.psi)
    assert design.estimate.volume == pytest.approx(volume, rel=2e-4)
    assert len(design.history) == 1 and design.flaw == ""
    known = accuracy.estimate(design.psi).constants
    np.testing.assert_allclose(design.estimate.constants, known, rtol=2e-3)
    assert design.value == pytest.approx(elasticity.moduli(known)["K"], rel=2e-3)


def test_a_known_cell_loses_loose_pieces(evaluate):
    psi = frame(N, 3)
    psi[1, 1, 1] = 1
    limits = Limits(surface.volume(psi))
    options = {"steps": 0, "printing": ANY}
    design = finish.finish_field(psi, BULK, limits, evaluate, **options)
    assert printability(design.psi).pieces == 1
    assert (design.psi[1, 1, 1] < 0) and (design.psi[-2:] > 0).all()


def test_nothing_is_made_of_a_known_block(evaluate):
    psi = block(N)
    design = finish.finish_field(psi, BULK, Limits(surface.volume(psi)), evaluate)
    assert design.psi is None and design.value == -np.inf


@pytest.mark.slow
def test_the_objective_rises_at_the_same_volume(evaluate):
    printing = Printing(wall=0.2, gap=0.05, drainable=False)
    problem, limits = BULK, Limits(0.35)
    start = finish.finish(_grey(), problem, limits, evaluate, steps=0)
    design = finish.finish(
        _grey(), problem, limits, evaluate, steps=8, printing=printing
    )
    assert len(start.history) == 1 and len(design.history) > 3
    assert design.value > 1.02 * start.value
    assert design.estimate.volume == pytest.approx(0.35, abs=3.5e-4)
    assert design.violation <= SLACK and is_cubic(design.psi)
    # What is returned is what finite elements say of the field, on finer grids, too.
    found = design.estimate
    moduli = elasticity.moduli(found.constants)
    assert design.value == pytest.approx(moduli["K"], rel=1e-6)
    again = accuracy.estimate(design.psi, elements=2 * N)
    apart = abs(again.constants - found.constants)
    assert (apart < found.uncertainty + again.uncertainty).all()
    printed = printability(design.psi)
    assert design.flaw == "" and printed.pieces == 1
    assert printed.wall >= 0.2 and printed.gap >= 0.05


def test_constraints_are_met_on_the_surface(evaluate):
    problem = Problem(lambda _: objectives.shear, isotropic=True)
    limits = Limits(0.4, band=0.05)
    options = {"steps": 20, "printing": ANY}
    design = finish.finish(_grey(), problem, limits, evaluate, **options)
    zener = elasticity.moduli(design.estimate.constants)["zener"]
    off = abs(np.log(zener)) - np.log(1.05)
    assert design.history[0][1] > 0.1 and off <= SLACK
    worst = max(off, abs(design.estimate.volume / 0.4 - 1))
    assert design.violation == pytest.approx(max(worst, 0.0), abs=1e-5)


def test_a_bound_on_the_volume_is_not_filled_up(evaluate):
    density = np.where(_grey() > 0.55, 1.0, 0.0)
    design = finish.finish(density, BULK, Limits(0.9), evaluate, steps=0)
    assert design.estimate.volume == pytest.approx(density.mean(), abs=1e-3)
    equal = Problem(BULK.objective, equality=True)
    psi, flaw = finish.field_of(density, 0.9)
    design = finish.finish(density, equal, Limits(0.9), evaluate, steps=0)
    assert flaw == "" and design.estimate.volume == pytest.approx(0.9, abs=1e-3)


def test_targets_are_met_on_the_surface(evaluate):
    start = finish.finish(_grey(), BULK, Limits(0.4), evaluate, steps=0)
    goal = np.float32(start.estimate.constants * [0.97, 0.98, 0.96])
    problem = Problem(objectives.nearness, equality=True)
    limits = Limits(0.4, params=goal)
    design = finish.finish(_grey(), problem, limits, evaluate, printing=ANY)
    error = elasticity.range_error(design.estimate.constants, goal)
    assert design.value == pytest.approx(-error, abs=1e-9)
    assert error < 0.1 * -design.history[0][0]
    assert abs(design.estimate.volume - 0.4) < finish.VOLUME_SLACK
    with pytest.raises(ValueError, match="symmetry is orthotropic"):
        finish.finish(_grey(), problem, limits, evaluate, symmetry="orthotropic")


@pytest.mark.slow
def test_orthotropic_cells():
    evaluate = move.make_evaluate(N, symmetry="orthotropic")
    along_x = Problem(lambda _: lambda tensor: tensor[0, 0])
    options = {"symmetry": "orthotropic", "printing": ANY}
    density = _grey((0.8, 1.2, 1.0))
    start = finish.finish(density, along_x, Limits(0.4), evaluate, steps=0, **options)
    design = finish.finish(density, along_x, Limits(0.4), evaluate, steps=6, **options)
    assert not is_cubic(design.psi) and design.estimate.constants.shape == (9,)
    assert design.value == pytest.approx(design.estimate.constants[0], rel=1e-6)
    assert design.value > 1.02 * start.value
    tensor = constants_to_voigt(design.estimate.constants)
    found, *_ = accuracy.on_grid(design.psi, 2 * N, symmetry="orthotropic")
    np.testing.assert_allclose(found, tensor, atol=0.02)
