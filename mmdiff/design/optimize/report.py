"""Report of an optimization: cells, tables, pictures and the history of all runs."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.optimize import figures, properties, ranking
from mmdiff.design.optimize.goal import Goal
from mmdiff.design.optimize.properties import CONVENTIONS, HEADER, Results
from mmdiff.design.optimize.ranking import DOUBLED, Entry
from mmdiff.io import plots, render
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.json import plain, write_csv
from mmdiff.io.report import Report
from mmdiff.topopt.optimize import COLUMNS

_SETTINGS = ("base_E", "base_nu", "void", "penal", "tol", "symmetry")
SPHERES = 3  # drawn, each takes half a second
_STIFF = ("C11", "C12", "C44")


def write_history(
    folder: pathlib.Path, entries: Sequence[Entry], goal: Goal, base: float, nu: float
) -> None:
    """Write history.csv and, where matplotlib is there, history.png of all runs.

    Args:
      folder: existing directory.
      entries: all runs.
      goal: objective and its score.
      base: Young's modulus of the base material.
      nu: its Poisson's ratio.
    """
    scale = dict.fromkeys(_STIFF, base)
    scale["value"] = base if goal.is_stiffness else 1.0
    rows, runs = [], {}
    for entry in sorted(entries, key=lambda entry: (entry.edge, entry.start)):
        lines = np.asarray(entry.outcome.history[: entry.outcome.steps], np.float64)
        columns = dict(zip(COLUMNS, lines.T, strict=True))
        share = goal.score(columns["value"], columns["volume"], nu)
        runs[entry.run] = {**columns, "share": share}
        known = {"start": entry.start, "resolution": entry.edge}
        rows += [
            {**known, "step": i + 1}
            | {name: scale.get(name, 1.0) * columns[name][i] for name in COLUMNS}
            for i in range(len(lines))
        ]
    write_csv(folder / "history.csv", rows)
    titles = {
        # Root mean square and not mean, see the conventions.
        "share": "distance to target" if goal.name == "target" else goal.label,
        "volume": "volume fraction",
        "violation": "worst constraint\n(met at 0)",
        "grey": "grey level",
    }
    best = ranking.ranked(entries)[0].run
    figures.history(folder / "history.png", runs, best, titles)


def report(results: Results, remarks: Sequence[str] = ()) -> Report:
    """Return the report of an optimization.

    Args:
      results: what was found.
      remarks: sentences about it.
    """
    values = properties.values(results, remarks)
    goal, settings = results.goal, results.settings
    pairs = zip(results.chosen, results.numbers, strict=True)
    cells = [_cell(entry, known["Zener"]) for entry, known in pairs]
    rows = [dict(zip(HEADER, row, strict=True)) for row in properties.table(results)]
    return Report(
        title=f"mmdiff: optimized for {goal.name}",
        values=values,
        conventions=CONVENTIONS,
        settings={key: settings[key] for key in _SETTINGS},
        tables={
            "Optimized cells and plate lattices of the same volume": rows,
            "Starts": [_start_row(start) for start in values["starts"]],
        },
        cells=cells,
        cell_size_mm=settings["cell_size_mm"],
        arrays=_arrays(results),
        rows={"properties.csv": [_flat(cell) for cell in values["cells"]]},
        files=_pictures(results, cells[0]),
        notes=[values["summary"], *remarks],
    )


def _cell(entry: Entry, zener: float) -> CellEntry:
    return CellEntry(
        name=entry.name,
        label=entry.name.replace("_", " "),
        voxels=octant_to_cell(entry.outcome.octant),
        caption=f"start {entry.start}, V {entry.volume:.3f}, Zener {zener:.3f}",
    )


def _arrays(results: Results) -> dict[str, Any]:
    """Return density.npz, the best cell, and cells.npz, all of the first resolution."""
    base, best = results.settings["base_E"], results.chosen[0]
    alike = [entry for entry in results.chosen if entry.name != DOUBLED]
    density = {
        "density": best.outcome.density,
        "octant": best.outcome.octant,
        "cell": octant_to_cell(best.outcome.octant),
        "start": best.outcome.start,
        "constants": base * best.outcome.constants,
        "volume": best.volume,
        "residual": best.outcome.residual,
        "resolution": best.edge,
        "settings": json.dumps(plain(results.settings["settings"])),
    }
    cells = {
        "cells": np.stack([octant_to_cell(entry.outcome.octant) for entry in alike]),
        "constants": base * np.stack([entry.outcome.constants for entry in alike]),
        "volume": np.array([entry.volume for entry in alike]),
        "residual": np.array([entry.outcome.residual for entry in alike]),
        "resolution": alike[0].edge,
    }
    return {"density.npz": density, "cells.npz": cells}


def _pictures(results: Results, best: CellEntry) -> dict[str, Any]:
    """Return what draws the pictures: the way of the best start, bounds, spheres."""
    goal, nu = results.goal, results.settings["base_nu"]
    entry = results.chosen[0]
    score = goal.score(float(entry.outcome.value), entry.volume, nu)
    last = f"binary: {goal.show(score)}"

    @functools.cache
    def frames():
        return _frames(entry, goal, results.settings)

    def strip(path):
        images, captions = frames()
        images, captions = [*images, best.image], [*captions, last]
        return plots.contact_sheet(path, images, captions, columns=4)

    def ends(path):
        images = [frames()[0][0], best.image]
        return plots.contact_sheet(path, images, [f"start {entry.start}", last])

    columns = ("K", "G", "E", "nu") if goal.name == "poisson" else ("K", "G", "E")
    tensors = [np.array(known["C"]) for known in results.numbers[:SPHERES]]
    labels = [e.name.replace("_", " ") for e in results.chosen[:SPHERES]]
    if goal.name == "target":
        tensors.insert(0, elasticity.cubic_to_voigt(np.asarray(goal.params)))
        labels.insert(0, "asked")
    return {
        "frames.png": strip,
        "before_after.png": ends,
        "bounds.png": lambda path: figures.bounds(
            path, results.numbers, results.plates, columns=columns, nu=nu
        ),
        "spheres.png": lambda path: plots.modulus_spheres(
            path, np.stack(tensors), labels
        ),
    }


def _frames(entry: Entry, goal: Goal, settings: Mapping) -> tuple[list, list[str]]:
    """Return pictures of the designs on the way of a start, and their captions."""
    outcome = entry.outcome
    left_out = render.cutaway(octant_to_cell(outcome.octant))
    images, captions = [], []
    for step, shot in zip(outcome.when, outcome.snapshots, strict=True):
        if step < 0:
            continue
        # Grey designs have nothing above one half at first: their densest part counts.
        line = dict(zip(COLUMNS, outcome.history[max(step, 1) - 1], strict=True))
        value, volume = float(line["value"]), float(line["volume"])
        shown = threshold_to_volume(shot.astype(float), volume, settings["symmetry"])
        images.append(render.render(octant_to_cell(shown), cutaway=left_out))
        score = goal.score(value, volume, settings["base_nu"])
        captions.append(f"step {step}: {goal.show(score)}" if step else "start")
    return images, captions


def _flat(cell: Mapping) -> dict:
    """Return a cell's row of properties.csv."""
    row = {key: value for key, value in cell.items() if key != "C"}
    return {**row, "flaws": "; ".join(cell["flaws"])}


def _start_row(start: Mapping) -> dict:
    """Return a row of the page's table of starts, with headings for people."""
    named = {key.replace("_", " "): value for key, value in start.items()}
    return {**named, "flaws": "; ".join(start["flaws"])}
