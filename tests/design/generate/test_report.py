"""The report of cells: tables, arrays and pictures as values; and written once."""

import json

import numpy as np
import pytest
from design_helpers import smooth_field
from field_helpers import estimate

from mmdiff import elasticity
from mmdiff.design.generate import report as reports
from mmdiff.design.generate.cell import make_cell
from mmdiff.fem import homogenize
from mmdiff.io.report import write
from mmdiff.targets import quantities
from mmdiff.targets.target import of_constants, parse

SETTINGS = {
    "void": homogenize.VOID,
    "tol": homogenize.TOL,
    "base_E": 10.0,
    "base_nu": elasticity.NU,
    "cell_size_mm": 12.0,
    "counts": {"sampled": 4},
}


def _cells(goal, count=2):
    every = [smooth_field(0.4, bump=0.1 * i) for i in range(count)]
    return [make_cell(psi, estimate(psi), goal) for psi in every]


def test_a_report_states_cells_settings_and_conventions():
    goal = parse("E=0.1,zener=1", volume=0.3)
    cells = _cells(goal)
    report = reports.report(goal, cells, SETTINGS)
    assert report.title == "mmdiff: cells for E 1, zener 1"
    assert report.cell_size_mm == 12.0 and report.settings["resolution"] == 128
    assert [entry.name for entry in report.cells] == ["cell_00", "cell_01"]
    np.testing.assert_array_equal(report.cells[1].voxels, cells[1].voxels)
    arrays = report.arrays["cells.npz"]
    np.testing.assert_array_equal(arrays["cells"][0], cells[0].voxels)
    np.testing.assert_allclose(arrays["constants"][1], 10 * cells[1].constants)
    (rows,) = report.rows.values()
    assert [row["file"] for row in rows] == ["cell_00.npy", "cell_01.npy"]
    assert not {"history", "C"} & set(rows[0])
    (table,) = report.tables.values()
    assert [row[""] for row in table] == ["asked", "cell 0", "cell 1"]
    assert {"error", "history", "cell", "voigt_order"} <= set(report.conventions)
    assert set(report.files) == {"spheres.png", "parity.png"}


def test_a_target_without_cells_has_a_report(tmp_path):
    report = reports.report(parse("E=0.1"), [], SETTINGS)
    assert not (report.cells or report.arrays or report.rows or report.files)
    assert write(tmp_path, report) == []
    assert json.loads((tmp_path / "properties.json").read_text())["cells"] == []


@pytest.mark.parametrize(
    ("text", "shown", "titles"),
    [
        ("E=0.1,zener=1", ["cell 0"], ["E / E base", "Zener ratio"]),
        ("E=0.1,zener=1,nu=0.2", ["asked", "cell 0"], ["C11 / E base"]),
    ],
)
def test_plots_show_what_is_asked(tmp_path, monkeypatch, text, shown, titles):
    drawn = {}
    for name in ("modulus_spheres", "parity"):
        monkeypatch.setattr(
            reports.plots,
            name,
            lambda *args, name=name, **rest: not drawn.update({name: (args, rest)}),
        )
    goal = parse(text, volume=0.3)
    cells = _cells(goal)
    report = reports.report(goal, cells, SETTINGS)
    for name in ("spheres.png", "parity.png"):
        report.files[name](tmp_path / name)
    (_, tensors, labels), _ = drawn["modulus_spheres"]
    assert labels == shown and np.isfinite(tensors).all()
    (_, asked, got), options = drawn["parity"]
    assert options["names"][: len(titles)] == titles
    assert options["names"][-1] == "volume fraction" and asked[-1] == 0.3
    # In units of the base material, as the axes say.
    names = [name for name, _ in goal.counted]
    expected = quantities.values(cells[0].constants, names)
    np.testing.assert_array_equal(got[0][:-1], expected)


def test_the_files_are_complete_closed_and_true_to_the_numbers(tmp_path):
    goal = of_constants((0.12, 0.02, 0.02))
    cells = _cells(goal)
    write(tmp_path, reports.report(goal, cells, SETTINGS))
    kinds = "npy stl 3mf glb vti png".split()
    names = [f"cell_{i:02d}.{k}" for i in (0, 1) for k in kinds]
    names += "cells.npz properties.json properties.csv sheet.png index.html".split()
    assert not [name for name in names if not (tmp_path / name).stat().st_size]
    values = json.loads((tmp_path / "properties.json").read_text())
    with np.load(tmp_path / "cells.npz") as data:
        assert data["void"] == homogenize.VOID
        np.testing.assert_allclose(data["constants"][0], 10 * cells[0].constants)
        np.testing.assert_allclose(data["psi"][1], cells[1].psi, atol=1e-6)
    for line, cell in zip(values["cells"], cells, strict=True):
        voxels = np.load(tmp_path / line["file"])
        assert voxels.dtype == np.uint8 and voxels.shape == (128,) * 3
        assert abs(voxels.mean() - line["volume"]) < 5e-3
        _check_surface(tmp_path / line["file"].replace("npy", "stl"), cell)


def _check_surface(path, cell):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.load(path)
    assert mesh.is_watertight and mesh.is_winding_consistent
    np.testing.assert_allclose(mesh.volume, cell.volume * 12.0**3, rtol=2e-3)
    np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), 12.0, rtol=1e-5)
