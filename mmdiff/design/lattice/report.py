"""Reports of named lattices: one each, the table of several, and of a graded block."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.design.homogenize import properties, remarks
from mmdiff.design.homogenize import report as homogenized
from mmdiff.design.homogenize.solution import Solver
from mmdiff.design.lattice.cell import Found
from mmdiff.io import page, plots
from mmdiff.io.cell_files import CellEntry, block_files
from mmdiff.io.report import Report

CONVENTIONS = properties.CONVENTIONS | {
    "lattice": "named family; parameter: level of an implicit function, half thickness "
    "of its sheet there, or radius in spacings with the rounding of the axis",
    "box": "level-set field at the corners of the voxels of a cell without mirror "
    "planes, in surface.npz: solid where it is positive",
}


def slug(name: str) -> str:
    """Return the name of a lattice as that of a folder or file."""
    return name.lower().replace(" ", "_").replace("-", "_")


def values_of(found: Found, solver: Solver) -> dict[str, Any]:
    """Return the content of properties.json of a lattice."""
    choice, analysis = found.choice, found.analysis
    said = remarks.remarks(
        choice.name, analysis.values, tol=solver.tol, maxiter=solver.maxiter
    )
    return {
        "file": choice.name,
        **analysis.values,
        **dataclasses.asdict(solver),
        "lattice": {**dataclasses.asdict(choice), "parameter": choice.parameter},
        "notes": list(dict.fromkeys([*analysis.notes, *said])),
    }


def of_one(found: Found, values: Mapping[str, Any]) -> Report:
    """Return the report of one lattice: that of a homogenized surface, and its mesh."""
    choice, analysis = found.choice, found.analysis
    base = homogenized.report(
        analysis.grid.cell,
        analysis.solution,
        values,
        values["notes"],
        psi=analysis.psi,
    )
    entry = CellEntry(
        name=slug(choice.name),
        label=choice.name,
        voxels=found.voxels,
        psi=analysis.psi,
        box=found.box,
    )
    arrays = base.arrays
    if found.box is not None:
        arrays = {"surface.npz": {"box": found.box.astype(np.float32)}}
    return dataclasses.replace(
        base,
        title=f"mmdiff: {choice.name}",
        conventions=CONVENTIONS,
        cells=[entry],
        views=(),
        arrays=arrays,
        page="index.html",
    )


def row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line of a lattice in a table."""
    doubt, printed = values["uncertainty"], values["printability"]
    size = {name: max(abs(values[name]), 1e-12) for name in elasticity.NAMES}
    worst = max(doubt[name] / size[name] for name in elasticity.NAMES)
    return {
        "": values["file"],
        "V": round(values["volume"], 4),
        **{name: values[name] for name in elasticity.NAMES},
        "+- %": round(100 * worst, 2),
        **{name: values[name] for name in ("E", "nu", "Zener")},
        **{name: round(share, 4) for name, share in values["HS"].items()},
        "wall mm": printed["wall"],
        "gap mm": printed["gap"],
        "trapped %": round(100 * printed["trapped"], 1),
    }


def summary(
    found: Sequence[tuple[Mapping[str, Any], np.ndarray]], notes: Sequence[str]
) -> Report:
    """Return the report of several lattices, from their values and voxels."""
    rows = [row(values) for values, _ in found]
    shares = {
        f"{name} / bound": [r[f"{name}/{name}_HS"] for r in rows] for name in "KGE"
    }
    names = [r[""] for r in rows]
    kinds = [name.split()[-1] for name in names]
    return Report(
        title=f"mmdiff: {len(rows)} lattices",
        values={"lattices": [values for values, _ in found], "notes": [*notes]},
        conventions=CONVENTIONS,
        tables={"Lattices": rows},
        views=[
            page.CellView(
                name,
                voxels,
                picture=f"{slug(name)}/{slug(name)}.png",
                files=[f"{slug(name)}/index.html"],
                caption=f"V {line['V']:.3f}, E {line['E']:.4g}",
            )
            for name, line, (_, voxels) in zip(names, rows, found, strict=True)
        ],
        rows={"lattices.csv": _named(rows)},
        files={
            "bounds.png": lambda path: plots.grouped_points(path, names, kinds, shares)
        },
        notes=notes,
        json="lattices.json",
    )


def _named(rows):
    """Return rows of a spreadsheet, whose first column has a title."""
    return [{key or "name": value for key, value in line.items()} for line in rows]


def of_block(
    name: str,
    values: Sequence[Mapping[str, Any]],
    field: np.ndarray,
    samples: int,
    size_mm: float,
) -> Report:
    """Return the report of a graded block, from the values of its layers."""
    stem = f"{slug(name)}_graded"
    files, voxels = block_files(stem, field, size_mm / (2 * samples))
    rows = [{**row(v), "": f"layer {i}"} for i, v in enumerate(values)]
    return Report(
        title=f"mmdiff: graded {name}",
        values={"layers": [*values], "volume_of_block": float(voxels.mean())},
        conventions=CONVENTIONS,
        tables={"Layers": rows},
        views=[page.CellView(stem, voxels, f"{stem}.png", [*files])],
        cell_size_mm=size_mm,
        rows={"layers.csv": _named(rows)},
        files=files,
        notes=list(dict.fromkeys(note for v in values for note in v["notes"])),
    )
