"""Quests: what they ask, which cells are at the edge, and who wins."""

import numpy as np
import pytest
from design_helpers import dataset_of_voxels, wave

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import edges, report
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Shape
from mmdiff.errors import InputError
from mmdiff.topopt.problem import constraints


def _quest(name, volume=0.4):
    return extreme.make_quest(name, volume, isotropy=0.05, floor=0.01)


def _octant(volume=0.4, seed=0):
    """A connected frame with a pattern of its own inside."""
    noise = np.random.default_rng(seed).normal(size=(8, 8, 8))
    inner = np.sort(np.indices((8, 8, 8)), axis=0)  # the same for permuted axes
    return threshold_to_volume(wave() + 0.3 * seed * noise[tuple(inner)], volume)


def _field(volume=0.4, seed=0):
    return surface.from_voxels(_octant(volume, seed))


def _isotropic(share, volume=0.4):
    """Constants of an isotropic cell of nu 0.3 with a share of E's bound."""
    return elasticity.isotropic(share * bounds.hashin_shtrikman(volume)[2])


def _record(quest, kind, number, share, flaws=()):
    psi = _field(0.4)
    shape = Shape(psi, _isotropic(share, surface.volume(psi)))
    return Extreme(quest.name, kind, number, "", shape, shape, flaws, steps=1)


def test_the_constraints_of_a_quest_are_those_asked():
    stiff = elasticity.cubic_to_voigt(_isotropic(0.9).astype(np.float32))
    skewed = elasticity.cubic_to_voigt(np.array([0.2, 0.08, 0.12], np.float32))
    for name in extreme.WEIGHTS:
        quest = _quest(name)
        g = np.asarray(constraints(extreme.PROBLEM, quest.limits, stiff, 0.4))
        assert (g <= 1e-6).all() and quest.is_isotropic == (name != "poisson")
        g = np.asarray(constraints(extreme.PROBLEM, quest.limits, skewed, 0.4))
        assert (g.max() > 0.1) == quest.is_isotropic
    soft = elasticity.cubic_to_voigt(np.array([5e-3, 1e-3, 2e-3], np.float32))
    g = np.asarray(constraints(extreme.PROBLEM, _quest("poisson").limits, soft, 0.4))
    assert g.max() > 0.1


@pytest.mark.parametrize("name", extreme.WEIGHTS)
def test_the_objective_is_what_the_score_follows_from(name):
    quest = _quest(name)
    constants = np.array([0.2, 0.07, 0.066])
    shape = Shape(_field(), constants)
    objective = extreme.PROBLEM.objective(quest.limits.params)
    tensor = elasticity.cubic_to_voigt(constants.astype(np.float32))
    maximized = float(objective(tensor))
    assert quest.merit(extreme.objective(quest, shape)) == pytest.approx(
        maximized, rel=1e-5
    )
    score = quest.goal.score(maximized, shape.volume)
    assert extreme.score(quest, shape) == pytest.approx(score, rel=1e-5)  # float32
    # More is better in every quest.
    stiffer = Shape(shape.psi, constants * 1.1)
    assert (
        quest.merit(extreme.score(quest, stiffer))
        >= quest.merit(extreme.score(quest, shape)) - 1e-12
    )


def test_edge_cells_are_the_best_near_ones_and_differ():
    quest = _quest("young")
    octants = np.stack([_octant(seed=i) for i in (0, 0, 1, 2, 3, 4)])
    shares = [0.95, 0.94, 0.90, 0.99, 0.98, 0.85]
    constants = np.stack([_isotropic(share) for share in shares])
    constants[4] *= [1, 1, 1.5]  # not isotropic
    volume = np.array([0.4, 0.4, 0.42, 0.5, 0.4, 0.38])  # the fourth is far off
    options = {"band": 0.05, "isotropy": 0.1, "alike": 0.95}
    data = dataset_of_voxels(octants, constants, volume)
    rows = edges.edge_rows(quest, data, count=3, **options)
    # Shares of the bound at their own volumes; the second is a copy of the first.
    assert rows[0] == 0 and set(rows) == {0, 2, 5}
    assert edges.edge_rows(quest, data, count=1, **options) == [0]
    with pytest.raises(InputError, match="no cell of the dataset is near the quest"):
        edges.edge_rows(_quest("young", 0.9), data, count=1, **options)


def test_edge_cells_of_poisson_keep_the_floor():
    octants = np.stack([_octant(seed=i) for i in range(3)])
    nu = np.array([-0.8, -0.5, 0.2])
    young = np.array([0.005, 0.02, 0.1])
    constants = elasticity.from_e_nu_zener(young, nu, np.full(3, 0.2))
    data = dataset_of_voxels(octants, constants, np.full(3, 0.4))
    options = {"count": 3, "band": 0.05, "isotropy": 0.1, "alike": 1.0}
    rows = edges.edge_rows(_quest("poisson"), data, **options)
    assert rows == [1, 2]


def test_medians_count_failures_as_the_worst():
    quest = _quest("young")
    good = [_record(quest, "generated", i, s) for i, s in enumerate((0.9, 0.8, 0.7))]
    assert extreme.median(quest, good, "generated") == pytest.approx(0.8)
    failed = [_record(quest, "generated", 3 + i, 0.99, ("flaw",)) for i in range(2)]
    assert extreme.median(quest, good + failed, "generated") == pytest.approx(0.7)
    assert extreme.median(quest, good + 2 * failed, "generated") is None
    assert extreme.median(quest, good, "random") is None
    assert extreme.best(quest, good + failed, "generated") is good[0]
    assert extreme.best(quest, failed) is None


def test_the_verdict_says_who_wins():
    quest = _quest("young")
    high, low = _record(quest, "generated", 0, 0.9), _record(quest, "random", 0, 0.8)
    assert extreme.generated_win(quest, [high, low])
    said = report.verdict(quest, [high, low])
    assert "better than random ones (median E/E_HS 0.900 against 0.800)" in said
    lost = [_record(quest, "generated", 0, 0.7), low]
    assert extreme.generated_win(quest, lost) is False
    assert "no better than random ones" in report.verdict(quest, lost)
    assert extreme.generated_win(quest, [high])  # no random start became a cell
    assert extreme.generated_win(quest, []) is None
    assert "most starts failed" in report.verdict(quest, [])


def test_less_is_better_for_poissons_ratio():
    quest = _quest("poisson")
    psi = _field()
    records = [
        Extreme("poisson", kind, 0, "", shape, shape, steps=1)
        for kind, nu in (("generated", -0.7), ("random", -0.5))
        for shape in [Shape(psi, elasticity.from_e_nu_zener(0.02, nu, 0.2))]
    ]
    assert extreme.generated_win(quest, records)
    assert extreme.best(quest, records).kind == "generated"
    assert extreme.median(quest, records, "generated") == pytest.approx(-0.7)


def test_textbook_lattices_must_have_what_is_asked():
    psi = _field()
    quest = _quest("young", surface.volume(psi))
    one = Shape(psi, _isotropic(0.9))
    skewed = Shape(psi, _isotropic(0.99) * [1, 1, 1.3])
    records = [
        Extreme("young", "plates", 0, "sc", skewed),
        Extreme("young", "plates", 1, "mixture", one),
    ]
    assert extreme.textbook(quest, records) is records[1]
    assert extreme.textbook(quest, records[:1]) is None


def test_what_cannot_be_solved_is_no_good_cell():
    quest = _quest("bulk", 0.5)
    psi = _field(0.4)
    assert not extreme.flaws(quest, Shape(psi, _isotropic(0.9)))
    unsolved = Shape(psi, np.full(3, np.nan))
    assert extreme.flaws(quest, unsolved) == ("finite elements did not converge",)
    (said,) = extreme.flaws(quest, Shape(0 * psi - 1, np.full(3, np.nan)))
    assert "bears load" in said


@pytest.mark.parametrize("text", ["strong", "bulk,", "bulk,nu"])
def test_unknown_quests_are_named(text):
    with pytest.raises(InputError, match="is unknown. Use some of poisson, shear"):
        extreme.parse(text)


def test_quests_are_a_list():
    assert extreme.parse("bulk, poisson,bulk") == ("bulk", "poisson")


def test_a_floor_above_the_voigt_limit_is_refused():
    with pytest.raises(InputError, match=r"min_young=0.5 is not below 0.4, the Voigt"):
        extreme.make_quest("young", 0.4, isotropy=0.05, floor=0.5)
