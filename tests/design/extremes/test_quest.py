"""Quests: what they ask, which cells are at the edge, and who wins."""

import dataclasses

import numpy as np
import pytest
from design_helpers import dataset_of_voxels, frame, wave

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import edges, report
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Shape
from mmdiff.errors import InputError
from mmdiff.topopt.problem import constraints

ANY = Printing(0.0, 0.0, drainable=False)


def _quest(name, volume=0.4, printing=ANY):
    options = {"isotropy": 0.05, "floor": 0.01, "printing": printing}
    return extreme.make_quest(name, volume, **options)


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


def test_edge_cells_drain_where_it_is_asked():
    quest = _quest("young", printing=Printing(0.0, 0.0))
    octants = np.stack([_octant(seed=i) for i in range(3)])
    constants = np.stack([_isotropic(share) for share in (0.95, 0.9, 0.85)])
    data = dataset_of_voxels(octants, constants, np.full(3, 0.4))
    options = {"count": 3, "band": 0.05, "isotropy": 0.1, "alike": 1.0}
    data.info["records"][0]["trapped"] = 0.2
    assert edges.edge_rows(quest, data, **options) == [1, 2]
    assert edges.edge_rows(_quest("young"), data, **options) == [0, 1, 2]
    for record in data.info["records"]:
        record["trapped"] = 0.2
    with pytest.raises(InputError, match="near the quest 'young_open_0' at volume"):
        edges.edge_rows(quest, data, **options)


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
        Extreme(quest.name, kind, 0, "", shape, shape, steps=1)
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
        Extreme(quest.name, "plates", 0, "sc", skewed),
        Extreme(quest.name, "plates", 1, "mixture", one),
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


def test_a_cell_must_print_as_asked():
    psi = _field()
    shape = Shape(psi, _isotropic(0.9, surface.volume(psi)))
    wall = shape.printability.wall
    for width, flaws in ((0.9 * wall, ()), (1.1 * wall, ("thin walls",))):
        quest = _quest("young", 0.5, Printing(width, 0.0, drainable=False))
        assert extreme.flaws(quest, shape) == flaws
    closed = surface.from_voxels(np.where(frame(8, 2) > 0, 1, 0))
    box = Shape(closed, _isotropic(0.9, surface.volume(closed)))
    volume = box.volume
    assert not extreme.flaws(_quest("young", volume), box)
    quest = _quest("young", volume, Printing(0.0, 0.0))
    assert extreme.flaws(quest, box) == ("trapped void",)


def test_names_tell_what_a_printer_asks():
    said = {
        Printing(0.03, 0.03): ("bulk_open_3", "open, walls 3 %"),
        Printing(0.025, 0.025): ("bulk_open_2_5", "open, walls 2.5 %"),
        ANY: ("bulk_closed_0", "closed, any walls"),
    }
    for printing, (name, terms) in said.items():
        quest = _quest("bulk", printing=printing)
        assert (quest.name, quest.terms) == (name, terms)
        assert quest.void == terms.partition(",")[0]
        record = _record(quest, "random", 7, 0.9)
        assert record.name == f"{name}_random_07"


def test_a_quest_covers_those_that_ask_for_less():
    strict, thick, drained, free = (
        _quest("bulk", printing=Printing(*asked))
        for asked in ((0.03, 0.03, True), (0.03, 0.03, False), (0, 0, True), ANY)
    )
    assert strict.covers(strict)
    assert all(strict.covers(other) for other in (thick, drained, free))
    assert thick.covers(free) and drained.covers(free)
    assert not thick.covers(drained) and not drained.covers(thick)
    assert not any(free.covers(other) for other in (strict, thick, drained))
    gapless = _quest("bulk", printing=Printing(0.03, 0.0, True))
    assert not gapless.covers(strict) and strict.covers(gapless)


@pytest.mark.parametrize("aim", ["young", "poisson"])
def test_a_stricter_cell_counts_for_a_looser_quest(aim):
    printings = (Printing(), Printing(drainable=False), Printing(0.0, 0.0), ANY)
    strict, thick, drained, free = quests = [
        _quest(aim, printing=printing) for printing in printings
    ]
    other = _quest("shear")

    def record(quest, kind, score):
        psi = _field()
        constants = _isotropic(score, surface.volume(psi))
        if aim == "poisson":
            constants = elasticity.from_e_nu_zener(0.02, 1 - 2 * score, 0.2)
        shape = Shape(psi, constants)
        return Extreme(quest.name, kind, 0, "", shape, shape)

    records = [
        record(strict, "edge", 0.8),
        record(thick, "random", 0.7),
        record(free, "plates", 0.9),
        record(other, "plates", 0.95),
    ]
    row, _ = report.limits_table([*quests, other], records)
    values = [0.8, 0.9] if aim == "young" else [-0.6, -0.8]
    best, top = (f"{v:.4f}" for v in values)
    assert row == {
        "": f"{aim}, V 0.4, {'E/E_HS' if aim == 'young' else 'nu'}",
        "open, walls 3 %": f"{best} (edge)",
        "closed, walls 3 %": f"{best} (edge)",
        "open, any walls": f"{best} (edge)",
        "closed, any walls": f"{top} (plates)",
    }
    (row,) = report.limits_table([strict, thick], records[1:2])
    assert row["open, walls 3 %"] is None
    assert row["closed, walls 3 %"].endswith("(random)")


def test_the_table_shows_the_best_on_finer_grids():
    quest = _quest("young")
    good, best = (_record(quest, "random", i, s) for i, s in enumerate((0.8, 0.9)))
    edge = _record(quest, "edge", 0, 0.7)
    finer = Shape(best.after.psi, _isotropic(0.88, best.after.volume))
    best = dataclasses.replace(best, checked=finer)
    for records, value in (([edge, good, best], 0.88), ([edge, good], None)):
        known = report.properties_of(quest, records)
        assert known["best_on_finer_grids"] == (value and pytest.approx(value))
        (row,) = report.table([quest], records)
        shown = dict(zip(report.HEADER, row, strict=True))
        assert shown["best at 256^3"] == (value and f"{value:.4f}")
        assert shown["random"] == ("0.9000" if value else "0.8000")
        assert shown["edge"] == "0.7000"
        assert shown["void, walls"] == "closed, any walls"


@pytest.mark.parametrize("text", ["strong", "bulk,", "bulk,nu"])
def test_unknown_quests_are_named(text):
    unknown = text.split(",")[-1]
    with pytest.raises(InputError, match=f"quests='{text}' holds '{unknown}'. Use"):
        extreme.parse(text, extreme.WEIGHTS, "quests")


def test_lists_hold_each_name_once():
    found = extreme.parse("bulk, poisson,bulk", extreme.WEIGHTS, "quests")
    assert found == ("bulk", "poisson")
    assert extreme.parse("closed", extreme.VOIDS, "voids") == ("closed",)
    with pytest.raises(InputError, match="Use some of open, closed, such as `voids=o"):
        extreme.parse("ajar", extreme.VOIDS, "voids")


def test_a_floor_above_the_voigt_limit_is_refused():
    with pytest.raises(InputError, match=r"min_young=0.5 is not below 0.4, the Voigt"):
        extreme.make_quest("young", 0.4, isotropy=0.05, floor=0.5)
