"""The report of a set of cells: tables, files of the cells, pictures and a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.design.generate import properties
from mmdiff.design.generate.cell import Cell
from mmdiff.io import plots
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.report import Report
from mmdiff.targets import quantities
from mmdiff.targets.target import AnyTarget, Target

SETTINGS = ("resolution", "base_E", "base_nu", "void", "tol")
# Of properties.json, no columns of a table.
_NESTED = ("C", "history", "uncertainty", "C_voxels", "printability")


def report(
    target: AnyTarget, cells: Sequence[Cell], settings: Mapping[str, Any]
) -> Report:
    """Return the report of the cells of a target, best first; there may be none.

    The settings, all for properties.json, are of solver, base material and provenance;
    "base_E" and "cell_size_mm" are among them.
    """
    values = properties.values(target, cells, settings)
    size_mm = settings["cell_size_mm"]
    rows = properties.table(target, cells, settings["base_E"], size_mm)
    asked = (f"{name} {v:.4g}" for name, v in values["target"]["asked"].items())
    entries = [
        CellEntry(
            name=properties.name_of(i),
            label=f"cell {i}",
            voxels=cell.voxels,
            psi=cell.psi,
            caption=f"volume {cell.volume:.3f}, error {100 * cell.error:.2f} %",
        )
        for i, cell in enumerate(cells)
    ]
    outputs = {}
    if cells:
        volume = np.array([cell.volume for cell in cells])
        constants = np.stack([cell.constants for cell in cells])
        arrays = {
            "cells": np.stack([entry.voxels for entry in entries]),
            "psi": np.stack([cell.psi for cell in cells]).astype(np.float32),
            "constants": settings["base_E"] * constants,
            "uncertainty": settings["base_E"]
            * np.stack([cell.uncertainty for cell in cells]),
            "volume": volume,
            "residual": np.array([cell.residual for cell in cells]),
        }
        flat = [
            {name: value for name, value in line.items() if name not in _NESTED}
            for line in values["cells"]
        ]
        draw = {
            "spheres.png": lambda path: _draw_spheres(path, target, constants[0]),
            "parity.png": lambda path: _draw_parity(path, target, constants, volume),
        }
        outputs = {
            "arrays": {"cells.npz": arrays},
            "rows": {"properties.csv": flat},
            "files": draw,
            "sheets": {"sheet.png": lambda path: _draw_sheet(path, entries)},
        }
    return Report(
        title=f"mmdiff: cells for {', '.join(asked)}",
        values=values,
        conventions=properties.CONVENTIONS,
        settings={k: values[k] for k in SETTINGS if values.get(k) is not None},
        tables={"Asked and got": rows},
        cells=entries,
        cell_size_mm=size_mm,
        **outputs,
    )


def _draw_sheet(path, entries: Sequence[CellEntry]) -> bool:
    captions = [f"{entry.label}: {entry.caption}" for entry in entries]
    return plots.contact_sheet(path, [entry.image for entry in entries], captions)


def _draw_spheres(path, target: AnyTarget, best) -> bool:
    # Each surface takes half a second: the target and the best cell say it all.
    shown = {"asked": np.array(target.constants)} if target.is_determined else {}
    shown["cell 0"] = best
    tensors = [elasticity.constants_to_voigt(c) for c in shown.values()]
    return plots.modulus_spheres(path, np.stack(tensors), list(shown))


def _draw_parity(path, target: AnyTarget, constants, volume) -> bool:
    names, asked = zip(*target.counted, strict=True)
    cubic = isinstance(target, Target)
    got = quantities.values(constants, names) if cubic else constants
    return plots.parity(
        path,
        np.array([*asked, target.volume or np.nan]),
        np.column_stack([got, volume]),
        names=[
            *(quantities.LABELS.get(n, f"{n} / E base") for n in names),
            "volume fraction",
        ],
    )
