"""Lists of targets: what is read, counts as done, is made, and is reported."""

import csv
import json

import numpy as np
import pytest
from design_helpers import smooth_field
from field_helpers import estimate

from mmdiff.design.generate import batch
from mmdiff.design.generate.cell import make_cell
from mmdiff.design.generate.report import report
from mmdiff.errors import InputError
from mmdiff.io import cell_files
from mmdiff.io import report as io_report
from mmdiff.io.report import write
from mmdiff.run import manifest, workers
from mmdiff.targets import table, target

LIST = "name,C11,C12,C44,E,V\nwhole,0.2,0.08,0.06,,\npart,,,,0.15,\nnone,,,0.09,,\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of a run, where pictures, plots and workers cost nothing."""
    image = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(cell_files.render, "render", lambda *args, **options: image)
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    for name in ("contact_sheet", "modulus_spheres", "parity"):
        monkeypatch.setattr(f"mmdiff.io.plots.{name}", lambda *args, **options: True)
    return tmp_path / "out"


def _make(goal, key=None, start=None, base=1.0):
    """Two cells for a target; none for C44 alone."""
    psi = smooth_field()
    count = 0 if dict(goal.asked).keys() == {"C44"} else 2
    cell = make_cell(psi, estimate(psi), goal, (0.1, 0.01), (0.8, 0.9))
    counts = {"sampled": 4}
    settings = {"base_E": base, "cell_size_mm": 10.0, "counts": counts}
    cells = count * [cell]
    return cells, counts, report(goal, cells, settings)


def _run(folder, lines, make):
    values = {"seed": 0}
    batch.run(folder, lines, lambda: batch.make_unit(folder, values, lambda _: make))


def _lines(path, text=LIST):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return table.read(path)


def test_a_target_is_done_when_its_last_file_is_there(folder):
    asked = target.parse("E=21,nu=0.1", volume=0.3, base=210.0)
    assert not batch.is_done(folder, asked, 210.0)
    write(folder, _make(asked, base=210.0)[2])
    assert not batch.is_done(folder, asked, 210.0)
    manifest.seal(folder)
    assert batch.is_done(folder, asked, 210.0)
    # Another target of the same name, or in other units.
    assert not batch.is_done(folder, target.parse("E=0.2", volume=0.3), 210.0)
    assert not batch.is_done(folder, target.Target(asked.asked, 0.4), 210.0)
    assert not batch.is_done(folder, asked, 1.0)
    names = [path.name for path in folder.iterdir() if path.name != manifest.NAME]
    assert {"cell_00.stl", "cells.npz", "properties.csv"} < {*names}
    for name in names:
        content = (folder / name).read_bytes()
        for damaged in (content[:-9] + b"\xff" + content[-8:], b"", None):
            (folder / name).unlink()
            if damaged is not None:
                (folder / name).write_bytes(damaged)
            assert not batch.is_done(folder, asked, 210.0), name
        (folder / name).write_bytes(content)
    assert batch.is_done(folder, asked, 210.0)


def test_only_cells_and_page_are_cleared(tmp_path):
    names = ("cell_03.stl", "cell_12.npy", "index.html", "cell_notes.txt", "mine.npy")
    for name in names:
        (tmp_path / name).touch()
    batch.clear(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["cell_notes.txt", "mine.npy"]


def test_a_list_goes_on_where_it_was_stopped(folder, tmp_path, capsys, monkeypatch):
    made = []

    def make(goal, key, start):
        made.append(goal)
        return _make(goal)

    def killed(place, *rest):
        if place.name == "part":
            raise KeyboardInterrupt
        return write(place, *rest)

    path = tmp_path / "list.csv"
    lines = _lines(path)
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(io_report, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            _run(folder, lines, make)
    _run(folder, lines, make)
    # "whole" was there, the target without a cell counts.
    asked = [dict(goal.asked) for goal in made[2:]]
    assert len(made) == 4 and asked == [{"E": 0.15}, {"C44": 0.09}]
    said = capsys.readouterr().out
    assert "part (" in said and "best of 2 " in said
    assert "none (" in said and "none of 4 samples gave a connected" in said
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["target"] for row in rows] == ["whole", "part", "none"]
    batch.run(folder, lines, lambda: pytest.fail("made again"))
    assert len(made) == 4
    # A line that was added, and one that was changed.
    lines = _lines(path, LIST.replace("0.15", "0.16") + "more,,,,0.2,\n")
    _run(folder, lines, make)
    assert [dict(goal.asked) for goal in made[4:]] == [{"E": 0.16}, {"E": 0.2}]


BAD = LIST + "stiff,5,0.2,0.15,,0.5\nbad,soft,,,,\n"


def test_bad_lines_are_refused_or_left_out(tmp_path, capsys):
    path = tmp_path / "list.csv"
    path.write_text(BAD)
    with pytest.raises(InputError) as error:
        batch.read(path, tmp_path)
    assert "line 5 of" in str(error.value) and "this checkpoint" in str(error.value)
    assert "1 more cannot be used: 6." in str(error.value)
    assert "leave such lines out with `skip_bad=True`." in str(error.value)
    good, bad = batch.read(path, tmp_path, skip_bad=True)
    assert [line.name for line in good] == ["whole", "part", "none"]
    assert [line.number for line in bad] == [5, 6]
    assert "is left out: C11 'soft' is not a number." in capsys.readouterr().out
    # Bounds can be switched off, nonsense cannot.
    with pytest.raises(InputError, match="line 6 of"):
        batch.read(path, tmp_path, allow_infeasible=True)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("list.csv", "C11,V\n", "has no target to work on. Give one or more"),
        ("targets.csv", LIST, "is where the summary of this run goes"),
    ],
)
def test_lists_that_cannot_be_worked_on(tmp_path, name, text, part):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=part):
        batch.read(path, tmp_path)
    assert path.read_text() == text


@pytest.fixture
def done(folder, tmp_path):
    lines = _lines(tmp_path / "list.csv")
    folder.mkdir()
    _run(folder, lines, _make)
    skipped = [table.Line(5, 3, "bad", None, "too <stiff>.")]
    return folder, batch.summary_report(folder, lines, skipped)


def test_the_report_sums_up_the_best_cells(done):
    _, found = done
    summary, rows = found.values["summary"], found.values["targets"]
    assert summary["targets"] == 3 and summary["answered"] == 2
    errors = [line["error"] for line in rows if line["cells"]]
    np.testing.assert_allclose(summary["error_mean"], np.mean(errors))
    assert summary["raw_error_mean"] == pytest.approx(0.1)
    left_out = {"line": 5, "name": "bad", "reason": "too <stiff>."}
    assert summary["skipped"] == [left_out]
    assert found.notes == ["Line 5 (bad) was left out: too <stiff>."]
    lines = [[*line.values()] for line in found.tables["Asked and got"]]
    assert lines[0][:3] == ["whole", "C11 0.2, C12 0.08, C44 0.06", "free"]
    assert lines[1][:3] == ["part", "E 0.15", "free"]
    assert lines[2][3:] == [*4 * [""], "0"]
    assert [view.name for view in found.views] == ["whole", "part"]
    assert found.views[0].files == ["whole/index.html"]


def test_the_table_of_targets_is_a_list_again_and_the_page_links_them(done):
    folder, found = done
    write(folder, found)
    with (folder / "targets.csv").open() as file:
        first, second, third = csv.DictReader(file)
    assert first["name"] == "whole"
    # 2 C44 / (C11 - C12) of `proportional`
    np.testing.assert_allclose(float(second["got_zener"]), 1.0)
    assert third["cells"] == "0" and third["error"] == ""
    lines = table.read(folder / "targets.csv")
    assert lines[1].name == "part" and lines[1].target == target.parse("E=0.15")
    assert json.loads((folder / "summary.json").read_text())["summary"]["targets"] == 3
    text = (folder / "index.html").read_text()
    assert all(f'href="{n}/index.html"' in text for n in ("whole", "part", "none"))
    assert "too &lt;stiff&gt;." in text and 'src="whole/cell_00.png"' in text
