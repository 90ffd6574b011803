"""Report of cloaks: displacements, which cell stands where, tables and a part to print.

The files of a run: `distortion.{json,csv}`, `displacement_CASE.vti`, `cells_index.npz`,
pictures of sections and cells, and a quarter of the middle layer as STL.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.cells import mesh
from mmdiff.design.cloak import figures, resolved
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.pool import joined, shrunk
from mmdiff.io import report as reports
from mmdiff.io.report import Report
from mmdiff.io.write import write_stl, write_vti
from mmdiff.typing import UInt8

DISTORTIONS = ("before", "designed", "nearest", "cells")
COLUMNS = ("column", "reference", "test", "before %", "designed %", "cells %")
CONVENTIONS = {
    "distortion": "|u - u0| / |u0|, 2-norms over the nodes at or beyond the radius of "
    "the cloak; u0 is the displacement of the body without hole and cloak under the "
    "same loads. Of several loads the worst counts",
    "before": "the cells of the body around the hole",
    "designed": "constants that need not be those of any cell",
    "cells": "constants of real cells by finite elements, each cell a trilinear "
    "element; all cells have the outermost layer of voxels of the body's cell: faces "
    "that touch are equal",
    "constants": "C11, C12, C44 in units of the base material's Young's modulus (nu "
    "0.3)",
    "displacement": "in edges of a cell",
    "finite_elements": reports.CONVENTIONS["finite_elements"],
    "cells_index.npz": "index_CASE, for every element the row of its cell in "
    "octants_REFERENCE and constants_REFERENCE, -1 the hole; the last row is the "
    "body's. number_REFERENCE: the cell of the dataset that a cell was before it got "
    "the faces of the body, -2 for solid, -1 for the body's",
}


def _row(case: Case) -> dict:
    return {
        "column": case.column,
        "reference": case.reference,
        "test": case.load_case.name,
        "before %": case.percent("before"),
        "designed %": case.percent("designed"),
        "nearest cells %": case.percent("nearest"),
        "cells %": case.percent("cells"),
        "different cells": len(np.unique(case.result["pick"])),
        "places": case.geometry.num_classes,
        "elements of the cloak": int(case.geometry.cloak.sum()),
        "seconds": float(case.result["seconds"]),
    }


def report(
    cases: Sequence[Case],
    checks: Sequence[Mapping],
    *,
    cell_size_mm: float,
    stl_voxels: int,
) -> Report:
    """Return the report of cases with their results.

    The checks are those of `resolved.check_slab`, with the name of the "reference"; in
    the part to print a cell has an edge of `cell_size_mm` and `stl_voxels`.
    """
    rows = [_row(case) for case in cases]
    details = [
        known
        | {name: case.result[name].tolist() for name in DISTORTIONS}
        | {"C11, C12, C44 of the body": case.pool.constants[-1].tolist()}
        for known, case in zip(rows, cases, strict=True)
    ]
    slabs = [
        {
            "body": check["reference"],
            "before, by tensors %": 100 * check["promised"][0],
            "before, by voxels %": 100 * check["resolved"][0],
            "cells, by tensors %": 100 * check["promised"][1],
            "cells, by voxels %": 100 * check["resolved"][1],
        }
        for check in checks
    ]
    files = {
        f"displacement_{case.name}.vti": functools.partial(_write_fields, case=case)
        for case in cases
    }
    files |= {
        "cells.png": lambda path: figures.cells(path, cases[0]),
        "cloak.png": lambda path: figures.sections(path, cases),
        "midsection.stl": lambda path: _write_part(
            path, cases[0], stl_voxels // 2, cell_size_mm
        ),
    }
    return Report(
        title="A cloak of cells",
        values={"cases": details, "checks": checks},
        conventions=CONVENTIONS,
        tables={"Distortion": rows, "Slabs resolved by voxels": slabs},
        arrays={"cells_index.npz": cells_index(cases)},
        rows={"distortion.csv": rows},
        files=files,
        json="distortion.json",
    )


def cells_index(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """Return which cell stands where, and these cells; see `CONVENTIONS`."""
    arrays = {}
    for reference, pool in {case.reference: case.pool for case in cases}.items():
        own = {case.name: case.index for case in cases if case.reference == reference}
        body = len(pool.number) - 1
        used = np.unique(np.concatenate([i.ravel() for i in own.values()] + [[body]]))
        used = used[used >= 0]
        for name, index in own.items():
            rows = np.searchsorted(used, index)
            arrays[f"index_{name}"] = np.where(index < 0, -1, rows).astype(np.int32)
        for name, values in pool._asdict().items():
            arrays[f"{name}_{reference}"] = values[used]
    return arrays


def quarter(case: Case, m: int) -> UInt8[np.ndarray, "x y z"]:
    """Return the voxels of a quarter of a cloak's middle layer, m along half a cell."""
    n, _, depth = case.geometry.hole.shape
    wide = int(np.flatnonzero(case.geometry.cloak.any((1, 2)))[-1]) + 1
    part = case.index[n // 2 : wide, n // 2 : wide, depth // 2]
    rows = np.unique(part[part >= 0])
    label = np.where(part < 0, -1, np.searchsorted(rows, part))[..., None]
    body, *cells = (shrunk(case.pool.octants[row], m) for row in (-1, *rows))
    fitted = [joined(cell, body) for cell in cells]
    octants = [c if f is None else f for c, f in zip(cells, fitted, strict=True)]
    return resolved.voxels(np.stack(octants), label)


def _write_fields(path: pathlib.Path, case: Case) -> None:
    names = {
        "displacement without hole": "u0",
        "displacement without cloak": "u_before",
        "displacement with cloak": "u_cells",
    }
    write_vti(
        path,
        {"cell": case.index.astype(np.float32), "constants": case.constants},
        points={t: np.moveaxis(case.result[n], 0, -1) for t, n in names.items()},
        components={"constants": ("C11", "C12", "C44")},
        conventions=f"load {int(case.result['load'])} of {case.load_case.name}; "
        + reports.joined(CONVENTIONS),
    )


def _write_part(path: pathlib.Path, case: Case, m: int, size: float) -> None:
    solid = quarter(case, m)
    vertices, faces = mesh.voxel_surface(solid, size * len(solid) / (2 * m))
    write_stl(path, vertices, faces, comment="mmdiff cloak, unit: mm")
