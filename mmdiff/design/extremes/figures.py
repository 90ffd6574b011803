"""Pictures of a search for extreme cells: objective over volume, starts and results."""

import os
from collections.abc import Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.bounds import hashin_shtrikman
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.io import plots
from mmdiff.io.plots import BLUE, GREY, INK, OCHRE
from mmdiff.typing import Float

FAINT = "#c9ced5"
NEARLY = 1.1  # Zener ratios from one over this to this are drawn as nearly isotropic
COLOURS = {
    "edge": GREY,
    "generated": OCHRE,
    "random": BLUE,
    "plates": "#4c8c5a",
    "variant": "#a2485f",
}


@plots.plot
def bounds(
    figure, quests: Sequence[Quest], records: Sequence[Extreme], data: Dataset
) -> None:
    """Plot values over the volume, a panel for each quest, in front of a dataset."""
    columns = min(len(quests), 2 if len(quests) < 5 else 4)
    rows = -(-len(quests) // columns)
    figure.set_size_inches(4.6 * columns, 3.5 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(quests) :]:
        axis.set_axis_off()
    for axis, quest in zip(axes, quests, strict=False):
        own = [record for record in records if record.quest == quest.name]
        _draw(axis, quest, own, data)
    plots.legend_below(figure)


def _draw(axis, quest: Quest, own: Sequence[Extreme], data: Dataset) -> None:
    """Draw a quest; the limits leave out what is far from everything asked."""
    auxetic = quest.aim == "poisson"
    column = "nu" if auxetic else quest.goal.label[0]
    moduli = elasticity.moduli(data.constants)
    if auxetic:
        near, asked = moduli["E"] >= quest.limits.young, "E at least {:g}"
    else:
        near, asked = abs(np.log(moduli["zener"])) <= np.log(NEARLY), "nearly isotropic"
    before = {
        kind: _points(
            quest, [r.before for r in own if r.kind == kind and _is_fair(quest, r)]
        )
        for kind in ("generated", "plates")
    }
    after = {
        kind: _points(quest, [r.after for r in own if r.kind == kind and r.is_good])
        for kind in extreme.KINDS
    }
    edge = _points(quest, [r.before for r in own if r.kind == "edge"][:1])
    every = np.concatenate([edge, *before.values(), *after.values()])
    every = every[np.isfinite(every).all(1)]
    volumes, values = np.append(every[:, 0], quest.volume), every[:, 1]
    left, right = max(volumes.min() - 0.04, 0), min(volumes.max() + 0.04, 1)
    known = data.volume[near], moduli[column][near]
    axis.plot(*known, ".", ms=2.5, mew=0, color=FAINT, zorder=1, label="dataset")
    axis.axvline(quest.volume, color=GREY, lw=0.8, ls=":", zorder=1)
    if not auxetic:
        grid = np.append(np.linspace(left, right, 100), quest.volume)
        bound = hashin_shtrikman(grid)["KGE".index(column)]
        label = "Hashin-Shtrikman bound"
        axis.plot(grid[:-1], bound[:-1], color=INK, lw=1.2, label=label)
        values = np.append(values, bound[-1])
    for kind, points in before.items():
        if len(points):
            axis.plot(
                *points.T, "o", ms=5, mfc="none", mew=0.9, ls="",
                color=COLOURS[kind], label=f"{kind}, before",
            )  # fmt: skip
    for kind, points in after.items():
        if len(points):
            axis.plot(
                *points.T, "o", ls="", ms=5, mew=0.5, mec="white",
                color=COLOURS[kind], zorder=3, label=f"{kind}, after",
            )  # fmt: skip
    pad = 0.06 * max(np.ptp(values), 1e-3)
    axis.set(
        xlim=(left, right), ylim=(values.min() - pad, values.max() + pad),
        xlabel="volume fraction V", ylabel=plots.MODULI[column],
        title=f"{quest.aim}, V {quest.volume:g}, {asked.format(quest.limits.young)},\n"
        f"{quest.terms}",
    )  # fmt: skip
    axis.title.set_size(9)
    if auxetic:  # less is better
        axis.invert_yaxis()


def _is_fair(quest: Quest, record: Extreme) -> bool:
    """Whether the bounds hold for a start: they are those of isotropic cells."""
    return record.kind == "generated" or not extreme.flaws(quest, record.before)


def _points(quest: Quest, shapes: Sequence[Shape]) -> Float[np.ndarray, "m 2"]:
    """Return volume and objective of cells."""
    points = [(shape.volume, extreme.objective(quest, shape)) for shape in shapes]
    return np.reshape(points, (-1, 2))


def pairs(
    path: str | os.PathLike, quests: Sequence[Quest], records: Sequence[Extreme]
) -> bool:
    """Draw starts beside their results, a row for each quest; see `contact_sheet`."""
    octants, captions = [], []

    def add(quest, text, shape):
        octants.append(shape and shape.octant)
        captions.append(f"{text}: {_caption(quest, shape)}" if shape else "")

    for quest in quests:
        own = [record for record in records if record.quest == quest.name]
        add(quest, f"{quest.aim}, {quest.terms}, dataset", own[0].before)
        for kind in ("generated", "random"):
            record = extreme.best(quest, own, kind)
            add(quest, f"{kind} start", record and record.before)
            add(quest, "optimized", record and record.after)
        record = extreme.best(quest, own, "variant")
        add(quest, "variant", record and record.after)
    return plots.cell_sheet(path, octants, captions, size=384, columns=6)


def _caption(quest: Quest, shape: Shape) -> str:
    """Return the score of a cell, with its Zener ratio where it is not isotropic."""
    if not np.isfinite(shape.constants).all():
        return "bears no load"
    zener = elasticity.moduli(shape.constants)["zener"]
    skewed = quest.is_isotropic and abs(np.log(zener)) > np.log(NEARLY)
    return extreme.shown(quest, shape) + (f", Zener {zener:.2f}" if skewed else "")
