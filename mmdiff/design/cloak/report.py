"""Report of cloaks: displacements, which cell stands where, tables and a part to print.

The files of a run: `distortion.{json,csv}`, `displacement_CASE.vti`, `cells_index.npz`,
pictures of sections and cells, and a quarter of the middle layer as STL.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.cells import mesh, surface
from mmdiff.design.cloak import figures
from mmdiff.design.cloak.case import Case
from mmdiff.io import report as reports
from mmdiff.io.report import Report
from mmdiff.io.write import write_stl, write_vti
from mmdiff.typing import Float

HOLLOW = -30.0  # field in the hole: its faces lie where the cells end
DISTORTIONS = ("before", "designed", "nearest", "cells", "finer", "finer_before")
COLUMNS = (
    "column",
    "reference",
    "test",
    "before %",
    "designed %",
    "cells %",
    "finer %",
)
CONVENTIONS = {
    "distortion": "|u - u0| / |u0|, 2-norms over the nodes at or beyond the radius of "
    "the cloak; u0 is the displacement of the body without hole and cloak under the "
    "same loads. Of several loads the worst counts",
    "before": "the cells of the body around the hole",
    "designed": "constants that need not be those of any cell",
    "cells": "constants of real cells, of their surfaces, from grids of 16 and 32 "
    "elements along an octant of 32 samples, some 1 to 2 % of their own size; fields "
    "pass into that of the body's cell at their faces: those that touch are equal",
    "finer": "the same cells, each of them twice as many elements along its edge, and "
    "before likewise",
    "constants": "C11, C12, C44 in units of the base material's Young's modulus (nu "
    "0.3)",
    "displacement": "in edges of a cell",
    "finite_elements": reports.CONVENTIONS["finite_elements"],
    "cells_index.npz": "index_CASE, in every place the row of its cell in psi_CASE "
    "(level-set fields of octants, see mmdiff.cells.surface) and constants_CASE, -1 "
    "the hole; the last row is the body's. number_CASE: the cell of the dataset that a "
    "cell was before it got the faces of the body, -2 for solid, -1 for the body's; "
    "moved_CASE: whether its surface was then moved for its place",
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
        "finer %": case.percent("finer"),
        "different cells": len(used := np.unique(case.result["pick"])),
        "made for their place": int(case.pool.moved[used].sum()),
        "places": case.geometry.num_classes,
        "cells of the cloak": int(case.geometry.cloak.sum()),
        "seconds": float(case.result["seconds"]),
    }


def report(
    cases: Sequence[Case],
    checks: Sequence[Mapping],
    *,
    cell_size_mm: float,
    stl_samples: int,
) -> Report:
    """Return the report of cases with their results.

    The checks are those of `resolved.check_slab`, with the name of the "reference"; in
    the part to print a cell has an edge of `cell_size_mm` and so many samples.
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
            "cells along x": check["cells"],
            "before, by tensors %": 100 * check["promised"][0],
            "before, resolved %": 100 * check["resolved"][0],
            "cells, by tensors %": 100 * check["promised"][1],
            "cells, resolved %": 100 * check["resolved"][1],
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
            path, cases[0], stl_samples // 2, cell_size_mm
        ),
    }
    return Report(
        title="A cloak of cells",
        values={"cases": details, "checks": checks},
        conventions=CONVENTIONS,
        tables={"Distortion": rows, "Slabs resolved": slabs},
        arrays={"cells_index.npz": cells_index(cases)},
        rows={"distortion.csv": rows},
        files=files,
        json="distortion.json",
    )


def cells_index(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """Return which cell stands where, and these cells; see `CONVENTIONS`."""
    arrays = {}
    for case in cases:
        pool, index = case.pool, case.index
        used = np.unique(np.append(index[index >= 0], len(pool.number) - 1))
        rows = np.where(index < 0, -1, np.searchsorted(used, index))
        arrays[f"index_{case.name}"] = rows.astype(np.int32)
        psi = np.stack([pool.field(row) for row in used])
        arrays[f"psi_{case.name}"] = psi.astype(np.float32)
        for name in ("constants", "number", "moved"):
            arrays[f"{name}_{case.name}"] = getattr(pool, name)[used]
    return arrays


def quarter(case: Case, m: int) -> Float[np.ndarray, "x y z"]:
    """Return the field of a quarter of a cloak's middle layer, for `mesh.box_surface`.

    Its points are the corners of elements, m along half a cell.
    """
    n, _, depth = case.geometry.hole.shape
    wide = int(np.flatnonzero(case.geometry.cloak.any((1, 2)))[-1]) + 1
    part = case.index[n // 2 : wide, n // 2 : wide, depth // 2]
    edge = 2 * m
    values = np.full([*(edge * size + 1 for size in part.shape), edge + 1], HOLLOW)
    along = m - abs(np.arange(edge + 1) - m)  # mirror images
    for row in np.unique(part[part >= 0]):
        psi = case.pool.field(row)
        octant = surface.sample(psi, surface.corners(psi.shape[-1], m))
        cell = octant[along][:, along][:, :, along]
        for x, y in edge * np.argwhere(part == row):
            # Points on a face belong to both cells, whose faces are the same.
            values[x : x + edge + 1, y : y + edge + 1] = cell
    return values


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
    vertices, faces = mesh.box_surface(quarter(case, m), size / (2 * m))
    write_stl(path, vertices, faces, comment="mmdiff cloak, unit: mm")
