"""Properties of cells as reported: a plain dictionary, and the table on the terminal.

Every tensor comes from finite elements on the surface that is printed, with its
uncertainty. Stiffness is in the units of the base material's Young's modulus.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.design.generate.cell import Cell
from mmdiff.io import report
from mmdiff.targets import quantities
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import AnyTarget

CONVENTIONS = {
    **report.CONVENTIONS,
    "finite_elements": "trilinear hexahedra on 64^3 and 128^3 elements of modulus "
    "void + f (1 - void), f the solid share of the element; 2x2x2 Gauss points",
    "C": "tensor of the surface, C_fine + (C_fine - C_coarse) / (3 + 8 r) of the two "
    "grids, r their relative difference; uncertainty is the half width of the interval "
    "that holds each constant",
    "C_voxels": "constants of the binary cell of 128^3 voxels, one element each, as "
    "arXiv 2401.13570 measures",
    "error": "mean of |C - target| / R over C11, C12, C44 with R = 1.330768, 0.667355, "
    "0.383357 times base E (arXiv 2401.13570, Eq. 3)",
    "orthotropic": "of a target of nine constants the error is the mean over all, each "
    "by the R of its kind, with relative errors floored at 1 % of the largest; sample "
    "and history begin with the cell for the closest cubic tensor; K, G, E, nu, Zener "
    "are those of the closest cubic one",
    "error_of_part": "where C11, C12, C44 do not all follow from what is asked: mean "
    "over what is asked, R of K 0.888493 and of E 1.330768 (those of (C11 + 2 C12) / 3 "
    "and of C11), of G that of C44, of nu and Zener 1",
    "relative_error": "mean of |C - target| / |target|, |C12| floored at 1 % of C11; "
    "nu counts by its difference",
    "raw_error": "error of the sample, before it was polished",
    "history": "error and volume of the sample, then after each step of polishing, as "
    "known at that step",
    "printability": "wall and gap: least thickness of solid and void in mm; trapped: "
    "share of the void in closed pores; overhang: share of the surface that faces down "
    "at less than 45 degrees to the horizontal, built along an axis",
    "target": "what was asked by name; C11, C12, C44 that follow from it, null where "
    "they are free",
    "cell": "cell_XX.npy: full cell, uint8, 1 solid, axes x y z",
    "psi": "level-set field of the octant in cells.npz: solid where its half-sample-"
    "even cosine interpolation is positive, in spacings of 1 / (2 n) of the edge",
}


def name_of(index: int) -> str:
    """Return the stem of a cell's files."""
    return f"cell_{index:02d}"


def values(
    target: AnyTarget, cells: Sequence[Cell], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of properties.json, beside the conventions.

    The settings are of solver, base material ("base_E") and provenance.
    """
    scale = settings["base_E"]
    return {
        **settings,
        "resolution": cells[0].resolution if cells else None,
        "target": request(target, scale),
        "cells": [
            _cell(i, cell, scale, settings["cell_size_mm"])
            for i, cell in enumerate(cells)
        ],
    }


def request(target: AnyTarget, scale: float = 1.0) -> dict[str, Any]:
    """Return a target in units of base E: its quantities by name, and the constants."""
    factors = dict.fromkeys((*quantities.STIFF, *elasticity.ORTHOTROPIC), scale)
    constants = zip(names_of(target), target.constants, strict=True)
    return {
        "asked": {name: factors.get(name, 1.0) * v for name, v in target.asked},
        **{name: None if np.isnan(v) else scale * v for name, v in constants},
        "volume": target.volume,
    }


def names_of(target: AnyTarget) -> tuple[str, ...]:
    """Return the names of all constants of a target."""
    nine = isinstance(target, OrthotropicTarget)
    return elasticity.ORTHOTROPIC if nine else elasticity.NAMES


def _cell(index: int, cell: Cell, scale: float, size_mm: float) -> dict:
    moduli = elasticity.moduli(elasticity.voigt_to_cubic(cell.tensor))
    names = cell.names
    return {
        "file": f"{name_of(index)}.npy",
        "C": (scale * cell.tensor).tolist(),
        **dict(zip(names, scale * cell.constants, strict=True)),
        "uncertainty": dict(zip(names, scale * cell.uncertainty, strict=True)),
        "C_voxels": dict(zip(names, scale * cell.as_voxels, strict=True)),
        **{name: scale * moduli[name] for name in ("K", "G", "E")},
        "nu": moduli["nu"],
        "Zener": moduli["zener"],
        "volume": cell.volume,
        "printability": vars(cell.printability.in_mm(size_mm)),
        "error": cell.error,
        "raw_error": cell.history[0],
        "polish_steps": len(cell.history) - 1,
        "solves": cell.solves,
        "history": {"error": list(cell.history), "volume": list(cell.volumes)},
        "relative_error": cell.relative_error,
        "residual": cell.residual,
    }


def table(
    target: AnyTarget, cells: Sequence[Cell], scale: float = 1.0, size_mm: float = 10.0
) -> list[dict[str, str]]:
    """Return the rows of the asked / got table.

    Its columns are the constants, other quantities asked, and the rest; what the target
    leaves free is blank in its row.
    """
    extra = [name for name in ("K", "G", "E", "nu") if name in dict(target.asked)]
    own = names_of(target)
    names = [*own, *extra]

    def row(label, constants, asked, volume, rest):
        cubic = constants
        if own != elasticity.NAMES:
            cubic = elasticity.voigt_to_cubic(elasticity.constants_to_voigt(constants))
        every = zip(quantities.NAMES, quantities.values(cubic), strict=True)
        found = dict(every) | dict(zip(own, constants, strict=True)) | dict(asked)
        return {
            "": label,
            **{name: _number(name, found[name], scale) for name in names},
            "V": volume,
            **dict(zip(_MEASURED, rest, strict=True)),
            "Zener": _number("zener", found["zener"]),
        }

    volume = "free" if target.volume is None else f"{target.volume:.3f}"
    blank = [""] * len(_MEASURED)
    rows = [row("asked", np.array(target.constants), target.asked, volume, blank)]
    for i, cell in enumerate(cells):
        measured = _measured(cell, size_mm)
        rows.append(
            row(f"cell {i}", cell.constants, (), f"{cell.volume:.3f}", measured)
        )
    return rows


_MEASURED = ("raw %", "err %", "rel %", "+- %", "wall mm", "gap mm", "trapped %")


def _measured(cell: Cell, size_mm: float) -> list[str]:
    """Return errors, uncertainty (of the worst constant) and printability as text."""
    doubt = (cell.uncertainty / np.maximum(abs(cell.constants), 1e-12)).max()
    errors = (cell.history[0], cell.error, cell.relative_error, doubt)
    printed = cell.printability.in_mm(size_mm)
    return [
        *(f"{100 * error:.2f}" for error in errors),
        f"{printed.wall:.2f}",
        f"{printed.gap:.2f}",
        f"{100 * printed.trapped:.1f}",
    ]


def _number(name, value, scale=1.0) -> str:
    if np.isnan(value):
        return ""
    if name not in (*quantities.STIFF, *elasticity.ORTHOTROPIC):
        return f"{value:.3f}"
    return f"{scale * value:.4f}" if scale == 1 else f"{scale * value:.5g}"
