"""Report of a search for extreme cells: rows, properties, verdicts, cells, pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff.cells import grey, surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes import figures
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.design.generate.cell import RESOLUTION
from mmdiff.design.optimize import properties
from mmdiff.io import report as reports
from mmdiff.io.cell_files import CellEntry
from mmdiff.io.report import Report

HEADER = [
    "", "void, walls", "V", "value", "dataset", "generated", "random", "edge", "plates",
    "as they are", "variants", "best at 256^3", "median gen.", "median rand.", "solves",
]  # fmt: skip
_OF_STARTS = (
    "name", "kind", "source", "before value", "after value", "after V", "after Zener",
    "design_steps", "solutions", "similarity", "flaws",
)  # fmt: skip
CONVENTIONS = {
    **reports.CONVENTIONS,
    "bounds": properties.CONVENTIONS["bounds"],
    "value": "what a quest is about: nu of poisson, K/K_HS of bulk, G/G_HS of shear, "
    "E/E_HS of young",
    "before": "the start as a surface: of random starts their density at the level "
    "that gives the volume; of variants as decoded",
    "after": "the moved surface, of random starts that of their design; empty where a "
    "cell was not optimized",
    "best_on_finer_grids": "value of the best cell, extrapolated from grids of 128^3 "
    "and 256^3 elements",
    "void, walls": "what cells must comply with: open, void in one piece, or closed "
    "pores allowed; least width of walls and gaps in percent of the edge",
    "solves": "mean finite-element solutions of a generated and of a random start, all "
    "in all",
    "C": properties.CONVENTIONS["C"],
    "finite_elements": properties.CONVENTIONS["finite_elements"],
    "kinds": "edge: of the dataset; generated: by the diffusion model for their "
    "properties; random: smooth random densities; plates: plate lattices; variant: "
    "from noise near that of the best cell",
    "solutions": "finite-element solutions of two loads each: one per design step and "
    "one per look at a surface; solutions_of_start: those of the sampler's "
    "Newton steps and of the homogenization of samples, shared by the starts",
    "similarity": "share of voxels equal to the cell a variant was made of; a shift by "
    "half a period counts as the same",
    "kept": "variants with what was asked, nearly the value of the cell they were made "
    "of, and less alike than settings.alike to it and to each other",
    "median": "of the values after optimization; a start without the cell asked for "
    "counts as the worst",
    "psi": properties.CONVENTIONS["psi"],
    "arrays": "extremes.npz: the field psi of each, named quest_kind_number, and that "
    "of its start with _before",
}


def report(
    quests: Sequence[Quest],
    records: Sequence[Extreme],
    returned: Mapping[str, float | None],
    data: Dataset,
    settings: Mapping[str, Any],
) -> Report:
    """Return the report of a search.

    `returned` is by quest the share of voxels that come back from the noise; the
    settings are those of the run, with "cell_size_mm".
    """
    by_name = {quest.name: quest for quest in quests}
    rows = [row(by_name[record.quest], record) for record in records]
    known = {
        name: properties_of(quest, records, returned.get(name))
        for name, quest in by_name.items()
    }
    fields = {f"{r.name}_before": r.before.psi for r in records}
    fields |= {r.name: r.after.psi for r in records if r.after}
    size = settings["cell_size_mm"]
    best = [dict(zip(HEADER, line, strict=True)) for line in table(quests, records)]
    return Report(
        title="mmdiff: extreme cells",
        values={"quests": known, "cell_size_mm": size, "settings": settings},
        conventions=CONVENTIONS,
        tables={
            "Best cells of each quest": best,
            "What drainage and walls cost": limits_table(quests, records),
            "Starts": [
                {k.replace("_", " "): line[k] for k in _OF_STARTS} for line in rows
            ],
        },
        cells=_cells(quests, records),
        cell_size_mm=size,
        arrays={"extremes.npz": fields},
        rows={"extremes.csv": rows},
        files={
            "bounds.png": lambda path: figures.bounds(path, quests, records, data),
            "pairs.png": lambda path: figures.pairs(path, quests, records),
        },
        notes=[found["verdict"] for found in known.values()],
        json="extremes.json",
    )


def _cells(quests, records) -> list[CellEntry]:
    """Return the best cell of each quest."""
    found = []
    for quest in quests:
        record = extreme.best(quest, records)
        if record is None:
            continue
        known, psi = extreme.numbers(record.after), record.after.psi
        found.append(
            CellEntry(
                name=f"{quest.name}_best",
                label=f"{quest.aim}, {quest.terms}",
                voxels=octant_to_cell(surface.voxels(psi, RESOLUTION // 2)),
                psi=psi,
                caption=f"{extreme.shown(quest, record.after)}, V {known['V']:.3f},"
                f" Zener {known['Zener']:.3f}, from {record.name}",
            )
        )
    return found


def row(quest: Quest, record: Extreme) -> dict:
    """Return a start's row of extremes.csv."""
    names = ("name", "quest", "kind", "number", "source")
    line = {name: getattr(record, name) for name in names}
    for when, shape in (("before", record.before), ("after", record.after)):
        known = {} if shape is None else extreme.numbers(shape)
        line[f"{when} value"] = known.get(quest.goal.label)
        for name in extreme.numbers(record.before):
            line[f"{when} {name}"] = known.get(name)
    psi = record.after.psi if record.after else record.before.psi
    return line | {
        "design_resolution": 2 * psi.shape[0],
        "design_steps": record.steps,
        "solutions": record.solutions,
        "solutions_of_start": record.spent,
        "connected": not grey.connected(psi)[1],
        "similarity": record.similarity,
        "kept": record.kept if record.kind == "variant" else None,
        "flaws": "; ".join(record.flaws),
    }


def properties_of(
    quest: Quest, records: Sequence[Extreme], returned: float | None = None
) -> dict:
    """Return a quest's part of extremes.json; see `report`."""
    own = [record for record in records if record.quest == quest.name]
    kinds = {kind: [r for r in own if r.kind == kind] for kind in extreme.KINDS}
    done = {kind: [r for r in found if r.after] for kind, found in kinds.items()}
    done = {kind: found for kind, found in done.items() if found}
    best = {kind: extreme.best(quest, own, kind) for kind in extreme.KINDS}
    plain = extreme.textbook(quest, own)
    variants = [record for record in kinds["variant"] if record.is_good]
    return {
        "value": quest.goal.label,
        "volume": quest.volume,
        "void": quest.void,
        "min_wall": quest.printing.wall,
        "min_gap": quest.printing.gap,
        "isotropy": quest.limits.band if quest.is_isotropic else None,
        "min_E": None if quest.is_isotropic else quest.limits.young,
        "best": {
            kind: _brief(quest, record.name, record.after)
            for kind, record in best.items()
            if record
        },
        "best_on_finer_grids": _checked(quest, own),
        "dataset": _brief(quest, kinds["edge"][0].source, kinds["edge"][0].before),
        "plates_as_they_are": plain and _brief(quest, plain.source, plain.before),
        "median": {
            kind: extreme.median(quest, own, kind)
            for kind in ("edge", "generated", "random")
            if kind in done
        },
        "with_what_was_asked": {
            kind: f"{sum(r.is_good for r in found)} of {len(found)}"
            for kind, found in done.items()
        },
        "solutions_per_start": {
            kind: {
                "design_steps": float(np.mean([r.steps for r in found])),
                "design_and_refinement": float(np.mean([r.solutions for r in found])),
                "of_start": float(np.mean([r.spent for r in found])),
            }
            for kind, found in done.items()
        },
        "voxels_that_come_back": returned,
        "variants": {
            "kept": [record.name for record in variants if record.kept],
            "similarity": [record.similarity for record in variants],
        },
        "generated_beat_random": extreme.generated_win(quest, own),
        "verdict": verdict(quest, own),
    }


def _checked(quest, records) -> float | None:
    """Return the value of the best cell from finer grids, None if it is not known."""
    best = extreme.best(quest, records)
    return best and best.checked and extreme.score(quest, best.checked)


def _brief(quest, name, shape: Shape) -> dict:
    return {"name": name, "value": extreme.score(quest, shape), "V": shape.volume}


def verdict(quest: Quest, records: Sequence[Extreme]) -> str:
    """Return in a sentence whether generated starts beat random ones."""
    kinds, win = ("generated", "random"), extreme.generated_win(quest, records)
    medians = (extreme.median(quest, records, kind) for kind in kinds)
    one, other = ("no cell" if m is None else f"{m:.3f}" for m in medians)
    if win is None:
        return (
            f"{quest.aim}, {quest.terms}: most starts failed, generated and random "
            "ones alike."
        )
    better = "better" if win else "no better"
    return (
        f"{quest.aim}, {quest.terms}: generated starts are {better} than "
        f"random ones (median {quest.goal.label} {one} against {other})."
    )


def table(quests: Sequence[Quest], records: Sequence[Extreme]) -> list[list]:
    """Return the rows of the table on the terminal, columns as in `HEADER`."""
    rows = []
    for quest in quests:
        known = properties_of(quest, records)
        best = {kind: cell["value"] for kind, cell in known["best"].items()}
        plain = known["plates_as_they_are"]
        found = [
            known["dataset"]["value"],
            *(best.get(kind) for kind in ("generated", "random", "edge", "plates")),
            plain and plain["value"],
            best.get("variant"),
            known["best_on_finer_grids"],
            *(known["median"].get(kind) for kind in ("generated", "random")),
        ]
        shown = [None if number is None else f"{number:.4f}" for number in found]
        spent = known["solutions_per_start"]
        costs = [
            f"{spent[kind]['design_and_refinement'] + spent[kind]['of_start']:.0f}"
            for kind in ("generated", "random")
            if kind in spent
        ]
        head = [quest.aim, quest.terms, f"{quest.volume:g}", quest.goal.label]
        rows.append([*head, *shown, " / ".join(costs)])
    return rows


def limits_table(quests: Sequence[Quest], records: Sequence[Extreme]) -> list[dict]:
    """Return the best values by what is asked of void and walls, a row for each aim."""
    rows = {}
    for quest in quests:
        head = f"{quest.aim}, V {quest.volume:g}, {quest.goal.label}"
        # What complies with more complies with less.
        stricter = [q for q in quests if q.aim == quest.aim and q.covers(quest)]
        best = [b for q in stricter if (b := extreme.best(q, records))]
        found = [(extreme.score(quest, b.after), b.kind) for b in best]
        top = max(found, key=lambda one: quest.merit(one[0]), default=None)
        text = top and f"{top[0]:.4f} ({top[1]})"
        rows.setdefault(head, {"": head})[quest.terms] = text
    return list(rows.values())
