"""Grey designs become binary cells of the asked volume, and better ones by flips."""

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.cells import connectivity, symmetry
from mmdiff.topopt import binary, interface, objectives
from mmdiff.topopt.problem import Limits, Problem

N = 16
BULK = Problem(lambda _: objectives.bulk)
ISOTROPIC = Problem(lambda _: objectives.shear, isotropic=True)


def _field(n=N, tilt=(1.0, 1.0, 1.0)):
    line = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    x, y, z = (a * t for a, t in zip(np.ix_(line, line, line), tilt, strict=True))
    return 0.5 + (x + y + z) / 7


@pytest.fixture(scope="module")
def evaluate():
    return interface.make_evaluate(N)


def test_binarize_meets_the_volume_without_loose_pieces():
    density = _field()
    # Islands in the void that come into the volume and have to go out again.
    density[12:15, 12:15, 12:15] = 0.95
    octant, pieces = binary.binarize(density, 0.3)
    assert pieces > 1 and connectivity.is_load_bearing(octant)
    # To the size of an orbit of six voxels and the tolerance of the retries.
    assert octant.mean() == pytest.approx(0.3, abs=1e-3 + 6 / N**3)
    assert not octant[13, 13, 13]


def test_nothing_is_made_of_islands(evaluate):
    density = np.zeros((N, N, N))
    density[6:9, 6:9, 6:9] = 1
    design = binary.finish(density, BULK, Limits(0.005), evaluate)
    assert design.evaluation is None and not design.octant.any()
    assert design.value == -np.inf and design.violation == np.inf


@pytest.mark.slow
def test_refinement_raises_the_objective_at_the_same_volume(evaluate):
    design = binary.finish(_field(), BULK, Limits(0.35), evaluate, steps=8)
    before, after = design.history[0], design.history[-1]
    assert 1 < len(design.history) <= 9
    values = [value for value, _, _ in design.history]
    assert values == sorted(values) and after[0] > 1.01 * before[0]
    assert abs(after[2] - 0.35) < 0.35 * binary.SLACK + 6 / N**3
    # What is returned is what finite elements say of the octant that is returned.
    again = evaluate(design.octant)
    np.testing.assert_array_equal(again.constants, design.evaluation.constants)
    assert design.value == pytest.approx(elasticity.moduli(again.constants)["K"])
    assert symmetry.is_cubic(design.octant)
    assert connectivity.is_load_bearing(design.octant)


@pytest.mark.slow
def test_refinement_mends_constraints_first(evaluate):
    octant, _ = binary.binarize(_field(), 0.4)
    limits = Limits(0.4, band=0.05)
    design = binary.refine(octant, ISOTROPIC, limits, evaluate, steps=20)
    before, after = design.history[0], design.history[-1]
    assert before[1] > 0.1 and after[1] < before[1] / 3
    zener = elasticity.moduli(design.evaluation.constants)["zener"]
    off = abs(design.octant.mean() / 0.4 - 1)
    want = max(off, abs(np.log(zener)) - np.log(1.05))
    assert after[1] == pytest.approx(want, abs=1e-5)
    # Once it is met it stays so.
    met = [violation <= binary.SLACK for _, violation, _ in design.history]
    assert met == sorted(met)


def test_no_steps_leave_the_cell(evaluate):
    design = binary.finish(_field(), BULK, Limits(0.35), evaluate, steps=0)
    octant, _ = binary.binarize(_field(), 0.35)
    np.testing.assert_array_equal(design.octant, octant)
    assert len(design.history) == 1


def test_a_bound_on_the_volume_is_not_filled_up(evaluate):
    density = np.where(_field() > 0.62, 1.0, 0.0)
    share = density.mean()
    design = binary.finish(density, BULK, Limits(0.9), evaluate, steps=0)
    assert design.octant.mean() == pytest.approx(share, abs=1e-6)
    equal = Problem(BULK.objective, equality=True)
    design = binary.finish(density, equal, Limits(0.9), evaluate, steps=0)
    assert design.octant.mean() == pytest.approx(0.9, abs=2e-3)


def test_targets_are_approached_from_all_constants(evaluate):
    octant, _ = binary.binarize(_field(), 0.4)
    start = evaluate(octant).constants
    goal = np.float32(start * [0.9, 0.95, 0.85])
    problem = Problem(objectives.nearness, equality=True)
    design = binary.finish(_field(), problem, Limits(0.4, params=goal), evaluate)
    error = elasticity.range_error(design.evaluation.constants, goal)
    assert design.value == pytest.approx(-error, abs=1e-7)
    assert -design.value < 0.4 * -design.history[0][0]
    # A slack of 0.01, and what goes beyond it counts as error.
    assert abs(design.octant.mean() - 0.4) < 0.012
    with pytest.raises(ValueError, match="symmetry is orthotropic"):
        binary.approach(octant, problem, Limits(0.4, params=goal), evaluate,
                        symmetry="orthotropic")  # fmt: skip


@pytest.mark.slow
def test_orthotropic_cells():
    n = 8
    evaluate = interface.make_evaluate(n, symmetry="orthotropic")
    along_x = Problem(lambda _: lambda tensor: tensor[0, 0])
    density = _field(n, (0.8, 1.2, 1.0))
    design = binary.finish(
        density, along_x, Limits(0.4), evaluate, symmetry="orthotropic", steps=6
    )
    assert not symmetry.is_cubic(design.octant)
    assert design.evaluation.constants.shape == (9,)
    assert design.value == pytest.approx(design.evaluation.constants[0], rel=1e-6)
    assert design.value > design.history[0][0]
    tensor = interface.to_tensor(design.evaluation.constants)
    np.testing.assert_array_equal(tensor, tensor.T)
    got = elasticity.voigt_to_orthotropic(tensor)
    np.testing.assert_array_equal(got, design.evaluation.constants)


def test_doubled_starts_keep_the_cell():
    octant, _ = binary.binarize(_field(), 0.4)
    fine = binary.doubled(octant)
    assert fine.shape == (2 * N,) * 3 and fine.dtype == np.float32
    assert 0.05 <= fine.min() and fine.max() <= 0.95
    assert symmetry.is_cubic(fine)
    again, _ = binary.binarize(fine, 0.4)
    # Corners are rounded, the rest is the same solid.
    assert np.mean(again != octant.repeat(2, 0).repeat(2, 1).repeat(2, 2)) < 0.03
