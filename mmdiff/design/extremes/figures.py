"""Pictures of a search for extreme cells: objective over volume, starts and results.

As in `mmdiff.io.plots`, matplotlib is optional: nothing is written where it is absent.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.io import plots, render
from mmdiff.io.plots import BLUE, GREY, OCHRE, new_figure, plot_style, save_figure
from mmdiff.typing import Float

INK, FAINT = "#22262c", "#c9ced5"
NEARLY = 1.1  # Zener ratios from one over this to this are drawn as nearly isotropic
COLOURS = {
    "edge": GREY,
    "generated": OCHRE,
    "random": BLUE,
    "plates": "#4c8c5a",
    "variant": "#a2485f",
    "doubled": INK,
}


@dataclasses.dataclass(frozen=True)
class Panel:
    """One quest.

    Attributes:
      title: above it.
      label: of the vertical axis.
      volume: fraction that is asked for.
      known: (N, 2) volume and value of cells of a dataset.
      before: (m, 2) of starts by kind.
      after: (m, 2) of the cells that they became by kind.
      bound: volume -> upper bound of the value; None for none.
      upward: whether more is better.
    """

    title: str
    label: str
    volume: float
    known: Float[np.ndarray, "N 2"]
    before: Mapping[str, Float[np.ndarray, "_ 2"]]
    after: Mapping[str, Float[np.ndarray, "_ 2"]]
    bound: Callable | None = None
    upward: bool = True


def bounds(path: str | os.PathLike, panels: Sequence[Panel]) -> bool:
    """Plot values over the volume fraction, a panel for each quest.

    Args:
      path: PNG file to write.
      panels: one or more.

    Returns:
      whether it was written.
    """
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.5 * rows + 0.6)
    if figure is None:
        return False
    with plot_style():
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        named = {}
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel)
            handles, labels = axis.get_legend_handles_labels()
            named = dict(zip(labels, handles, strict=True)) | named
        figure.legend(
            named.values(), named.keys(), loc="outside lower center", ncols=4,
            fontsize=8,
        )  # fmt: skip
        return save_figure(path, figure)


def panel(quest: Quest, records: Sequence[Extreme], data: Dataset) -> Panel:
    """Return the panel of a quest.

    Args:
      quest: what was asked.
      records: all starts.
      data: cells that are drawn behind them.
    """
    own = [record for record in records if record.quest == quest.name]
    _, constants, volume, _ = data
    moduli = elasticity.moduli(constants)
    auxetic = quest.name == "poisson"
    column = "nu" if auxetic else quest.goal.label[0]
    if auxetic:
        near = moduli["E"] >= quest.limits.young
    else:
        near = abs(np.log(moduli["zener"])) <= np.log(NEARLY)

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
    return Panel(
        title=f"{quest.name}, V {quest.volume:g}"
        + (f", E at least {quest.limits.young:g}" if auxetic else ", nearly isotropic"),
        label=labels[column],
        volume=quest.volume,
        known=np.column_stack([volume, moduli[column]])[near],
        before=points("before", ("generated", "plates")),
        after=points("after", extreme.KINDS),
        bound=None if auxetic else lambda v: hashin_shtrikman(v)["KGE".index(column)],
        upward=not auxetic,
    )


def _draw(axis, panel: Panel) -> None:
    """Draw one panel; its limits leave out what is far from everything asked."""
    points = [*panel.before.values(), *panel.after.values()]
    every = np.concatenate([np.reshape(p, (-1, 2)) for p in points])
    every = every[np.isfinite(every).all(1)]
    volumes = np.append(every[:, 0], panel.volume)
    left, right = volumes.min() - 0.04, volumes.max() + 0.04
    grid = np.linspace(max(left, 0), min(right, 1), 100)
    axis.plot(
        *panel.known.T, ".", ms=2.5, mew=0, color=FAINT, zorder=1, label="dataset"
    )
    axis.axvline(panel.volume, color=GREY, lw=0.8, ls=":", zorder=1)
    if panel.bound is not None:
        axis.plot(
            grid, panel.bound(grid), color=INK, lw=1.2, label="Hashin-Shtrikman bound"
        )
    for kind, before in panel.before.items():
        axis.plot(
            *np.reshape(before, (-1, 2)).T, "o", ms=5, mfc="none", mew=0.9, ls="",
            color=COLOURS[kind], label=f"{kind}, before",
        )  # fmt: skip
    for kind, after in panel.after.items():
        last = kind == "doubled"
        axis.plot(
            *np.reshape(after, (-1, 2)).T, "*" if last else "o", ls="",
            ms=12 if last else 5, mew=0.5, mec="white", color=COLOURS[kind],
            zorder=5 if last else 3, label=f"{kind}, after",
        )  # fmt: skip
    values = every[:, 1]
    if panel.bound is not None:
        values = np.append(values, panel.bound(np.array([panel.volume])))
    pad = 0.06 * max(np.ptp(values), 1e-3)
    axis.set(
        xlim=(grid[0], grid[-1]), ylim=(values.min() - pad, values.max() + pad),
        xlabel="volume fraction V", ylabel=panel.label, title=panel.title,
    )  # fmt: skip
    axis.title.set_size(9)
    if not panel.upward:
        axis.invert_yaxis()


def pairs(
    path: str | os.PathLike, quests: Sequence[Quest], records: Sequence[Extreme]
) -> bool:
    """Draw starts beside their results, a row for each quest.

    Args:
      path: PNG file to write.
      quests: what was asked.
      records: all starts.

    Returns:
      whether the captions were drawn.
    """
    images, captions = [], []

    def add(quest, text, shape):
        if shape is None:
            images.append(None)
            captions.append("")
            return
        voxels = octant_to_cell(shape.octant)
        images.append(render.render(voxels, cutaway=render.cutaway(voxels)))
        captions.append(f"{text}: {_caption(quest, shape)}")

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
    return plots.contact_sheet(path, images, captions, columns=6)


def _caption(quest: Quest, shape: Shape) -> str:
    """Return the score of a cell, with its Zener ratio where it is not isotropic."""
    if not np.isfinite(shape.constants).all():
        return "bears no load"
    zener = elasticity.moduli(shape.constants)["zener"]
    if quest.is_isotropic and abs(np.log(zener)) > np.log(NEARLY):
        return f"{extreme.shown(quest, shape)}, Zener {zener:.2f}"
    return extreme.shown(quest, shape)
