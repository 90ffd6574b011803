"""Properties of cells as reported: a plain dictionary, and the table on the terminal.

Every number comes from finite elements on the written binary cell. Stiffness is in the
units of the base material's Young's modulus.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.design.generate.cell import Cell
from mmdiff.io import report
from mmdiff.targets import quantities
from mmdiff.targets.target import Target

CONVENTIONS = {
    **report.CONVENTIONS,
    "error": "mean of |C - target| / R over C11, C12, C44 with R = 1.330768, 0.667355, "
    "0.383357 times base E (arXiv 2401.13570, Eq. 3)",
    "error_of_part": "where C11, C12, C44 do not all follow from what is asked: mean "
    "over what is asked, R of K 0.888493 and of E 1.330768 (those of (C11 + 2 C12) / 3 "
    "and of C11), of G that of C44, of nu and Zener 1",
    "relative_error": "mean of |C - target| / |target|, |C12| floored at 1 % of C11; "
    "nu counts by its difference",
    "raw_error": "error of the sample, before it was polished",
    "history": "error and volume of the sample, of its smoothed surface, then after "
    "each step of polishing",
    "target": "what was asked by name; C11, C12, C44 that follow from it, null where "
    "they are free",
    "cell": "cell_XX.npy: full cell, uint8, 1 solid, axes x y z",
}


def name_of(index: int) -> str:
    """Return the stem of a cell's files."""
    return f"cell_{index:02d}"


def values(
    target: Target, cells: Sequence[Cell], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of properties.json, beside the conventions.

    The settings are of solver, base material ("base_E") and provenance.
    """
    scale = settings["base_E"]
    return {
        **settings,
        "resolution": 2 * cells[0].octant.shape[0] if cells else None,
        "target": request(target, scale),
        "cells": [_cell(i, cell, scale) for i, cell in enumerate(cells)],
    }


def request(target: Target, scale: float = 1.0) -> dict[str, Any]:
    """Return a target in units of base E: its quantities by name, and the constants."""
    factors = dict.fromkeys(quantities.STIFF, scale)
    constants = zip(elasticity.NAMES, target.constants, strict=True)
    return {
        "asked": {name: factors.get(name, 1.0) * v for name, v in target.asked},
        **{name: None if np.isnan(v) else scale * v for name, v in constants},
        "volume": target.volume,
    }


def _cell(index: int, cell: Cell, scale: float) -> dict:
    moduli = elasticity.moduli(cell.constants)
    return {
        "file": f"{name_of(index)}.npy",
        "C": (scale * elasticity.cubic_to_voigt(cell.constants)).tolist(),
        **dict(zip(elasticity.NAMES, scale * cell.constants, strict=True)),
        **{name: scale * moduli[name] for name in ("K", "G", "E")},
        "nu": moduli["nu"],
        "Zener": moduli["zener"],
        "volume": cell.volume,
        "pieces": cell.pieces,
        "pieces_removed": cell.pieces_found - cell.pieces,
        "error": cell.error,
        "raw_error": cell.history[0],
        "polish_steps": len(cell.history) - 1,
        "history": {"error": list(cell.history), "volume": list(cell.volumes)},
        "relative_error": cell.relative_error,
        "residual": cell.residual,
    }


def table(
    target: Target, cells: Sequence[Cell], scale: float = 1.0
) -> list[dict[str, str]]:
    """Return the rows of the asked / got table.

    Its columns are the constants, other quantities asked, and the rest; what the target
    leaves free is blank in its row.
    """
    extra = [name for name in ("K", "G", "E", "nu") if name in dict(target.asked)]
    names = [*elasticity.NAMES, *extra]

    def row(label, constants, asked, volume, *rest):
        every = zip(quantities.NAMES, quantities.values(constants), strict=True)
        found = dict(every) | dict(asked)
        return {
            "": label,
            **{name: _number(name, found[name], scale) for name in names},
            "V": volume,
            **dict(zip(("raw %", "err %", "rel %", "pieces"), rest, strict=True)),
            "Zener": _number("zener", found["zener"]),
        }

    volume = "free" if target.volume is None else f"{target.volume:.3f}"
    rows = [row("asked", np.array(target.constants), target.asked, volume, *[""] * 4)]
    for i, cell in enumerate(cells):
        errors = (cell.history[0], cell.error, cell.relative_error)
        rest = [*(f"{100 * error:.2f}" for error in errors), str(cell.pieces)]
        rows.append(row(f"cell {i}", cell.constants, (), f"{cell.volume:.3f}", *rest))
    return rows


def _number(name, value, scale=1.0) -> str:
    if np.isnan(value):
        return ""
    if name not in quantities.STIFF:
        return f"{value:.3f}"
    return f"{scale * value:.4f}" if scale == 1 else f"{scale * value:.5g}"
