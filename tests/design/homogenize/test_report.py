"""The report of one cell: its parts agree with the tensor, and are written."""

import json

import numpy as np
import pytest
from homogenize_helpers import rods, schwarz, summary
from homogenize_helpers import solution as unsolved

from mmdiff import elasticity
from mmdiff.cells import prepare
from mmdiff.design.homogenize import characterize, properties, report, solution
from mmdiff.design.homogenize.geometry import Geometry
from mmdiff.io import report as reports
from mmdiff.io.read_vti import read_vti


def test_tensor_text_has_no_rounding_noise_and_keeps_soft_directions():
    tensor = np.diag([0.5, 0.5, 3e-9, 1e-9, 1e-9, 0.2])
    tensor[0, 1] = tensor[1, 0] = 0.15
    tensor[0, 2] = tensor[2, 0] = 1e-9  # Poisson coupling to the soft axis
    tensor[0, 5] = tensor[5, 0] = 2e-8  # rounding
    text = report.tensor_text(tensor)
    got = np.array([line.split() for line in text.splitlines()], float)
    assert got[0, 5] == 0 and got[2, 2] == 3e-9 and got[0, 2] == 1e-9
    assert got.shape == (6, 6)


def test_the_spreadsheet_row_holds_single_values_only():
    line = report.flat({"file": "a.npy", **summary(rods(), np.eye(6))})
    assert all(isinstance(v, bool | int | float | str) for v in line.values())
    assert line["file"] == "a.npy" and line["C_11_11"] == 1 and line["spans_z"]
    assert sum(key.startswith("C_") for key in line) == 21


def test_the_page_begins_with_what_warns_of_its_numbers():
    cell = rods()
    cell[6:8, 6:8, 0] = 0
    changes = {"residual": [1e-6] * 5 + [3e-3], "converged": [True] * 5 + [False]}
    changes["singular"] = [False, False, True, False, False, False]
    values = summary(cell, np.eye(6), **changes) | {"file": "a.npy"}
    content = report.report(cell, unsolved(np.eye(6), **changes), values, ["note"])
    tables = content.tables
    first, *rest = tables["Effective properties"]
    assert first == {"": "remark", "value": "not load bearing, unconverged"}
    assert {"": "lowest E, along [100]", "value": 1.0} in rest
    assert [row["converged"] for row in tables["Solution"]] == [True] * 5 + [False]
    assert tables["Elastic tensor (Voigt)"][1] == {"": "22"} | dict(
        zip(("11", "22", "33", "23", "13", "12"), np.eye(6)[1], strict=True)
    )
    assert content.notes == ["note"] and content.values is values


def test_a_written_report_agrees_with_itself(tmp_path):
    pytest.importorskip("matplotlib")
    cell = schwarz()
    grid = prepare.prepare(cell, "a.npy")
    material = solution.Material(E=2000.0)
    found = characterize.analyse(
        grid, "a.npy", material, solution.Solver(), Geometry(), fields=solution.FIELDS
    )
    values = found.values | {"file": "a.npy"}
    content = report.report(grid.cell, found.solution, values)
    assert reports.write(tmp_path, content) == []
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"properties.json", "report.html", *content.files}
    stored = json.loads((tmp_path / "properties.json").read_text())
    assert stored == values | {"conventions": properties.CONVENTIONS}
    tensor = np.array(values["C"])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "tensor.txt"), tensor, rtol=1e-6)
    card = (tmp_path / "material.inp").read_text().splitlines()
    assert card[0] == "*MATERIAL, NAME=A_NPY" and len(card) == 5
    assert float(card[2].split(",")[0]) == pytest.approx(values["C11"], rel=1e-6)
    assert (tmp_path / "material.mac").read_text().startswith("! A_NPY\nTB,ANEL,1,")
    constants = np.array([values[name] for name in elasticity.NAMES])
    np.testing.assert_allclose(tensor, elasticity.cubic_to_voigt(constants), rtol=1e-12)
    density, _ = read_vti(tmp_path / "fields.vti")
    np.testing.assert_array_equal(density, cell)
    # Energy in the file is energy of the tensor: half the diagonal entry on average.
    for name, entry in (("energy_11", tensor[0, 0]), ("energy_23", tensor[3, 3])):
        energy, _ = read_vti(tmp_path / "fields.vti", key=name)
        assert 2 * energy.mean() == pytest.approx(entry, rel=1e-4)
    text = (tmp_path / "fields.vti").read_bytes()
    for name in (b"strain_11", b"strain_23", b"displacement_11", b"displacement_23"):
        assert b'Name="' + name + b'"' in text
    assert b'ComponentName3="23"' in text and b'ComponentName2="z"' in text
    assert text.index(b"<PointData>") < text.index(b"displacement_11")
    assert b"sphere.png" in (tmp_path / "report.html").read_bytes()


def test_fields_can_be_left_out(tmp_path):
    values = summary(rods(), np.eye(6)) | {"file": "a.npy"}
    content = report.report(rods(), unsolved(np.eye(6)), values)
    content.files["fields.vti"](tmp_path / "fields.vti")
    text = (tmp_path / "fields.vti").read_bytes()
    assert b"density" in text and b"energy_11" not in text and b"<PointData>" in text
