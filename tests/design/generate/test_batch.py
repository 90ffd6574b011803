"""Lists of targets: what counts as done, and what the summary says."""

import csv
import json

import numpy as np
import pytest

from mmdiff.design.generate import batch, properties
from mmdiff.design.generate.cell import make_cell
from mmdiff.targets import table as target_list
from mmdiff.targets import target
from mmdiff.topopt.interface import Evaluation

N = 8


def _report(asked, count=1, base=1.0):
    octant = np.ones((N, N, N), np.uint8)
    octant[:4, :4, :4] = 0
    constants = np.array([0.5, 0.2, 0.1])
    result = Evaluation(constants, np.zeros(1), 1e-6, True, None)
    cells = count * [make_cell(octant, result, asked, 1, (0.1, 0.01), (0.8, 0.9))]
    settings = {"base_E": base, "counts": {"sampled": 4}}
    return properties.report(asked, cells, settings)


def _deliver(folder, report):
    folder.mkdir(exist_ok=True)
    (folder / "properties.json").write_text(json.dumps(report))
    for cell in report["cells"]:
        np.save(folder / cell["file"], np.ones((4, 4, 4), np.uint8))
    (folder / "index.html").touch()


def test_a_target_is_done_when_its_last_file_is_there(tmp_path):
    asked = target.parse("E=21,nu=0.1", volume=0.3, base=210.0)
    folder = tmp_path / "a"
    assert not batch.is_done(folder, asked, 210.0)
    _deliver(folder, _report(asked, base=210.0))
    assert batch.is_done(folder, asked, 210.0)
    # Another target of the same name, or in other units.
    assert not batch.is_done(folder, target.parse("E=0.2", volume=0.3), 210.0)
    assert not batch.is_done(folder, target.Target(asked.asked, 0.4), 210.0)
    assert not batch.is_done(folder, asked, 1.0)
    (folder / "index.html").unlink()
    assert not batch.is_done(folder, asked, 210.0)
    (folder / "index.html").touch()
    (folder / "cell_00.npy").unlink()
    assert not batch.is_done(folder, asked, 210.0)
    (folder / "properties.json").write_text('{"cells": [')
    assert not batch.is_done(folder, asked, 210.0)


def test_a_target_without_a_cell_is_done_too(tmp_path):
    asked = target.parse("E=0.1")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "properties.json").write_text(json.dumps(_report(asked, 0)))
    assert batch.is_done(folder, asked, 1.0)


def test_only_cells_are_cleared(tmp_path):
    for name in ("cell_03.stl", "cell_12.npy", "cell_notes.txt", "mine.npy"):
        (tmp_path / name).touch()
    batch.clear(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["cell_notes.txt", "mine.npy"]


@pytest.fixture
def written(tmp_path):
    reports = {
        "all": _report(target.of_constants((0.5, 0.2, 0.11), 0.9)),
        "part": _report(target.parse("E=0.3,zener=0.5")),
        "none": _report(target.parse("K=0.3"), 0),
    }
    for name, report in reports.items():
        _deliver(tmp_path / name, report)
    rows = [batch.row(name, report) for name, report in reports.items()]
    skipped = [{"line": 5, "name": "bad", "reason": "too <stiff>."}]
    summary = batch.write(tmp_path, rows, skipped, ["A note."])
    return tmp_path, rows, summary


def test_summary_and_table_of_the_best_cells(written):
    folder, rows, summary = written
    assert summary["targets"] == 3 and summary["answered"] == 2
    error = 0.01 / 0.383357 / 3
    part = target.error(target.parse("E=0.3,zener=0.5"), np.array([0.5, 0.2, 0.1]))
    np.testing.assert_allclose(summary["error_mean"], (error + part) / 2)
    assert summary["raw_error_mean"] == 0.1
    assert json.loads((folder / "summary.json").read_text())["summary"] == summary
    table = batch.table(rows)
    assert all(len(line) == len(batch.HEADER) for line in table)
    assert table[0][:3] == ["all", "C11 0.5, C12 0.2, C44 0.11", "0.900"]
    assert table[1][:3] == ["part", "E 0.3, zener 0.5", "free"]
    assert table[2][3:] == [*4 * [""], "0"]


def test_the_table_of_targets_is_a_list_again(written):
    folder, _, _ = written
    with (folder / "targets.csv").open() as file:
        first, second, third = csv.DictReader(file)
    assert first["name"] == "all" and float(first["got_C44"]) == 0.1
    # 2 C44 / (C11 - C12)
    np.testing.assert_allclose(float(second["got_zener"]), 2 / 3)
    assert third["cells"] == "0" and third["error"] == ""
    lines = target_list.read(folder / "targets.csv")
    assert lines[1].name == "part"
    assert lines[1].target == target.parse("E=0.3,zener=0.5")


def test_the_page_links_every_target(written):
    folder, _, _ = written
    text = (folder / "index.html").read_text()
    assert 'href="all/index.html"' in text and 'href="part/index.html"' in text
    assert 'href="none/index.html"' not in text
    assert "Line 5 (bad) was left out: too &lt;stiff&gt;." in text
    assert 'src="all/cell_00.png"' in text and "A note." in text
