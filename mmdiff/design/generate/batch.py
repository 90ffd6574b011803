"""Cells for a list of targets: a folder for each, a table, a summary and a page.

Targets are units of work for all cores. One is done when its folder holds the whole
result of that very target, so that a list that was stopped, edited or extended goes on
with what is not. Table, summary and page are made of what lies in the folders.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mmdiff import elasticity
from mmdiff.design.generate import apart, pipeline, properties, report
from mmdiff.design.generate.cell import Cell
from mmdiff.errors import InputError
from mmdiff.io import page
from mmdiff.io import report as reports
from mmdiff.io.cell_files import KINDS
from mmdiff.io.json import plain
from mmdiff.io.report import Report
from mmdiff.models import weights
from mmdiff.run import console, manifest, workdir, workers
from mmdiff.targets import quantities, table
from mmdiff.targets.table import Line
from mmdiff.targets.target import Target

PICTURED = 24  # targets whose best cell stands on the page itself
TARGETS = (*quantities.NAMES, "V")
ERRORS = ("error", "raw_error", "relative_error")

# (target, key, start) -> its cells, the counts of samples, and their report
Make = Callable[..., tuple[list[Cell], Mapping[str, int], Report]]


def read(
    path: str | os.PathLike,
    folder: pathlib.Path,
    *,
    base: float = 1.0,
    nu: float = elasticity.NU,
    allow_infeasible: bool = False,
    skip_bad: bool = False,
) -> tuple[list[Line], list[Line]]:
    """Return the lines of a list to work on, and those that are left out.

    The list must not lie where the table of the run goes; `base` is Young's modulus of
    the base material in its units, `nu` its Poisson's ratio. Lines that cannot be used
    are refused, or left out and noted if `skip_bad`.
    """
    path = pathlib.Path(path)
    if path.resolve() == (folder / "targets.csv").resolve():
        raise InputError(
            f"targets={path} is where the summary of this run goes. Rename the list, "
            "or choose another --workdir."
        )
    lines = table.read(path, base=base)
    lines = table.check(lines, nu=nu, allow_infeasible=allow_infeasible)
    bad = [line for line in lines if line.problem]
    if not skip_bad:
        table.refuse(bad, path, ", or leave such lines out with `skip_bad=True`")
    for line in bad:
        console.note(f"line {line.number} of {path} is left out: {line.problem}")
    good = [line for line in lines if not line.problem]
    if not good:
        raise InputError(
            f"{path} has no target to work on. Give one or more in lines below the "
            "header."
        )
    return good, bad


def settings_of(values: Mapping) -> pipeline.Settings:
    """Return the settings of the values of configs/generate.py."""
    nu = values["base"]["nu"]
    return pipeline.settings_of({**values, **values["solver"], "nu": nu})


def make_maker(values: Mapping, run: workers.Run | None = None) -> Make:
    """Return the function that makes the cells of a target as configured.

    The values are those of configs/generate.py; `run` see `apart.make_generate`.
    """
    settings = settings_of(values)
    count = {"num_cells": values["num_best"], "num_samples": values["num_samples"]}
    known = weights.load_model(values["checkpoint"]), settings
    if run is None:
        make = pipeline.make_generate(*known, **count)
    else:
        make = apart.make_generate(run, *known, **count)
    stated = {
        "void": settings.void,
        "tol": settings.tol,
        "base_E": values["base"]["E"],
        "base_nu": settings.nu,
        "cell_size_mm": values["cell_size_mm"],
    }

    def make_report(asked, key, start):
        cells, counts, distance = make(asked, key, start)
        provenance = {"training_distance": distance, "counts": counts}
        return cells, counts, report.report(asked, cells, stated | provenance)

    return make_report


def make_unit(
    folder: pathlib.Path, values: Mapping, make_maker: Callable[..., Make] = make_maker
) -> Callable[[Line], float]:
    """Return the function that makes and writes the cells of a line, in its folder.

    What it returns are the seconds that it took.
    """
    make, key = make_maker(values), jax.random.key(values["seed"])

    def unit(line):
        start = time.monotonic()
        own = jax.random.fold_in(key, line.index)
        cells, counts, found = make(line.target, own, start)
        clear(folder / line.name)
        for text in reports.write(folder / line.name, found):
            console.note(text)
        manifest.seal(folder / line.name)
        result = pipeline.no_cell(counts)
        if cells:
            best = 100 * cells[0].error
            result = f"best of {len(cells)} {best:.2f} % from the target."
        seconds = time.monotonic() - start
        console.say(f"{line.name} ({seconds:.1f} s): {result}")
        return seconds

    return unit


def run(
    folder: pathlib.Path,
    lines: Sequence[Line],
    prepare: Callable[[], Callable[[Line], float]],
    *,
    base: float = 1.0,
    processes: int = 0,
) -> None:
    """Make and write the cells of each target that is not done.

    Each target has a folder of its own in that of the run, and a key that depends on
    the place of its line. `prepare` returns the function of a process for it, see
    `make_unit`; 0 processes are one on every core.
    """
    left = [
        (line,) for line in lines if not is_done(folder / line.name, line.target, base)
    ]
    for i, seconds in workers.run_units(prepare, left, workers=processes):
        (line,) = left[i]
        workdir.append_metrics(folder, {"target": line.name, "seconds": seconds})


def is_done(folder: pathlib.Path, target: Target, base: float) -> bool:
    """Whether a folder holds the whole result of this very target."""
    if not manifest.is_whole(folder):
        return False
    return read_values(folder)["target"] == plain(properties.request(target, base))


def read_values(folder: pathlib.Path) -> dict:
    """Return the properties.json of a target's folder."""
    return json.loads((folder / "properties.json").read_text("utf-8"))


def clear(folder: pathlib.Path) -> None:
    """Delete cells and page of an earlier attempt, whose target may have had more."""
    known = ("index.html", manifest.NAME)
    for path in [*folder.glob("cell_*"), *map(folder.joinpath, known)]:
        if path.suffix[1:] in KINDS or path.name in known:
            path.unlink(missing_ok=True)


def row(name: str, values: Mapping) -> dict:
    """Return the line of a target in targets.csv from its properties.json."""
    target, count = values["target"], len(values["cells"])
    line = {"name": name, **target["asked"], "V": target["volume"], "cells": count}
    if count:
        best = values["cells"][0]
        line |= {key: best[key] for key in ERRORS}
        kept = {**best, "V": best["volume"], "zener": best["Zener"]}
        line |= {f"got_{key}": kept[key] for key in TARGETS}
    return line


def columns(rows: Sequence[Mapping]) -> list[dict]:
    """Return rows with all columns of any of them, in one order."""
    order = ["name", *TARGETS, "cells", *ERRORS, *(f"got_{key}" for key in TARGETS)]
    used = [key for key in order if any(key in line for line in rows)]
    return [{key: line.get(key) for key in used} for line in rows]


def summarize(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return means and medians over the best cells, and how many targets have any."""
    answered = [line for line in rows if line["cells"]]
    summary = {"targets": len(rows), "answered": len(answered)}
    for name in ERRORS:
        values = [line[name] for line in answered] or np.nan
        summary[f"{name}_mean"] = float(np.mean(values))
        summary[f"{name}_median"] = float(np.median(values))
    return summary


def overview(line: Mapping) -> dict[str, str]:
    """Return the row of a target in the table on terminal and page."""
    asked = [f"{k} {line[k]:.4g}" for k in quantities.NAMES if k in line]
    percent = {k: f"{100 * line[k]:.2f}" if line["cells"] else "" for k in ERRORS}
    return {
        "": line["name"],
        "asked": ", ".join(asked),
        "V": "free" if line["V"] is None else f"{line['V']:.3f}",
        "got V": f"{line['got_V']:.3f}" if line["cells"] else "",
        "raw %": percent["raw_error"],
        "err %": percent["error"],
        "rel %": percent["relative_error"],
        "cells": str(line["cells"]),
    }


def summary_report(
    folder: pathlib.Path, lines: Sequence[Line], skipped: Sequence[Line] = ()
) -> Report:
    """Return the report of a list whose targets are done, from what lies in the folder.

    The `skipped` lines were left out.
    """
    rows = [row(line.name, read_values(folder / line.name)) for line in lines]
    left_out = [
        {"line": line.number, "name": line.name, "reason": line.problem}
        for line in skipped
    ]
    best = properties.name_of(0)
    shown = [line for line in rows if line["cells"]][:PICTURED]
    return Report(
        title=f"mmdiff: cells for {len(rows)} targets",
        values={"summary": summarize(rows) | {"skipped": left_out}, "targets": rows},
        conventions=properties.CONVENTIONS,
        tables={"Asked and got": [overview(line) for line in rows]},
        views=[
            page.CellView(
                line["name"],
                np.load(folder / line["name"] / f"{best}.npy"),
                picture=f"{line['name']}/{best}.png",
                files=[f"{line['name']}/index.html"],
                caption=f"error {100 * line['error']:.2f} %",
            )
            for line in shown
        ],
        rows={"targets.csv": columns(rows)},
        notes=[
            "Line {line} ({name}) was left out: {reason}".format(**line)
            for line in left_out
        ],
        json="summary.json",
    )
