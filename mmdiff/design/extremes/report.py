"""Write what a search for extreme cells found: arrays, pictures, cells and a page."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.extremes import figures, summary
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Quest
from mmdiff.design.generate import report as deliver
from mmdiff.io import page, plots, render
from mmdiff.io import write as writers
from mmdiff.io.json import write_csv, write_json
from mmdiff.run import console


def write(
    folder: pathlib.Path,
    quests: Sequence[Quest],
    records: Sequence[Extreme],
    returned: Mapping[str, float],
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
    settings: Mapping,
) -> None:
    """Write extremes.{csv,json,npz}, pictures, the best cells, and index.html last.

    Args:
      folder: existing directory.
      quests: what was asked.
      records: all starts.
      returned: by quest, share of voxels that come back from the noise.
      data: octants, constants and volumes of the dataset.
      settings: of the run, with "cell_size_mm".
    """
    by_name = {quest.name: quest for quest in quests}
    lines = [summary.row(by_name[record.quest], record) for record in records]
    facts = {
        quest.name: summary.summary(quest, records, returned.get(quest.name))
        for quest in quests
    }
    write_csv(folder / "extremes.csv", lines)
    arrays = {f"{r.name}_before": r.before.octant for r in records}
    arrays |= {r.name: r.after.octant for r in records if r.after}
    np.savez_compressed(folder / "extremes.npz", **arrays)
    report = {
        "conventions": summary.CONVENTIONS,
        "cell_size_mm": settings["cell_size_mm"],
    }
    views = _write_cells(folder, quests, records, report)
    drawn = figures.bounds(
        folder / "bounds.png", [_panel(quest, records, data) for quest in quests]
    )
    drawn &= _write_pairs(folder, quests, records)
    if not drawn:
        console.note("plots need matplotlib: pip install 'mmdiff[viz]'.")
    write_json(
        folder / "extremes.json", {"quests": facts, **report, "settings": settings}
    )
    rows = [
        dict(zip(summary.HEADER, known, strict=True))
        for known in summary.table(quests, records)
    ]
    text = page.page(
        views,
        title="mmdiff: extreme cells",
        rows=rows,
        heading="Best cells of each quest",
        tables={"Starts": [_short(line) for line in lines]},
        files=page.list_files(folder),
        notes=[
            *(facts[quest.name]["verdict"] for quest in quests),
            *(f"{key}: {said}." for key, said in summary.CONVENTIONS.items()),
        ],
    )
    writers.write_bytes(folder / "index.html", text.encode())


def _write_cells(folder, quests, records, report) -> list[page.CellView]:
    """Write the files of the best cell of each quest and of the doubled one."""
    views = []
    for quest in quests:
        for kind, last in (("", "best"), ("doubled", "doubled")):
            record = extreme.best(quest, records, kind)
            if record is None:
                continue
            name = f"{quest.name}_{last}"
            voxels = octant_to_cell(record.after.octant)
            deliver.write_cell(folder, name, voxels, report)
            known = extreme.numbers(record.after)
            views.append(
                page.CellView(
                    name.replace("_", " "),
                    voxels,
                    picture=f"{name}.png",
                    files=[f"{name}.{ending}" for ending in deliver.KINDS],
                    caption=f"{_shown(quest, record.after)}, V {known['V']:.3f}, "
                    f"Zener {known['Zener']:.3f}, from {record.name}",
                )
            )
    return views


def _write_pairs(folder, quests, records) -> bool:
    """Write pairs.png, a row for each quest: starts beside what they became."""
    images, captions = [], []

    def add(quest, text, shape):
        if shape is None:
            images.append(None)
            captions.append("")
            return
        voxels = octant_to_cell(shape.octant)
        images.append(render.render(voxels, cutaway=render.cutaway(voxels)))
        captions.append(f"{text}: {_told(quest, shape)}")

    for quest in quests:
        own = [record for record in records if record.quest == quest.name]
        add(quest, f"{quest.name}, dataset", own[0].before)
        for kind in ("generated", "random"):
            record = extreme.best(quest, own, kind)
            add(quest, f"{kind} start", record and record.before)
            add(quest, "optimized", record and record.after)
        record = extreme.best(quest, own, "variant")
        add(quest, "variant", record and record.after)
    blank = np.full_like(next(image for image in images if image is not None), 251)
    images = [blank if image is None else image for image in images]
    return plots.contact_sheet(folder / "pairs.png", images, captions, columns=6)


def _told(quest, shape) -> str:
    """Return the score of a cell, with what keeps it from being comparable."""
    if not np.isfinite(shape.constants).all():
        return "bears no load"
    zener = elasticity.moduli(shape.constants)["zener"]
    if quest.is_isotropic and abs(np.log(zener)) > np.log(figures.NEARLY):
        return f"{_shown(quest, shape)}, Zener {zener:.2f}"
    return _shown(quest, shape)


def _shown(quest, shape) -> str:
    return quest.goal.show(extreme.score(quest, shape))


def _panel(quest, records, data) -> figures.Panel:
    """Return what bounds.png shows of a quest."""
    own = [record for record in records if record.quest == quest.name]
    _, constants, volume = data
    moduli = elasticity.moduli(constants)
    auxetic = quest.name == "poisson"
    column = "nu" if auxetic else quest.goal.label[0]
    if auxetic:
        near = moduli["E"] >= quest.limits.young
    else:
        near = abs(np.log(moduli["zener"])) <= np.log(figures.NEARLY)

    def points(when, kinds):
        # The bounds are those of isotropic cells, which not all lattices are.
        fine = {
            "before": lambda r: (
                r.kind == "generated" or not extreme.flaws(quest, r.before)
            ),
            "after": lambda r: r.is_good,
        }[when]
        found = {}
        for kind in kinds:
            shapes = [getattr(r, when) for r in own if r.kind == kind and fine(r)]
            if shapes:
                found[kind] = np.array(
                    [
                        (shape.volume, extreme.objective(quest, shape))
                        for shape in shapes
                    ]
                )
        return found

    labels = {
        "nu": "Poisson's ratio along <100>",
        "K": "bulk modulus K / E base",
        "G": "shear modulus G / E base",
        "E": "Young's modulus E / E base",
    }
    return figures.Panel(
        title=f"{quest.name}, V {quest.volume:g}"
        + (f", E at least {quest.limits.young:g}" if auxetic else ", nearly isotropic"),
        label=labels[column],
        volume=quest.volume,
        known=np.column_stack([volume, moduli[column]])[near],
        before=points("before", ("generated", "plates")),
        after=points("after", extreme.KINDS),
        bound=None
        if auxetic
        else lambda v: bounds.hashin_shtrikman(v)["KGE".index(column)],
        upward=not auxetic,
    )


def _short(line: Mapping) -> dict:
    """Return a row of the page's table of starts."""
    names = ("kind", "source", "before value", "after value", "after V", "after Zener")
    rest = ("design_steps", "solutions", "similarity", "flaws")
    return {"name": line["name"]} | {
        name.replace("_", " "): line[name] for name in (*names, *rest)
    }
