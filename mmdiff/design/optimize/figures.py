"""Plots of an optimization: how it went, and where its cells stand below the bounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff.bounds import hashin_shtrikman
from mmdiff.elasticity import NU
from mmdiff.io import plots
from mmdiff.io.plots import BLUE, GREY, INK, OCHRE
from mmdiff.typing import Float

FAINT = "#b9c0c9"


@plots.plot
def history(
    figure,
    runs: Mapping[str, Mapping[str, Float[np.ndarray, "s"]]],
    best: str,
    titles: Mapping[str, str],
) -> None:
    """Plot columns of several runs over the design step, the best one in front.

    The titles are the labels of the columns to draw, one panel each. "penal" and "beta"
    of the best run give the stages that are marked.
    """
    figure.set_size_inches(7.2, 0.7 + 1.75 * len(titles))
    bold = {"color": BLUE, "lw": 2, "label": f"{best} (best)"}
    thin = {"color": FAINT, "lw": 0.8, "label": "other starts"}
    axes = figure.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for name in sorted(runs, key=lambda name: name == best):
            values = np.asarray(runs[name][column], float)
            look = bold if name == best else thin
            axis.plot(np.arange(1, len(values) + 1), values, **look)
        axis.set_ylabel(title)
        axis.margins(x=0.01)
        _mark_stages(axis, runs[best], named=axis is axes[0])
    plots.legend_below(figure, columns=2)
    axes[-1].set_xlabel("design step")
    figure.align_ylabels(axes)


def _mark_stages(axis, run, *, named: bool) -> None:
    """Draw a line where the continuation goes on, with what changes above."""
    penal, beta = (np.asarray(run[name], float) for name in ("penal", "beta"))
    before = np.full((2, len(beta)), np.nan)
    before[:, 1:] = penal[:-1], beta[:-1]
    room, last = 0.09 * len(beta), -np.inf
    for step in np.flatnonzero((penal != before[0]) | (beta != before[1])):
        if step:
            axis.axvline(step + 0.5, color=GREY, lw=0.8, ls=":")
        # A stage that ends early leaves no room for the next one's name.
        if not named or step - last < room:
            continue
        last = step
        changed = [f"p = {penal[step]:g}"] if penal[step] != before[0, step] else []
        if beta[step] != before[1, step]:
            changed.append(f"$\\beta$ = {beta[step]:g}")
        axis.annotate(
            ", ".join(changed), (step + 0.5, 1), xycoords=("data", "axes fraction"),
            xytext=(2, 3), textcoords="offset points", fontsize=8, color="#5b626c",
        )  # fmt: skip


@plots.plot
def bounds(
    figure,
    cells: Sequence[Mapping[str, Any]],
    plates: Mapping[str, Mapping[str, Any]],
    *,
    columns: Sequence[str] = ("K", "G", "E"),
    nu: float = NU,
) -> None:
    """Plot moduli over the volume fraction, below their Hashin-Shtrikman bounds.

    The cells, best first, and plate lattices have a "volume" and the columns, some of
    "K", "G", "E" and "nu", for base E = 1.
    """
    figure.set_size_inches(3.05 * len(columns) + 0.2, 4.0)
    volume = np.linspace(0, 1, 200)
    curves = dict(zip("KGE", hashin_shtrikman(volume, nu), strict=True))
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for axis, column in zip(axes, columns, strict=True):
        if column in curves:
            label = "Hashin-Shtrikman bound"
            axis.plot(volume, curves[column], color=INK, lw=1.2, label=label)
        for (name, values), marker in zip(plates.items(), "sD^vPXo", strict=False):
            axis.plot(
                values["volume"], values[column], marker, ms=5, mfc="none",
                color=GREY, label=f"plates: {name}",
            )  # fmt: skip
        for i, values in reversed(list(enumerate(cells))):
            axis.plot(
                values["volume"], values[column], "*", mew=0.6, mec=INK,
                ms=13 if i == 0 else 8, color=OCHRE if i == 0 else FAINT,
                label=("other cells", "best cell")[i == 0] if i < 2 else None,
            )  # fmt: skip
        _zoom(axis, [*cells, *plates.values()], column, curves.get(column), volume)
        axis.set(xlabel="volume fraction V", title=plots.MODULI[column])
        axis.title.set_size(9)
    plots.legend_below(figure)


def _zoom(axis, points, column, curve, volume) -> None:
    """Show the surroundings of the points: near a bound, differences are small."""
    x = np.array([point["volume"] for point in points], float)
    y = np.array([point[column] for point in points], float)
    middle, half = x.mean(), max(0.06, 1.3 * np.ptp(x))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    if curve is not None:
        y = np.append(y, np.interp([low, middle, high], volume, curve))
    pad = 0.08 * max(np.ptp(y), 1e-3)
    axis.set(xlim=(low, high), ylim=(y.min() - pad, y.max() + pad))
    axis.locator_params(axis="x", nbins=4)
