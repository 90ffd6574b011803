"""The report of an optimization: its values, and the files of one."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from mmdiff import bounds
from mmdiff.design.optimize import goal, properties, report
from mmdiff.design.optimize.ranking import Entry
from mmdiff.io import plots
from mmdiff.io.cell_files import KINDS
from mmdiff.io.report import write
from mmdiff.targets.target import of_constants
from mmdiff.topopt.optimize import COLUMNS

SETTINGS = {
    "base_E": 200.0, "base_nu": 0.3, "void": 1e-6, "tol": 1e-5, "resolution": 16,
    "symmetry": "cubic", "cell_size_mm": 8.0, "recheck": False,
    "settings": {"vf": 0.4},
}  # fmt: skip
BULK = goal.choose("bulk")


@pytest.fixture(scope="module")
def results(entries):
    first = entries[1].outcome
    lattices = {"sc": (first.psi, first.constants, first.uncertainty)}
    return properties.collect(entries, 2, lattices, BULK, SETTINGS)


@pytest.fixture(scope="module")
def found(results):
    return report.report(results, ["a remark"])


@pytest.fixture(scope="module")
def bound(results):
    return bounds.hashin_shtrikman(results.chosen[0].volume)[0]


def test_the_cells_are_in_units_of_the_base_material(found, bound):
    best, *others = found.values["cells"]
    assert best["file"] == "cell_00.npy" and [c["start"] for c in others] == [2]
    np.testing.assert_allclose(best["C11"], 200 * 0.3)
    np.testing.assert_allclose(np.array(best["C"])[3, 3], 200 * 0.09)
    np.testing.assert_allclose(np.array(best["uncertainty"])[0, 0], 2 * 0.3)
    assert np.array(best["C_voxels"])[0, 0] > 1  # in MPa, too
    np.testing.assert_allclose(best["value"], 200 * 0.2)
    np.testing.assert_allclose(best["value_before_refinement"], 200 * 0.18)
    np.testing.assert_allclose(best["E/E_solid"], 0.25)
    np.testing.assert_allclose(best["K/K_HS before refinement"], 0.18 / bound)
    assert best["refinement_steps"] == 1 and best["solves"] == 2
    assert best["converged"] is True
    np.testing.assert_allclose(found.values["plates"]["sc"]["K"], 200 * 0.5 / 3)


def test_every_start_is_reported_with_its_flaws(found):
    starts = found.values["starts"]
    flaws = {(s["start"], s["K/K_HS"] is None): s["flaws"] for s in starts}
    assert len(starts) == 5
    assert flaws[0, True] == ["nothing left"] and flaws[1, False] == ["too heavy"]
    assert "too heavy" in [row["flaws"] for row in found.tables["Starts"]]


def test_the_summary_names_the_best(found, results, bound):
    assert found.values["summary"] == (
        f"best: cell_00, start 3, K/K_HS {0.5 / 3 / bound:.3f} at V "
        f"{results.chosen[0].volume:.3f}, Zener 0.90; refined from {0.18 / bound:.3f}."
    )
    assert found.notes == [found.values["summary"], "a remark"]
    assert found.values["remarks"] == ["a remark"]


def test_the_table_has_the_cells_and_the_plates(found):
    rows = next(iter(found.tables.values()))
    names = [row[""] for row in rows]
    assert names == ["cell 00", "cell 01", "plates: sc"]


def test_history_has_a_line_per_step(entries, tmp_path):
    report.write_history(tmp_path, entries, BULK, 200.0, 0.3)
    with (tmp_path / "history.csv").open(newline="") as file:
        first, *rows = csv.DictReader(file)
    assert list(first) == ["start", "step", *COLUMNS]
    assert len(rows) == 5 * 3 - 1
    assert [first[name] for name in ("start", "step")] == ["0", "1"]
    # Stiffness in units of the base material, all else as it is.
    np.testing.assert_allclose(
        [float(first[name]) for name in ("value", "C11", "volume", "beta")],
        [20, 20, 0.1, 0.1],
        rtol=1e-6,  # float32
    )


def test_starts_without_design_steps_have_no_history(entries, outcome, tmp_path):
    known = Entry("", 7, "dataset 3", outcome(0.4, steps=0))
    report.write_history(tmp_path / "none", [known], BULK, 1.0, 0.3)
    assert not (tmp_path / "none").exists()
    report.write_history(tmp_path, [known, *entries], BULK, 1.0, 0.3)
    with (tmp_path / "history.csv").open(newline="") as file:
        assert {row["start"] for row in csv.DictReader(file)} == set("01234")
    assert (tmp_path / "history.png").stat().st_size


def test_a_known_cell_is_shown_before_and_after(outcome, monkeypatch):
    best = Entry("", 0, "dataset 3", outcome(steps=0))
    results = properties.collect([best], 1, {}, BULK, SETTINGS)
    found = report.report(results)
    (cell,) = found.values["cells"]
    assert cell["design_steps"] == 0 and cell["start_kind"] == "dataset 3"
    drawn = []
    monkeypatch.setattr(plots, "contact_sheet", lambda *args: drawn.append(args))
    for name in ("frames.png", "before_after.png"):
        found.files[name](name)
    (_, frames, captions), (_, ends, labels) = drawn
    assert len(frames) == len(ends) == 2
    assert captions[0] == "start" and captions[1].startswith("surface: K/K_HS")
    assert labels[0] == "start 0" and labels[1] == captions[1]
    # The share of the density that the start has is shown as solid.
    assert (np.asarray(frames[0]) != np.asarray(frames[1])).any()


def test_finer_grids_are_in_the_page_and_no_column(results, monkeypatch):
    known = [dict(numbers) for numbers in results.numbers]
    known[0]["on_finer_grids"] = {**known[0], "K/K_HS": 0.5}
    checked = dataclasses.replace(results, numbers=known)
    found = report.report(checked)
    rows = next(iter(found.tables.values()))
    assert [row[""] for row in rows][:2] == ["cell 00", "cell 00 at 256^3"]
    assert rows[1]["K/K_HS"] == "0.5000"
    finer = found.values["cells"][0]["on_finer_grids"]
    assert finer["C11"] == pytest.approx(200 * 0.3)
    assert all("on_finer_grids" not in row for row in found.rows["properties.csv"])


def test_every_file_is_written(found, results, tmp_path):
    assert write(tmp_path, found) == []
    names = [f"{entry.name}.{kind}" for entry in results.chosen for kind in KINDS]
    names += "density.npz cells.npz properties.csv index.html properties.json".split()
    names += ["frames.png", "before_after.png", "bounds.png", "spheres.png"]
    assert not [name for name in names if not (tmp_path / name).stat().st_size]
    best = results.chosen[0].outcome
    with np.load(tmp_path / "density.npz") as data:
        np.testing.assert_array_equal(data["psi"], best.psi)
        np.testing.assert_array_equal(data["cell"], np.load(tmp_path / "cell_00.npy"))
        np.testing.assert_allclose(data["constants"], 200 * best.constants)
        assert data["base_E"] == 200 and data["volume"] == results.chosen[0].volume
        assert json.loads(str(data["settings"])) == SETTINGS["settings"]
        assert "engineering shear" in str(data["conventions"])
    with np.load(tmp_path / "cells.npz") as data:
        assert data["cells"].shape == (2, 16, 16, 16) and data["void"] == 1e-6
        np.testing.assert_array_equal(data["psi"][0], best.psi)
        np.testing.assert_allclose(data["uncertainty"], 0.01 * data["constants"])
        written = np.load(tmp_path / "cell_01.npy")
        np.testing.assert_array_equal(data["cells"][1], written)


def test_a_target_is_drawn_beside_the_cells(entries, monkeypatch):
    asked = goal.choose("target", of_constants((0.4, 0.1, 0.09), 0.4))
    results = properties.collect(entries, 1, {}, asked, SETTINGS)
    drawn = []
    monkeypatch.setattr(plots, "modulus_spheres", lambda *args: drawn.append(args))
    report.report(results).files["spheres.png"]("spheres.png")
    ((_, tensors, labels),) = drawn
    assert labels == ["asked", "cell 00"] and tensors[0, 0, 0] == 0.4
