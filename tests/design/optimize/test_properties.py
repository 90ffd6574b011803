"""Properties of optimized cells: numbers, remarks, summary."""

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.printable import printability
from mmdiff.design.optimize import goal, properties
from mmdiff.design.optimize.ranking import Entry
from mmdiff.fem import accuracy
from mmdiff.fem.accuracy import Estimate
from mmdiff.fem.homogenize import homogenize

CONSTANTS = np.array([0.30, 0.10, 0.09])
SETTINGS = {
    "base_E": 1.0, "base_nu": 0.3, "cell_size_mm": 8.0, "void": 1e-6, "tol": 1e-5,
    "symmetry": "cubic", "resolution": 16, "recheck": False,
}  # fmt: skip
ANY = Printing(0.0, 0.0, drainable=False)
BULK = goal.choose("bulk")


def _results(entry, **changed):
    return properties.collect([entry], 1, {}, BULK, SETTINGS | changed)


def test_numbers_of_a_cell(outcome):
    psi, doubt = outcome().psi, outcome().uncertainty
    found = properties.numbers(psi, CONSTANTS, doubt, size_mm=8.0)
    moduli, volume = elasticity.moduli(CONSTANTS), surface.volume(psi)
    for name in ("K", "G", "E", "nu"):
        np.testing.assert_allclose(found[name], moduli[name], rtol=1e-12)
    np.testing.assert_allclose(found["Zener"], 0.9, rtol=1e-12)
    assert found["E/E_solid"] == found["E"]
    bound = bounds.hashin_shtrikman(volume)[0]
    np.testing.assert_allclose(found["K/K_HS"], moduli["K"] / bound, rtol=1e-12)
    assert found["volume"] == volume and found["cubic_distance"] < 1e-12
    np.testing.assert_allclose(found["uncertainty_percent"], 1.0)
    np.testing.assert_allclose(np.array(found["uncertainty"])[3, 3], 0.01 * 0.09)
    printed = printability(psi)
    assert found["printability"]["pieces"] == printed.pieces == 1
    # Closed cells of plates about two samples thick, of 16 that make 8 mm.
    assert found["wall_mm"] == 8 * printed.wall and 0.7 < found["wall_mm"] < 1.3
    assert found["gap_mm"] == 8 * printed.gap and found["trapped_percent"] == 100


def test_voxels_as_written_are_measured_beside(outcome):
    (found,) = _results(Entry("", 0, "random", outcome())).numbers
    octant = surface.voxels(outcome().psi, 8)
    tensor, _ = homogenize(octant.astype(np.float32))
    np.testing.assert_allclose(found["C_voxels"], tensor, atol=1e-5)  # float32 sums


def test_the_best_cell_alone_is_checked_on_finer_grids(outcome, monkeypatch):
    asked = []

    def check(psi, **options):
        asked.append((psi, options))
        constants = 0.9 * CONSTANTS
        known = 0.5, 1e-6, True
        return Estimate(constants, 0.002 * constants, constants, constants, *known)

    monkeypatch.setattr(accuracy, "check", check)
    entries = [Entry("", i, "random", outcome(0.3 - 0.1 * i)) for i in range(2)]
    settings = SETTINGS | {"recheck": True, "void": 1e-4}
    results = properties.collect(entries, 2, {}, BULK, settings)
    best, other = results.numbers
    assert "on_finer_grids" not in other
    finer = best["on_finer_grids"]
    ((psi, options),) = asked
    assert psi is entries[0].outcome.psi
    assert options == {"nu": 0.3, "void": 1e-4, "tol": 1e-5, "symmetry": "cubic"}
    assert finer["K"] == pytest.approx(0.9 * best["K"])
    assert finer["uncertainty_percent"] == pytest.approx(0.2)
    assert finer["volume"] == best["volume"] and finer["wall_mm"] == best["wall_mm"]
    rows = properties.table(results)
    assert [row[0] for row in rows] == ["cell 00", "cell 00 at 256^3", "cell 01"]
    at = properties.HEADER.index("E/E_solid")
    assert float(rows[1][at]) == pytest.approx(0.9 * float(rows[0][at]), rel=1e-3)
    # All that is a stiffness is in units of the base material.
    scaled = properties.in_units(best, 200.0)
    for known, plain in ((scaled, best), (scaled["on_finer_grids"], finer)):
        np.testing.assert_allclose(known["C"], 200 * np.array(plain["C"]))
        assert known["E"] == 200 * plain["E"]
        assert known["E/E_solid"] == plain["E/E_solid"]


def test_a_cell_without_design_steps_has_its_surface_alone(outcome):
    entry = Entry("cell_00", 0, "dataset 7", outcome(steps=0))
    (found,) = _results(entry).numbers
    known = properties.of_cell(entry, found, BULK, SETTINGS)
    assert known["design_steps"] == 0 and known["refinement_steps"] == 1
    assert known["start_kind"] == "dataset 7"
    row = properties.of_start(entry, BULK, 0.3)
    assert row["design_steps"] == 0 and row["value_of_the_grey_design"] is None
    assert row["K/K_HS"] == pytest.approx(BULK.score(0.2, entry.volume))
    said = properties.summary(entry, known, BULK)
    assert said.startswith("best: cell_00, start 0, K/K_HS")


def test_an_orthotropic_cell_has_the_moduli_of_its_closest_cubic_tensor(outcome):
    nine = np.array([0.2, 0.3, 0.4, 0.1, 0.11, 0.12, 0.05, 0.06, 0.07])
    entry = Entry("", 0, "random", outcome(constants=nine))
    results = _results(entry, symmetry="orthotropic")
    (found,) = results.numbers
    np.testing.assert_allclose(
        [found[name] for name in elasticity.NAMES], [0.3, 0.11, 0.06], rtol=1e-12
    )
    tensor = np.array(found["C"])
    assert tensor[1, 1] == 0.3 and tensor[1, 2] == 0.1 and tensor[3, 3] == 0.05
    assert found["cubic_distance"] == elasticity.cubic_distance(tensor) > 0.1
    (remark,) = properties.remarks(results, ANY)
    assert "% away from cubic" in remark and "closest cubic tensor" in remark


def test_thin_walls_are_remarked_with_their_size(outcome):
    results = _results(Entry("", 0, "random", outcome()))
    results.numbers[0].update(wall_mm=0.5, gap_mm=0.9, trapped_percent=100.0)
    assert properties.remarks(results, Printing(0.6 / 8, 1.0 / 8)) == [
        "cell_00: thinnest wall is 0.5 mm at cell size 8 mm; below the 0.6 mm limit "
        "set by `min_wall_mm`.",
        "cell_00: narrowest gap is 0.9 mm at cell size 8 mm; below the 1 mm limit "
        "set by `min_gap_mm`.",
        "cell_00: 100 % of its void is closed in, and `drainable` asks for none.",
    ]
    assert not properties.remarks(results, ANY)


@pytest.mark.parametrize(
    ("violation", "end"),
    [(0.0, "refined from 0.950."), (0.031, "0.950, with a constraint off by 3.1 %.")],
)
def test_a_repaired_constraint_is_in_the_summary(outcome, violation, end):
    refined = outcome()
    refined.refinement[0, 1] = violation
    entry = Entry("cell_00", 0, "random", refined)
    known = {"K/K_HS": 0.9, "K/K_HS before refinement": 0.95, "Zener": 1.0}
    assert properties.summary(entry, known, BULK).endswith(end)
