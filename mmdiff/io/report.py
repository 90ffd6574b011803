"""A report as a value, and the one writer that makes files of it.

What a run found is filled into a `Report`: numbers, tables, cells, arrays, pictures and
notes. `write` turns it into JSON, CSV, NPZ, the files of the cells and a page. The
conventions and the settings of the numbers stand in each of these files.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mmdiff.io import page
from mmdiff.io.cell_files import CellEntry, write_entry
from mmdiff.io.json import write_csv, write_json
from mmdiff.io.write import write_bytes, write_npz

NO_PLOTS = "plots need matplotlib: pip install 'mmdiff[viz]'."

# What every report that holds a tensor says of it.
CONVENTIONS = {
    "voigt_order": "11 22 33 23 13 12",
    "shear": "engineering shear strain: C44 = tau23 / gamma23",
    "moduli": "K = (C11 + 2 C12) / 3, G = C44, E and nu along <100>, "
    "Zener = 2 C44 / (C11 - C12)",
    "finite_elements": "trilinear hexahedra, one per voxel, 2x2x2 Gauss points",
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a run found.

    Attributes:
      values: content of the JSON file, beside the conventions: what numbers mean.
      settings: what the numbers depend on, by name; stands in arrays and tables too.
      tables: rows of the tables of the page by heading.
      cells: whose files are written; those of the views, further cells, are there.
      arrays: arrays by name, by the name of their .npz file.
      rows: rows by the name of their .csv file.
      files: by name what writes or draws a file; False: a package is missing.
      sheets: the same of files that show the pictures of the cells.
    """

    title: str
    values: Mapping[str, Any]
    conventions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping]] = dataclasses.field(default_factory=dict)
    cells: Sequence[CellEntry] = ()
    views: Sequence[page.CellView] = ()
    cell_size_mm: float = 10.0
    arrays: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, Sequence[Mapping]] = dataclasses.field(default_factory=dict)
    files: Mapping[str, Callable[[pathlib.Path], Any]] = dataclasses.field(
        default_factory=dict
    )
    sheets: Mapping[str, Callable[[pathlib.Path], Any]] = dataclasses.field(
        default_factory=dict
    )
    notes: Sequence[str] = ()
    json: str = "properties.json"
    page: str = "index.html"


def _in_turn(tasks):
    return [write_entry(*task) for task in tasks]


def write(
    folder: str | os.PathLike,
    report: Report,
    each: Callable[[Sequence[tuple]], Iterable[tuple]] = _in_turn,
) -> list[str]:
    """Write the files of a report; return what missing packages left out.

    `each(tasks)` returns what `write_entry` does of the arguments in each task, in
    their order; it may have begun with them when it returns.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    conventions = joined(report.conventions)
    shared = report.cell_size_mm, conventions
    entries = each([(folder, cell, *shared) for cell in report.cells])
    missing, undrawn = [], []

    def draw(files):
        for name, write_file in files.items():
            if write_file(folder / name) is False:
                undrawn.append(NO_PLOTS)

    for name, arrays in report.arrays.items():
        known = {**report.settings, "conventions": conventions}
        write_npz(folder / name, known | dict(arrays))
    for name, rows in report.rows.items():
        write_csv(folder / name, [{**row, **report.settings} for row in rows])
    draw(report.files)
    for cell, (left_out, image) in zip(report.cells, entries, strict=True):
        cell.take(image)
        missing += left_out
    draw(report.sheets)
    write_json(
        folder / report.json, {"conventions": report.conventions, **report.values}
    )
    written = [
        page.CellView(c.label, c.voxels, c.files[-1], c.files, c.caption, c.psi)
        for c in report.cells
    ]
    text = page.page(
        report.title,
        tables=report.tables,
        cells=[*written, *report.views],
        files=page.list_files(folder, report.page),
        notes=[
            *report.notes,
            *stated(report.settings, report.cell_size_mm if report.cells else None),
            *(f"{name}: {text}." for name, text in report.conventions.items()),
        ],
    )
    write_bytes(folder / report.page, text.encode())
    return list(dict.fromkeys(missing + undrawn))


def joined(conventions: Mapping[str, Any]) -> str:
    """Return conventions as one line of text."""
    return "; ".join(f"{name}: {text}" for name, text in conventions.items())


def stated(settings: Mapping[str, Any], cell_size_mm: float | None = None) -> list[str]:
    """Return the settings of finite elements as a paragraph; none without settings."""
    texts = {
        "base_E": "base material E = {:g}",
        "base_nu": "nu = {:g}",
        "void": "void stiffness {:g} of the solid",
        "resolution": "{}^3 voxels",
        "voxels": "{} voxels",
        "tol": "relative residual of the finite elements at most {:g}",
    }
    found = [t.format(settings[key]) for key, t in texts.items() if key in settings]
    if found and cell_size_mm is not None:
        found.append(f"cell edge {cell_size_mm:g} mm")
    text = "; ".join(found)
    return [text[0].upper() + text[1:] + "."] if text else []
