"""What is reported about cells: one plain dictionary, and the table on the terminal.

Every number comes from finite elements on the written binary cell. Stiffness is in the
units of the base material's Young's modulus.
"""

import numpy as np

from mmdiff import elasticity
from mmdiff.design.generate import Cell
from mmdiff.design.target import Target

CONVENTIONS = {
    "voigt_order": "11 22 33 23 13 12",
    "shear": "engineering shear strain: C44 = tau23 / gamma23",
    "moduli": "K = (C11 + 2 C12) / 3, G = C44, E and nu along <100>, "
    "Zener = 2 C44 / (C11 - C12)",
    "error": "mean of |C - target| / R over C11, C12, C44 with R = 1.330768, 0.667355, "
    "0.383357 times base E (arXiv 2401.13570, Eq. 3)",
    "relative_error": "mean of |C - target| / |target|, |C12| floored at 1 % of C11",
    "raw_error": "error of the sample before its surface was moved (polished)",
    "finite_elements": "trilinear hexahedra, one per voxel, 2x2x2 Gauss points",
    "cell": "cell_XX.npy: full cell, uint8, 1 solid, axes x y z",
}


def name_of(index: int) -> str:
    """Return the stem of a cell's files."""
    return f"cell_{index:02d}"


def report(target: Target, cells: list[Cell], settings: dict) -> dict:
    """Return the content of properties.json.

    Args:
      target: what was asked.
      cells: the delivered cells, best first.
      settings: solver, base material and provenance; needs "base_E".
    """
    scale = settings["base_E"]
    edge = 2 * cells[0].octant.shape[0] if cells else None
    asked = {
        name: scale * value
        for name, value in zip(elasticity.NAMES, target.constants, strict=True)
    }
    return {
        "conventions": CONVENTIONS,
        **settings,
        "resolution": edge,
        "target": {**asked, "volume": target.volume},
        "cells": [_cell(i, cell, scale) for i, cell in enumerate(cells)],
    }


def _cell(index: int, cell: Cell, scale: float) -> dict:
    moduli = elasticity.moduli(cell.constants)
    return {
        "file": f"{name_of(index)}.npy",
        "C": (scale * elasticity.cubic_to_voigt(cell.constants)).tolist(),
        **{
            name: scale * value
            for name, value in zip(elasticity.NAMES, cell.constants, strict=True)
        },
        "K": scale * moduli["K"],
        "G": scale * moduli["G"],
        "E": scale * moduli["E"],
        "nu": moduli["nu"],
        "Zener": moduli["zener"],
        "volume": cell.volume,
        "pieces": cell.pieces,
        "pieces_removed": cell.pieces_found - cell.pieces,
        "error": cell.error,
        "raw_error": cell.history[0],
        "polish_steps": len(cell.history) - 1,
        "relative_error": cell.relative_error,
        "residual": cell.residual,
    }


HEADER = ("", "C11", "C12", "C44", "V", "raw %", "err %", "rel %", "pieces", "Zener")


def table(target: Target, cells: list[Cell], scale: float = 1.0) -> list[list]:
    """Return the rows of the asked / got table, columns as in `HEADER`."""
    goal = np.array(target.constants)
    zener = float(elasticity.moduli(goal)["zener"])
    volume = "free" if target.volume is None else f"{target.volume:.3f}"
    rows = [["asked", *_constants(goal, scale), volume, *[""] * 4, f"{zener:.3f}"]]
    for i, cell in enumerate(cells):
        zener = float(elasticity.moduli(cell.constants)["zener"])
        rows.append(
            [
                f"cell {i}",
                *_constants(cell.constants, scale),
                f"{cell.volume:.3f}",
                f"{100 * cell.history[0]:.2f}",
                f"{100 * cell.error:.2f}",
                f"{100 * cell.relative_error:.2f}",
                str(cell.pieces),
                f"{zener:.3f}",
            ]
        )
    return rows


def _constants(values, scale):
    return [f"{scale * v:.4f}" if scale == 1 else f"{scale * v:.5g}" for v in values]
