"""What is told of a list of targets: one row for each, a summary and a page.

All of it is read back from what lies in the folders of the targets, so that a run that
was stopped tells the same as one that was not. `is_done` says which targets are whole.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.design.generate import properties
from mmdiff.design.generate.report import KINDS
from mmdiff.io import page
from mmdiff.io import write as writers
from mmdiff.io.json import write_csv, write_json
from mmdiff.targets import quantities
from mmdiff.targets.target import Target

PICTURED = 24  # targets whose best cell stands on the page itself
HEADER = ("", "asked", "V", "got V", "raw %", "err %", "rel %", "cells")


def read_report(folder: pathlib.Path) -> dict | None:
    """Return the properties.json of a target's folder, None where it is not whole."""
    try:
        report = json.loads((folder / "properties.json").read_text("utf-8"))
        return report if isinstance(report["cells"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_done(folder: pathlib.Path, target: Target, base: float) -> bool:
    """Whether a folder holds the whole result of this very target.

    Args:
      folder: of the target; need not exist.
      target: what is asked, base E = 1.
      base: Young's modulus of the base material.
    """
    report = read_report(folder)
    # Through JSON, as the file is: numbers survive, tuples do not.
    asked = json.loads(json.dumps(properties.asked(target, base)))
    if report is None or report.get("target") != asked:
        return False
    # The page comes last; without cells there is none.
    files = [cell.get("file", "") for cell in report["cells"]]
    files += ["index.html"] if files else []
    return all((folder / name).is_file() for name in files)


def clear(folder: pathlib.Path) -> None:
    """Delete the cells of an earlier attempt: those of another target may be more."""
    for path in sorted(folder.glob("cell_*")):
        if path.suffix.removeprefix(".") in KINDS:
            path.unlink()


def row(name: str, report: Mapping) -> dict:
    """Return the line of a target in targets.csv; it may be given as a target again.

    Args:
      name: of the target and its folder.
      report: its properties.json.
    """
    asked = report["target"]
    line = {"name": name, **asked["asked"], "V": asked["volume"]}
    line["cells"] = len(report["cells"])
    if report["cells"]:
        best = report["cells"][0]
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
    told = {"targets": len(rows), "answered": sum(line["cells"] > 0 for line in rows)}
    for name in ("raw_error", "error", "relative_error"):
        values = [line[name] for line in rows if line["cells"]]
        told[f"{name}_mean"] = float(np.mean(values or np.nan))
        told[f"{name}_median"] = float(np.median(values or np.nan))
    return told


def table(rows: Sequence[Mapping]) -> list[list[str]]:
    """Return the rows of the table on terminal and page, columns as in `HEADER`."""
    lines = []
    for line in rows:
        asked = [
            f"{name} {line[name]:.4g}" for name in quantities.NAMES if name in line
        ]
        volume = "free" if line["V"] is None else f"{line['V']:.3f}"
        lines.append([line["name"], ", ".join(asked), volume])
        if line["cells"]:
            names = ("raw_error", "error", "relative_error")
            lines[-1] += [f"{line['got_V']:.3f}"]
            lines[-1] += [f"{100 * line[name]:.2f}" for name in names]
        else:
            lines[-1] += [""] * 4
        lines[-1].append(str(line["cells"]))
    return lines


def write(
    folder: pathlib.Path,
    rows: Sequence[Mapping],
    skipped: Sequence[Mapping],
    notes: Sequence[str] = (),
) -> dict:
    """Write targets.csv, summary.json and the page over the targets' folders.

    Args:
      folder: of the run, with a folder for each target.
      rows: see `row`.
      skipped: line, name and reason of targets that were left out.
      notes: paragraphs of the page.

    Returns:
      the summary.
    """
    summary = summarize(rows) | {"skipped": list(skipped)}
    write_csv(folder / "targets.csv", columns(rows))
    write_json(folder / "summary.json", {"summary": summary, "targets": list(rows)})
    views = []
    for line in [line for line in rows if line["cells"]][:PICTURED]:
        name = line["name"]
        cell = f"{name}/{properties.name_of(0)}"
        views.append(
            page.CellView(
                name,
                np.load(folder / f"{cell}.npy"),
                picture=f"{cell}.png",
                files=[f"{name}/index.html"],
                caption=f"error {100 * line['error']:.2f} %",
            )
        )
    links = [f"{line['name']}/index.html" for line in rows if line["cells"]]
    left_out = [
        f"Line {item['line']} ({item['name']}) was left out: {item['reason']}"
        for item in skipped
    ]
    text = page.page(
        views,
        title=f"mmdiff: cells for {len(rows)} targets",
        rows=[dict(zip(HEADER, line, strict=True)) for line in table(rows)],
        files=[*links, "targets.csv", "summary.json"],
        notes=[*left_out, *notes],
    )
    writers.write_bytes(folder / "index.html", text.encode())
    return summary
