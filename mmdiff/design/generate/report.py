"""The report of a set of cells: tables, files of the cells, pictures and a page."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff.design.generate import properties
from mmdiff.design.generate.cell import Cell
from mmdiff.io import plots
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.report import Report
from mmdiff.targets import quantities
from mmdiff.targets.target import Target

SETTINGS = ("resolution", "base_E", "base_nu", "void", "penal", "tol")
_NESTED = ("C", "history")  # of properties.json, no columns of a table


def report(
    target: Target, cells: Sequence[Cell], settings: Mapping[str, Any]
) -> Report:
    """Return the report of the cells of a target.

    Args:
      target: target of the cells.
      cells: the cells, best first; there may be none.
      settings: solver, base material, edge and provenance by name, all for
        properties.json; "base_E" and "cell_size_mm" are among them.
    """
    values = properties.values(target, cells, settings)
    header = properties.header(target)
    rows = properties.table(target, cells, settings["base_E"])
    asked = (f"{name} {v:.4g}" for name, v in values["target"]["asked"].items())
    entries = [_entry(i, cell) for i, cell in enumerate(cells)]
    draw = {
        "sheet.png": functools.partial(_draw_sheet, entries),
        "spheres.png": functools.partial(_draw_spheres, target, cells),
        "parity.png": functools.partial(_draw_parity, target, cells),
    }
    flat = [
        {name: value for name, value in line.items() if name not in _NESTED}
        for line in values["cells"]
    ]
    return Report(
        title=f"mmdiff: cells for {', '.join(asked)}",
        values=values,
        conventions=properties.CONVENTIONS,
        settings={k: values[k] for k in SETTINGS if values.get(k) is not None},
        tables={"Asked and got": [dict(zip(header, r, strict=True)) for r in rows]},
        cells=entries,
        cell_size_mm=settings["cell_size_mm"],
        arrays={"cells.npz": _arrays(cells, settings["base_E"])} if cells else {},
        rows={"properties.csv": flat} if cells else {},
        files=draw if cells else {},
    )


def _entry(index: int, cell: Cell) -> CellEntry:
    caption = f"volume {cell.volume:.3f}, error {100 * cell.error:.2f} %"
    return CellEntry(
        name=properties.name_of(index),
        label=f"cell {index}",
        voxels=cell.voxels,
        caption=caption,
    )


def _arrays(cells: Sequence[Cell], base: float) -> dict[str, np.ndarray]:
    return {
        "cells": np.stack([cell.voxels for cell in cells]),
        "constants": base * np.stack([cell.constants for cell in cells]),
        "volume": np.array([cell.volume for cell in cells]),
        "residual": np.array([cell.residual for cell in cells]),
    }


def _draw_sheet(entries: Sequence[CellEntry], path: pathlib.Path) -> bool:
    captions = [f"{entry.label}: {entry.caption}" for entry in entries]
    return plots.contact_sheet(path, [entry.image for entry in entries], captions)


def _draw_spheres(target: Target, cells: Sequence[Cell], path: pathlib.Path) -> bool:
    # Each surface takes half a second: the target and the best cell say it all.
    shown = {"cell 0": cells[0].constants}
    if target.is_determined:
        shown = {"asked": np.array(target.constants), **shown}
    return plots.modulus_spheres(path, np.stack(list(shown.values())), list(shown))


def _draw_parity(target: Target, cells: Sequence[Cell], path: pathlib.Path) -> bool:
    names, asked = zip(*target.counted, strict=True)
    constants = np.stack([cell.constants for cell in cells])
    volume = np.array([cell.volume for cell in cells])
    return plots.parity(
        path,
        np.array([*asked, target.volume or np.nan]),
        np.column_stack([quantities.values(constants, names), volume]),
        names=[*(quantities.LABELS[name] for name in names), "volume fraction"],
    )
