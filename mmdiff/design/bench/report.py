"""The figures of a benchmark as a report, and the tables of it.

Columns have the names of the JSON file. The first one names the row, and None stands
where there is no value.
"""

import functools
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.design.bench.solver import REFERENCES, count_iterations
from mmdiff.io import plots
from mmdiff.io.report import Report

Rows = Sequence[Mapping[str, Any]]

GROUP = (
    "compile_s", "memory_MB", "recompiled", "reference_wall_s",
    "reference_wall_s_worst", "random_wall_s", "random_wall_s_worst",
    "iterations_median", "iterations_most", "unconverged",
)  # fmt: skip
CELL = ("wall_s", "cpu_s", "iterations", *elasticity.NAMES, "off_cubic")
BATCH = ("cells_per_s", "one_by_one_per_s")
STEP = ("step_s", "solve_s", "ratio", "batch_s", "one_by_one_s")
SHARD = ("cells_per_hour", "make", "mend", "label", "check", "overhead")
STAGE = ("cpu_s", "calls")
PEER = ("cpu_s", "setup_s", "iterations", "deviation", "status")


def report(values: Mapping[str, Any], notes: Sequence[str] = ()) -> Report:
    """Return the report of all figures, by name as in bench.json."""
    cells = values["cells"]
    points = functools.partial(
        plots.grouped_points,
        groups=[f"{row['symmetry']} {row['edge']}^3" for row in cells],
        labels=[r["cell"] if r["cell"] in REFERENCES else "random" for r in cells],
        panels={
            "wall seconds": [row["wall_s"] for row in cells],
            "iterations": [row["iterations"] for row in cells],
        },
    )
    return Report(
        title="Benchmark",
        values=values,
        tables=tables(values),
        rows={"bench.csv": cells} if cells else {},
        files={"bench.png": points} if cells else {},
        notes=notes,
        json="bench.json",
    )


def tables(values: Mapping[str, Any]) -> dict[str, Rows]:
    """Return the tables by heading, those without rows left out."""
    found = {
        "Cells": [*_cells(values["cells"])],
        "Batches": [
            _row(f"cubic {row['edge']}^3, batch {row['batch']}", row, BATCH)
            for row in values["batches"]
        ],
        "Design steps": [
            _row(f"{row['edge']}^3, {row['starts']} starts", _medians(row), STEP)
            for row in values["design"]
        ],
        "Labelled cells": [
            _row(f"{f['edge']}^3, {kind}, {f['workers']} workers", row, SHARD)
            for f in values["dataset"]
            for kind, row in f["kinds"].items()
        ],
        "Sampler": [{"": "shipped model"} | s for s in [values["sampler"]] if s],
        "Commands": [
            _row(row["command"], row, ("wall_s", "cpu_s")) for row in values["command"]
        ],
        "A generated cell": [*_stages(values["job"])],
        "Other packages": [*_peers(values)],
        "Other voids": [
            {"": f"cubic {edge}^3, void {void:g}"} | count_iterations(members)
            for (edge, void), members in _grouped(values["other_voids"], "edge", "void")
        ],
        "All cells of a size": [
            _row(f"{row['symmetry']} {row['edge']}^3", row, GROUP)
            for row in values["groups"]
        ],
    }
    return {heading: rows for heading, rows in found.items() if rows}


def _row(name: str, values: Mapping, keys: Sequence[str]) -> dict[str, Any]:
    return {"": name} | {key: values.get(key) for key in keys}


def _grouped(rows: Rows, *keys: str) -> ItemsView[tuple, list[Mapping]]:
    """Return the rows by their values of some keys, in order of first appearance."""
    groups: dict[tuple, list[Mapping]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups.items()


def _cells(cells: Rows) -> Iterator[dict]:
    """Yield rows of the reference cells and of the worst random one."""
    for (symmetry, edge), members in _grouped(cells, "symmetry", "edge"):
        shown = {row["cell"]: row for row in members if row["cell"] in REFERENCES}
        drawn = [row for row in members if row["cell"] not in REFERENCES]
        if drawn:
            worst = max(drawn, key=lambda row: row["wall_s"])
            shown[f"worst: {worst['cell']}"] = worst
        for name, row in shown.items():
            yield _row(f"{symmetry} {edge}^3 {name}", row, CELL)


def _stages(job: Mapping) -> Iterator[dict]:
    """Yield CPU seconds and calls for each cell, and what is done once."""
    if job:
        for row in job["stages"]:
            yield _row(row["stage"], row, STAGE)
        once = job["imports_cpu_s"] + job["programs_cpu_s"]
        yield _row("once: imports and programs", {"cpu_s": once}, STAGE)


def _medians(row: Mapping) -> dict[str, float]:
    return {name: float(np.median(value)) for name, value in row.items()}


def _peers(values: Mapping[str, Any]) -> Iterator[dict]:
    """Yield our periodic and cubic figures with those of the peers, by cell."""
    cells = dict(_grouped(values["cells"], "edge", "cell"))
    for (edge, name), peers in _grouped(values["peers"], "edge", "cell"):
        for row in [*cells[edge, name], *peers]:
            who = row.get("peer") or f"mmdiff {row['symmetry']}"
            yield _row(f"{name} {edge}^3 {who}", row, PEER)
