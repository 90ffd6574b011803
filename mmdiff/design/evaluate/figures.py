"""Plots of an evaluation: errors, similarity and the property space that is reached.

Of the kinds in Fig. 3 of arXiv 2401.13570, from the records of `metrics.measure`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.io.plots import BLUE, GREY, OCHRE, plot
from mmdiff.typing import Float


@plot
def error_histogram(figure, records: Sequence[Mapping]) -> None:
    """Draw the range errors of all cells and of the best of each target."""
    figure.set_size_inches(7, 3)
    edges = np.geomspace(1e-3, 100, 31)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, part, name, title in (
        (axes[0], "raw", "raw_error", "as sampled"),
        (axes[1], "cells", "error", "delivered"),
    ):
        lists = [[100 * c[name] for c in r[part]] for r in records if r[part]]
        for values, color, label in (
            (sum(lists, []), GREY, "all cells"),
            ([min(each) for each in lists], BLUE, "best of each target"),
        ):
            values = np.clip(values, edges[0], edges[-1])
            _shares(ax, values, edges, histtype="step", color=color, label=label)
        ax.set(xscale="log", title=title, xlabel="error, % of range")
    axes[0].set_ylabel("share")
    axes[0].legend()


@plot
def similarities(figure, records: Sequence[Mapping]) -> None:
    """Draw how alike the cells of a target are, and how near the training cells."""
    figure.set_size_inches(7, 3)
    within = [r["within"] for r in records]
    nearest = [cell["nearest"] for record in records for cell in record["cells"]]
    axes = figure.subplots(1, 2, sharey=True)
    for ax, values, color, title in (
        (axes[0], within, BLUE, "between the cells of a target"),
        (axes[1], nearest, OCHRE, "to the nearest training cell"),
    ):
        values = np.array(values, float)  # None becomes NaN
        values = 100 * values[np.isfinite(values)]
        _shares(ax, values, np.linspace(40, 100, 31), color=color)
        ax.set(title=title, xlabel="equal voxels, %")
    axes[0].set_ylabel("share")


@plot
def coverage(
    figure,
    records: Sequence[Mapping],
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> None:
    """Draw targets and refined cells over the training cells in property space."""
    figure.set_size_inches(9, 3)
    known = np.column_stack([constants, volume])
    names = ("C11", "C12", "C44", "V")
    # What is free becomes NaN and is not drawn.
    asked = np.array([[r[k] for k in names] for r in records], float)
    cells = [[*c["constants"], c["volume"]] for r in records for c in r["cells"]]
    got = np.array(cells).reshape(-1, 4)
    axes = figure.subplots(1, 3)
    for ax, (i, j) in zip(axes, ((0, 1), (0, 2), (3, 0)), strict=True):
        ax.plot(known[:, i], known[:, j], ".", ms=1, color=GREY, label="training")
        ax.plot(got[:, i], got[:, j], ".", ms=3, color=BLUE, label="delivered")
        ax.plot(asked[:, i], asked[:, j], "+", ms=4, color=OCHRE, label="asked")
        ax.set(xlabel=names[i], ylabel=names[j])
    axes[0].legend()


def _shares(ax, values, edges, **style):
    weights = np.full(len(values), 1 / max(len(values), 1))
    ax.hist(values, edges, weights=weights, **style)
