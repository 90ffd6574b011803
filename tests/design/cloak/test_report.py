"""What is reported of cloaks."""

import json

import numpy as np
import pytest

from mmdiff.cells import surface
from mmdiff.design.cloak import report
from mmdiff.io import read_vti, render
from mmdiff.io.report import write

CHECK = {"reference": "4", "cells": 12}
CHECK |= {"promised": (0.1, 0.02), "resolved": (0.11, 0.04)}


def _report(found):
    return report.report([found], [CHECK], cell_size_mm=10.0, stl_samples=4)


def test_rows_tell_what_each_case_distorts(found):
    known = _report(found)
    (row,) = known.values["cases"]
    assert row["before %"] == 30 and row["cells %"] == 3 and row["finer %"] == 5
    assert row["cells"] == [0.015, 0.03] and row["different cells"] == 5
    assert row["made for their place"] == 1
    assert row["places"] == found.geometry.num_classes
    assert known.rows["distortion.csv"][0]["test"] == "pull"
    (slab,) = known.tables["Slabs resolved"]
    assert slab["cells, resolved %"] == 4


def test_the_index_names_the_cells_used(found):
    arrays = report.cells_index([found])
    index, number = arrays[f"index_{found.name}"], arrays[f"number_{found.name}"]
    # Five of the cloak and the body's, which stands outside.
    assert number.tolist() == [-2, 1, 2, 3, 4, -1] and index[0, 0, 0] == 5
    assert arrays[f"moved_{found.name}"].tolist() == [0, 0, 0, 1, 0, 0]
    np.testing.assert_array_equal(index == -1, found.geometry.hole)
    cells = arrays[f"psi_{found.name}"][index[found.geometry.cloak]]
    picked = [found.pool.field(row) for row in found.result["pick"]]
    expected = np.stack(picked)[found.geometry.index]
    np.testing.assert_array_equal(cells, expected.astype(np.float32))


def test_the_part_has_a_corner_without_the_hole(found):
    values = report.quarter(found, 2)
    assert values.shape == (13, 13, 5)  # three cells of four elements
    assert (values[:4, :4] == report.HOLLOW).all()
    assert (values[4:] > report.HOLLOW).all() and (values[:, 4:] > report.HOLLOW).all()
    # Of each cell its own field, the same from the middle to both sides.
    row = found.index[6, 6, 1]
    psi = found.pool.field(row)
    cell = surface.sample(psi, surface.corners(8, 2))
    np.testing.assert_allclose(values[9:11, 9:11, 1:3], cell[1:, 1:, 1:])
    np.testing.assert_array_equal(values[9], values[11])


def test_everything_is_written(found, tmp_path, monkeypatch):
    picture = np.full((224, 224, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    write(tmp_path, _report(found))
    assert read_vti.read_vti(tmp_path / "displacement_cylinder_4_pull.vti") is not None
    for name in ("distortion.csv", "cells.png", "index.html"):
        assert (tmp_path / name).stat().st_size
    stl = (tmp_path / "midsection.stl").read_bytes()
    assert len(stl) == 84 + 50 * np.frombuffer(stl[80:84], "<u4")[0] > 84
    corners = np.frombuffer(stl[84:], np.uint8).reshape(-1, 50)[:, 12:48]
    assert corners.copy().view("<f4").max() == 30  # mm
    assert json.loads((tmp_path / "distortion.json").read_text())["checks"]
    pytest.importorskip("matplotlib")
    assert (tmp_path / "cloak.png").stat().st_size
