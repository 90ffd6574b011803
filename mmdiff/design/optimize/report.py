"""Write what an optimization found: histories, pictures, cells, tables and a page."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.generate import report as deliver
from mmdiff.design.optimize import figures, properties
from mmdiff.design.optimize.goal import Goal
from mmdiff.design.optimize.ranking import DOUBLED, Entry
from mmdiff.io import page, plots, render
from mmdiff.io import write as writers
from mmdiff.io.json import plain, write_csv, write_json
from mmdiff.run import console
from mmdiff.topopt.optimize import COLUMNS

_SETTINGS = ("base_E", "base_nu", "void", "penal", "symmetry")
SPHERES = 3  # drawn, each takes half a second
_STIFF = ("C11", "C12", "C44")


def write_history(
    folder: pathlib.Path, entries: Sequence[Entry], goal: Goal, settings: Mapping
) -> None:
    """Write history.csv and history.png of all runs, the best one first.

    Args:
      folder: existing directory.
      entries: all runs; the first is drawn in front.
      goal: what was asked.
      settings: with "base_E" and "base_nu".
    """
    scale = {name: settings["base_E"] for name in _STIFF}
    scale["value"] = settings["base_E"] if goal.is_stiffness else 1.0
    rows, runs = [], {}
    for entry in entries:
        lines = np.asarray(entry.outcome.history[: entry.outcome.steps], np.float64)
        columns = dict(zip(COLUMNS, lines.T, strict=True))
        share = goal.score(columns["value"], columns["volume"], settings["base_nu"])
        runs[entry.run] = {**columns, "share": share}
        scaled = {
            name: scale.get(name, 1.0) * values for name, values in columns.items()
        }
        rows += [
            {"start": entry.start, "resolution": entry.edge, "step": i + 1}
            | {name: float(values[i]) for name, values in scaled.items()}
            for i in range(len(lines))
        ]
    order = sorted(rows, key=lambda row: (row["resolution"], row["start"], row["step"]))
    write_csv(folder / "history.csv", order)
    titles = {
        # Root mean square and not mean, see the conventions.
        "share": "distance to target" if goal.name == "target" else goal.label,
        "volume": "volume fraction",
        "violation": "worst constraint\n(met at 0)",
        "grey": "grey level",
    }
    best = entries[0].run
    if not figures.history(folder / "history.png", runs, best, titles):
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")


def write(
    folder: pathlib.Path,
    entries: Sequence[Entry],
    facts: Sequence[Mapping],
    plates: Mapping[str, Mapping],
    report: Mapping,
    goal: Goal,
) -> None:
    """Write the files of the cells; index.html comes last.

    Args:
      folder: existing directory.
      entries: cells to write, best first.
      facts: `optimized.numbers` of each.
      plates: `optimized.numbers` of textbook lattices by name.
      report: content of properties.json, see `optimized.report`, and "remarks".
      goal: what was asked.
    """
    views, images = [], []
    for entry, known in zip(entries, facts, strict=True):
        voxels = octant_to_cell(entry.outcome.octant)
        images.append(deliver.write_cell(folder, entry.name, voxels, report))
        caption = f"start {entry.start}, V {entry.volume:.3f}"
        views.append(
            page.CellView(
                entry.name.replace("_", " "),
                voxels,
                picture=f"{entry.name}.png",
                files=[f"{entry.name}.{kind}" for kind in deliver.KINDS],
                caption=f"{caption}, Zener {known['Zener']:.3f}",
            )
        )
    _write_arrays(folder, entries, report)
    _write_frames(folder, entries[0], images[0], goal, report)
    _write_bounds(folder, entries, facts, plates, report, goal)
    write_json(folder / "properties.json", report)
    write_csv(
        folder / "properties.csv",
        [
            {
                **{key: value for key, value in cell.items() if key != "C"},
                "flaws": "; ".join(cell["flaws"]),
                **{key: report[key] for key in _SETTINGS},
            }
            for cell in report["cells"]
        ],
    )
    _write_page(folder, views, entries, facts, plates, report, goal)


def _write_arrays(folder, entries, report) -> None:
    """Write cells.npz, all cells of the first resolution, and density.npz, the best."""
    stated = {key: report[key] for key in _SETTINGS}
    stated["conventions"] = "; ".join(
        f"{key}: {text}" for key, text in report["conventions"].items()
    )
    base = report["base_E"]
    best, *_ = entries
    np.savez_compressed(
        folder / "density.npz",
        density=best.outcome.density,
        octant=best.outcome.octant,
        cell=octant_to_cell(best.outcome.octant),
        start=best.outcome.start,
        constants=base * best.outcome.constants,
        volume=best.volume,
        residual=best.outcome.residual,
        resolution=best.edge,
        settings=json.dumps(plain(report["settings"])),
        **stated,
    )
    alike = [entry for entry in entries if entry.name != DOUBLED]
    np.savez_compressed(
        folder / "cells.npz",
        cells=np.stack([octant_to_cell(entry.outcome.octant) for entry in alike]),
        constants=base * np.stack([entry.outcome.constants for entry in alike]),
        volume=np.array([entry.volume for entry in alike]),
        residual=np.array([entry.outcome.residual for entry in alike]),
        resolution=alike[0].edge,
        **stated,
    )


def _write_frames(folder, entry, final, goal, report) -> None:
    """Write the strip of the best start's development, and its two ends."""
    outcome = entry.outcome
    left_out = render.cutaway(octant_to_cell(outcome.octant))
    images, captions = [], []
    for step, shot in zip(outcome.when, outcome.snapshots, strict=True):
        if step < 0:
            continue
        # Grey designs have nothing above one half at first: their densest part counts.
        volume = float(outcome.history[max(step, 1) - 1, COLUMNS.index("volume")])
        shown = threshold_to_volume(shot.astype(float), volume, report["symmetry"])
        images.append(render.render(octant_to_cell(shown), cutaway=left_out))
        if step == 0:
            captions.append("start")
            continue
        line = dict(zip(COLUMNS, outcome.history[step - 1].astype(float), strict=True))
        score = goal.score(line["value"], line["volume"], report["base_nu"])
        captions.append(f"step {step}: {goal.show(score)}")
    score = goal.score(float(outcome.value), entry.volume, report["base_nu"])
    said = f"binary: {goal.show(score)}"
    plots.contact_sheet(
        folder / "frames.png", [*images, final], [*captions, said], columns=4
    )
    plots.contact_sheet(
        folder / "before_after.png", [images[0], final], [f"start {entry.start}", said]
    )


def _write_bounds(folder, entries, facts, plates, report, goal) -> None:
    columns = ("K", "G", "E", "nu") if goal.name == "poisson" else ("K", "G", "E")
    figures.bounds(
        folder / "bounds.png", facts, plates, columns=columns, nu=report["base_nu"]
    )
    tensors = [np.array(known["C"]) for known in facts[:SPHERES]]
    labels = [entry.name.replace("_", " ") for entry in entries[:SPHERES]]
    if goal.name == "target":
        tensors.insert(0, elasticity.cubic_to_voigt(np.asarray(goal.params)))
        labels.insert(0, "asked")
    plots.modulus_spheres(folder / "spheres.png", np.stack(tensors), labels)


def table(
    entries: Sequence[Entry],
    facts: Sequence[Mapping],
    plates: Mapping[str, Mapping],
) -> list[list]:
    """Return the rows of the final table, columns as in `optimized.HEADER`."""
    rows = [
        properties.table_row(entry.name.replace("_", " "), known)
        for entry, known in zip(entries, facts, strict=True)
    ]
    return rows + [
        properties.table_row(f"plates: {name}", known) for name, known in plates.items()
    ]


def _write_page(folder, views, entries, facts, plates, report, goal) -> None:
    rows = [
        dict(zip(properties.HEADER, row, strict=True))
        for row in table(entries, facts, plates)
    ]
    notes = [
        report["summary"],
        *report["remarks"],
        f"Base material E = {report['base_E']:g}, nu = {report['base_nu']:g}; void "
        f"stiffness {report['void']:g} of the solid; cell edge "
        f"{report['cell_size_mm']:g} mm; relative residual of the finite elements at "
        f"most {report['tol']:g}.",
        *(f"{name}: {text}." for name, text in report["conventions"].items()),
    ]
    text = page.page(
        views,
        title=f"mmdiff: optimized for {goal.name}",
        rows=rows,
        heading="Optimized cells and plate lattices of the same volume",
        tables={"Starts": [_start_row(start) for start in report["starts"]]},
        files=page.list_files(folder),
        notes=notes,
    )
    writers.write_bytes(folder / "index.html", text.encode())


def _start_row(start) -> dict:
    """Return a row of the page's table of starts, with headings for people."""
    named = {key.replace("_", " "): value for key, value in start.items()}
    return {**named, "flaws": "; ".join(start["flaws"])}
