"""Cells for a list of targets: a folder for each, a table, a summary and a page.

A target is done when its folder holds the whole result of that very target, so that a
list that was stopped, edited or extended goes on with what is not. Table, summary and
page are made of what lies in the folders.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mmdiff.design.generate import pipeline, properties
from mmdiff.design.generate.cell import Cell
from mmdiff.errors import InputError
from mmdiff.io import page
from mmdiff.io import report as reports
from mmdiff.io.cell_files import KINDS
from mmdiff.io.json import plain
from mmdiff.io.report import Report
from mmdiff.run import console, workdir
from mmdiff.targets import quantities, table
from mmdiff.targets.table import Line
from mmdiff.targets.target import Target

PICTURED = 24  # targets whose best cell stands on the page itself
HEADER = ("", "asked", "V", "got V", "raw %", "err %", "rel %", "cells")

# (target, key, start) -> its cells, the counts of samples, and their report
Make = Callable[..., tuple[list[Cell], Mapping[str, int], Report]]


def read(
    path: str | os.PathLike,
    folder: pathlib.Path,
    *,
    base: float = 1.0,
    allow_infeasible: bool = False,
    skip_bad: bool = False,
) -> tuple[list[Line], list[Line]]:
    """Return the lines of a list to work on, and those that are left out.

    Args:
      path: CSV file, see `mmdiff.targets.table`.
      folder: of the run.
      base: Young's modulus of the base material, in the units of the list.
      allow_infeasible: take also targets beyond the bounds of elasticity.
      skip_bad: leave out lines that cannot be used, which is noted.

    Raises:
      InputError: a line that cannot be used, no line at all, or a list that the table
        of the run would replace.
    """
    path = pathlib.Path(path)
    if path.resolve() == (folder / "targets.csv").resolve():
        raise InputError(
            f"targets={path} is where the summary of this run goes. Rename the list, "
            "or choose another --workdir."
        )
    lines = table.read(path, base=base)
    lines = table.check(lines, allow_infeasible=allow_infeasible)
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


def run(
    folder: pathlib.Path,
    lines: Sequence[Line],
    make_maker: Callable[[], Make],
    *,
    seed: int = 0,
    base: float = 1.0,
) -> None:
    """Make and write the cells of each target that is not done.

    Args:
      folder: of the run; each target has a folder of its own there.
      lines: targets with names.
      make_maker: returns `(target, key, start) -> cells, counts, report`; called once,
        where a target is left to do. The key is that of the line's place in the list.
      seed: of the samples.
      base: Young's modulus of the base material.
    """
    make, key = None, jax.random.key(seed)
    for line in lines:
        place = folder / line.name
        if is_done(place, line.target, base):
            continue
        start = time.monotonic()
        make = make or make_maker()
        key_of_line = jax.random.fold_in(key, line.index)
        cells, counts, report = make(line.target, key_of_line, start)
        clear(place)
        for text in reports.write(place, report):
            console.note(text)
        found = pipeline.no_cell(counts)
        if cells:
            best = 100 * cells[0].error
            found = f"best of {len(cells)} {best:.2f} % from the target."
        seconds = time.monotonic() - start
        workdir.append_metrics(folder, {"target": line.name, "seconds": seconds})
        console.say(f"{line.name} ({seconds:.1f} s): {found}")


def is_whole(
    folder: pathlib.Path,
    path: str | os.PathLike,
    *,
    base: float = 1.0,
    allow_infeasible: bool = False,
) -> bool:
    """Whether every target of a list is done; one whose file is gone counts as whole.

    Args:
      folder: of the run.
      path: CSV file of the list, which may have grown since.
      base: Young's modulus of the base material.
      allow_infeasible: see `read`.
    """
    try:
        lines = table.read(path, base=base)
    except InputError:
        return True
    lines = table.check(lines, allow_infeasible=allow_infeasible)
    return all(
        line.problem or is_done(folder / line.name, line.target, base) for line in lines
    )


def is_done(folder: pathlib.Path, target: Target, base: float) -> bool:
    """Whether a folder holds the whole result of this very target.

    Args:
      folder: of the target; need not exist.
      target: with base E = 1.
      base: Young's modulus of the base material.
    """
    values = read_values(folder)
    request = plain(properties.request(target, base))
    if values is None or values.get("target") != request:
        return False
    files = [*(cell.get("file", "") for cell in values["cells"]), "index.html"]
    return all((folder / name).is_file() for name in files)


def read_values(folder: pathlib.Path) -> dict | None:
    """Return the properties.json of a target's folder, None where it is not whole."""
    try:
        values = json.loads((folder / "properties.json").read_text("utf-8"))
        return values if isinstance(values["cells"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear(folder: pathlib.Path) -> None:
    """Delete cells and page of an earlier attempt, whose target may have had more."""
    for path in sorted(folder.glob("cell_*")):
        if path.suffix.removeprefix(".") in KINDS:
            path.unlink()
    (folder / "index.html").unlink(missing_ok=True)


def row(name: str, values: Mapping) -> dict:
    """Return the line of a target in targets.csv; it may be given as a target again.

    Args:
      name: of the target and its folder.
      values: its properties.json.
    """
    target = values["target"]
    line = {"name": name, **target["asked"], "V": target["volume"]}
    line["cells"] = len(values["cells"])
    if values["cells"]:
        best = values["cells"][0]
        line |= {key: best[key] for key in ("error", "raw_error", "relative_error")}
        kept = {**best, "V": best["volume"], "zener": best["Zener"]}
        line |= {f"got_{key}": kept[key] for key in (*quantities.NAMES, "V")}
    return line


def columns(rows: Sequence[Mapping]) -> list[dict]:
    """Return the rows with all columns of any of them, in one order."""
    order = ("name", *quantities.NAMES, "V", "cells")
    order += ("error", "raw_error", "relative_error")
    order += tuple(f"got_{key}" for key in (*quantities.NAMES, "V"))
    used = [key for key in order if any(key in line for line in rows)]
    return [{key: line.get(key) for key in used} for line in rows]


def summarize(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return means and medians over the best cells, and how many targets have any."""
    summary = {
        "targets": len(rows),
        "answered": sum(line["cells"] > 0 for line in rows),
    }
    for name in ("raw_error", "error", "relative_error"):
        values = [line[name] for line in rows if line["cells"]]
        summary[f"{name}_mean"] = float(np.mean(values or np.nan))
        summary[f"{name}_median"] = float(np.median(values or np.nan))
    return summary


def overview(rows: Sequence[Mapping]) -> list[list[str]]:
    """Return the rows of the table on terminal and page, columns as in `HEADER`."""
    lines = []
    for line in rows:
        asked = [f"{k} {line[k]:.4g}" for k in quantities.NAMES if k in line]
        volume = "free" if line["V"] is None else f"{line['V']:.3f}"
        got = [""] * 4
        if line["cells"]:
            names = ("raw_error", "error", "relative_error")
            got = [f"{line['got_V']:.3f}", *(f"{100 * line[k]:.2f}" for k in names)]
        cells = str(line["cells"])
        lines.append([line["name"], ", ".join(asked), volume, *got, cells])
    return lines


def report(
    folder: pathlib.Path, lines: Sequence[Line], skipped: Sequence[Line] = ()
) -> Report:
    """Return the report of a list of targets from what lies in their folders.

    Args:
      folder: of the run.
      lines: the targets, all of them done.
      skipped: lines that were left out.
    """
    rows = [row(line.name, read_values(folder / line.name)) for line in lines]
    left_out = [
        {"line": line.number, "name": line.name, "reason": line.problem}
        for line in skipped
    ]
    summary = summarize(rows) | {"skipped": left_out}
    shown = [line for line in rows if line["cells"]][:PICTURED]
    texts = [dict(zip(HEADER, line, strict=True)) for line in overview(rows)]
    return Report(
        title=f"mmdiff: cells for {len(rows)} targets",
        values={"summary": summary, "targets": rows},
        conventions=properties.CONVENTIONS,
        tables={"Asked and got": texts},
        views=[_view(folder, line["name"], line["error"]) for line in shown],
        rows={"targets.csv": columns(rows)},
        notes=[
            f"Line {line.number} ({line.name}) was left out: {line.problem}"
            for line in skipped
        ],
        json="summary.json",
    )


def _view(folder, name, error):
    """Return the best cell of a target for the page of all."""
    cell = f"{name}/{properties.name_of(0)}"
    return page.CellView(
        name,
        np.load(folder / f"{cell}.npy"),
        picture=f"{cell}.png",
        files=[f"{name}/index.html"],
        caption=f"error {100 * error:.2f} %",
    )
