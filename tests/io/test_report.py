"""A report is written once and whole: each file states what its numbers mean."""

import csv
import json

import numpy as np

from mmdiff.io import cell_files, report
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.page import CellView
from mmdiff.io.report import Report, stated

CELL = np.ones((8, 8, 8), np.uint8)
SETTINGS = {"base_E": 2.0, "base_nu": 0.3, "void": 1e-6}


def example(**changes):
    values = {
        "title": "a run",
        "values": {"cells": [{"C11": np.float32(0.5)}], "worst": np.nan},
        "conventions": {"shear": "engineering", "axes": "x y z"},
        "settings": SETTINGS,
        "tables": {"Got": [{"": "cell 0", "C11": 0.5}]},
        "arrays": {"cells.npz": {"cells": CELL[None]}},
        "rows": {"cells.csv": [{"name": "cell 0", "C11": 0.5}]},
        "files": {"plot.png": lambda path: bool(path.write_bytes(b"plot"))},
        "notes": ["one <note>"],
    }
    return Report(**values | changes)


def test_every_file_states_what_its_numbers_mean(tmp_path):
    folder = tmp_path / "new" / "out"
    assert report.write(folder, example()) == []
    names = {"properties.json", "cells.npz", "cells.csv", "plot.png", "index.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert json.loads((folder / "properties.json").read_text()) == {
        "conventions": {"shear": "engineering", "axes": "x y z"},
        "cells": [{"C11": 0.5}],
        "worst": None,
    }
    with np.load(folder / "cells.npz") as arrays:
        assert arrays["conventions"] == "shear: engineering; axes: x y z"
        assert arrays["base_E"] == 2 and arrays["cells"].shape == (1, 8, 8, 8)
    with (folder / "cells.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == ["cell 0", "0.5", "2.0", "0.3", "1e-06"]
    page = (folder / "index.html").read_text()
    for text in ("a run", "Got", "one &lt;note&gt;", "shear: engineering.", "plot.png"):
        assert text in page
    assert "Base material E = 2; nu = 0.3; void stiffness 1e-06 of the solid." in page


def test_cells_get_their_files_and_stand_first_on_the_page(tmp_path, monkeypatch):
    written = []

    def write_cell(folder, name, voxels, **options):
        written.append((name, options["cell_size_mm"], options["conventions"]))
        return ["no mesher."]

    monkeypatch.setattr(cell_files, "write_cell", write_cell)
    entries = [CellEntry(name=f"c{i}", label=f"cell {i}", voxels=CELL) for i in (0, 1)]
    for entry in entries:
        vars(entry)["image"] = np.zeros((2, 2, 3), np.uint8)
    content = example(
        cells=entries,
        views=[CellView("older", CELL)],
        cell_size_mm=5.0,
        files={"plot.png": lambda path: False, "map.png": lambda path: False},
        json="all.json",
        page="all.html",
    )
    # What is missing is said once.
    assert report.write(tmp_path, content) == ["no mesher.", report.NO_PLOTS]
    text = "shear: engineering; axes: x y z"
    assert written == [("c0", 5.0, text), ("c1", 5.0, text)]
    page = (tmp_path / "all.html").read_text()
    assert page.index("c0.stl") < page.index("c1.3mf") < page.index("<b>older</b>")
    assert 'src="c0.png"' in page and "cell edge 5 mm" in page
    assert (tmp_path / "all.json").exists()


def test_files_of_cells_may_be_written_elsewhere(tmp_path):
    began, image = [], np.full((2, 2, 3), 7, np.uint8)

    def each(tasks):
        began.extend(tasks)
        return (([f"{entry.name}."], image) for _, entry, *_ in tasks)

    def draw(path):
        assert len(began) == 2 and all((entry.image == 7).all() for entry in entries)

    entries = [CellEntry(name=f"c{i}", label="", voxels=CELL) for i in (0, 1)]
    content = example(cells=entries, sheets={"sheet.png": draw})
    assert report.write(tmp_path, content, each) == ["c0.", "c1."]
    assert [task[2:] for task in began] == 2 * [(10.0, began[0][3])]


def test_settings_become_a_sentence():
    assert stated({}) == stated({}, 10.0) == []
    assert stated({"resolution": 16, "other": 1}) == ["16^3 voxels."]
    assert stated({"tol": 1e-5}, 10.0) == [
        "Relative residual of the finite elements at most 1e-05; cell edge 10 mm."
    ]
