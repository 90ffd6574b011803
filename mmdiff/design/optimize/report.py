"""Report of an optimization: cells, tables, pictures and the history of all runs."""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff import elasticity
from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.optimize import figures, properties, ranking
from mmdiff.design.optimize.goal import Goal
from mmdiff.design.optimize.properties import CONVENTIONS, HEADER, Results
from mmdiff.design.optimize.ranking import Entry
from mmdiff.io import plots, render
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.json import plain, write_csv
from mmdiff.io.report import Report
from mmdiff.topopt.optimize import COLUMNS

_SETTINGS = ("resolution", "base_E", "base_nu", "void", "tol", "symmetry")
# Of properties.json, no columns of a table.
_NESTED = ("C", "uncertainty", "C_voxels", "printability", "on_finer_grids")
SPHERES = 3  # drawn, each takes half a second


def write_history(
    folder: pathlib.Path, entries: Sequence[Entry], goal: Goal, base: float, nu: float
) -> None:
    """Write history.csv and, where matplotlib is there, history.png of all runs.

    Stiffness is in units of Young's modulus of the base material. Starts without design
    steps are left out; where no others are, nothing is written.
    """
    entries = [entry for entry in entries if entry.outcome.steps]
    if not entries:
        return
    scale = dict.fromkeys(elasticity.NAMES, base)
    scale["value"] = base if goal.is_stiffness else 1.0
    rows, runs = [], {}
    for entry in sorted(entries, key=lambda entry: entry.start):
        columns = {k: v.astype(float) for k, v in entry.outcome.columns.items()}
        share = goal.score(columns["value"], columns["volume"], nu)
        runs[entry.run] = {**columns, "share": share}
        rows += [
            {"start": entry.start, "step": i + 1}
            | {name: scale.get(name, 1.0) * columns[name][i] for name in COLUMNS}
            for i in range(entry.outcome.steps)
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
    """Return the report of an optimization, with remarks about its results."""
    values = properties.values(results, remarks)
    settings = results.settings
    cells = [
        CellEntry(
            name=entry.name,
            label=entry.name.replace("_", " "),
            voxels=_voxels(entry, settings),
            psi=entry.outcome.psi,
            caption=f"start {entry.start}, V {entry.volume:.3f}, Zener "
            f"{known['Zener']:.3f}",
        )
        for entry, known in zip(results.chosen, results.numbers, strict=True)
    ]
    rows = [dict(zip(HEADER, row, strict=True)) for row in properties.table(results)]
    starts, flat = (
        [{**row, "flaws": "; ".join(row["flaws"])} for row in values[name]]
        for name in ("starts", "cells")
    )
    return Report(
        title=f"mmdiff: optimized for {results.goal.name}",
        values=values,
        conventions=CONVENTIONS,
        settings={key: settings[key] for key in _SETTINGS},
        tables={
            "Optimized cells and plate lattices of the same volume": rows,
            "Starts": [{k.replace("_", " "): v for k, v in s.items()} for s in starts],
        },
        cells=cells,
        cell_size_mm=settings["cell_size_mm"],
        arrays=_arrays(results, [cell.voxels for cell in cells]),
        rows={
            "properties.csv": [
                {key: value for key, value in cell.items() if key not in _NESTED}
                for cell in flat
            ]
        },
        files=_pictures(results, cells[0]),
        notes=[values["summary"], *remarks],
    )


def _voxels(entry: Entry, settings: Mapping) -> np.ndarray:
    """Return the whole binary cell as it is written."""
    octant = surface.voxels(entry.outcome.psi, settings["resolution"] // 2)
    return octant_to_cell(octant)


def _arrays(results: Results, voxels: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return density.npz, the best cell, and cells.npz."""
    base, best = results.settings["base_E"], results.chosen[0]
    outcomes = [entry.outcome for entry in results.chosen]
    names = ("density", "psi", "start", "residual", "volume")
    density = {
        **{name: getattr(best.outcome, name) for name in names},
        "cell": voxels[0],
        "constants": base * best.outcome.constants,
        "uncertainty": base * best.outcome.uncertainty,
        "settings": json.dumps(plain(results.settings["settings"])),
    }
    stacked = {
        name: np.stack([getattr(outcome, name) for outcome in outcomes])
        for name in ("psi", "constants", "uncertainty", "volume", "residual")
    }
    for name in ("constants", "uncertainty"):
        stacked[name] = base * stacked[name]
    return {"density.npz": density, "cells.npz": {"cells": np.stack(voxels), **stacked}}


def _pictures(results: Results, best: CellEntry) -> dict[str, Callable]:
    """Return what draws the pictures: the way of the best start, bounds, spheres."""
    goal, nu = results.goal, results.settings["base_nu"]
    entry = results.chosen[0]
    score = goal.score(float(entry.outcome.value), entry.volume, nu)
    last = f"surface: {goal.show(score)}"

    @functools.cache
    def frames():
        return _frames(entry, goal, results.settings)

    def strip(path):
        images, captions = frames()
        return plots.contact_sheet(path, [*images, best.image], [*captions, last])

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
    octant = surface.voxels(outcome.psi, outcome.psi.shape[0])
    left_out = render.cutaway(octant_to_cell(octant))
    images, captions = [], []
    for step, shot in zip(outcome.when, outcome.snapshots, strict=True):
        if step < 0:
            continue
        # Grey designs have nothing above one half at first: their densest part counts.
        line = outcome.history[max(step, 1) - 1].tolist()
        value, volume = line[COLUMNS.index("value")], line[COLUMNS.index("volume")]
        volume = volume if outcome.steps else float(shot.mean()) / 255
        shown = threshold_to_volume(shot.astype(float), volume, settings["symmetry"])
        images.append(render.render(octant_to_cell(shown), cutaway=left_out))
        score = goal.score(value, volume, settings["base_nu"])
        captions.append(f"step {step}: {goal.show(score)}" if step else "start")
    return images, captions
