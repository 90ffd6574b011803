"""Pictures of cloaks: sections of displacement and stiffness, and the cells used."""

import os
from collections.abc import Sequence

import numpy as np

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.pool import BODY, SOLID
from mmdiff.io import plots, render
from mmdiff.io.plots import new_figure, plot_style, save_figure
from mmdiff.typing import Bool, Float

DRAWN = 12  # cells drawn, the most frequent ones


def sections(path: str | os.PathLike, cases: Sequence[Case]) -> bool:
    """Draw the middle of each case: off before, off after, C11 of the elements.

    Off is |u - u0| in percent of the largest |u0|; both maps share their colours.

    Args:
      path: PNG file to write.
      cases: that are found, at least one.
    """
    figure = new_figure(10.2, 3.1 * len(cases))
    if figure is None:
        return False
    with plot_style():
        axes = figure.subplots(len(cases), 3, squeeze=False)
        for row, case in zip(axes, cases, strict=True):
            middle = case.geometry.hole.shape[2] // 2
            stiffness = case.constants[:, :, middle, 0]
            n = len(stiffness)
            extent = (-n / 2, n / 2, -n / 2, n / 2)
            before, after = (_off(case, name, middle) for name in ("before", "cells"))
            top = max(np.nanmax(before), 1e-9)
            maps = (
                (before, f"no cloak: {case.percent('before'):.2f} %", top),
                (after, f"cells: {case.percent('cells'):.2f} %", top),
                (stiffness, "C11 / E base", stiffness.max()),
            )
            for axis, (values, title, highest) in zip(row, maps, strict=True):
                # The rows of an image run along y.
                shown = axis.imshow(
                    values.T, origin="lower", extent=extent, vmin=0, vmax=highest,
                    cmap="cividis", interpolation="nearest",
                )  # fmt: skip
                axis.set_title(title, fontsize=9)
                axis.grid(False)
                axis.set(xlabel="x, cells")
                figure.colorbar(shown, ax=axis, shrink=0.85, format="%.3g")
            row[0].set_ylabel(f"{case.label}\ny, cells")
            row[1].set_xlabel("x, cells; |u - u0|, % of the largest |u0|")
        return save_figure(path, figure)


def _off(case, name, middle) -> Float[np.ndarray, "X Y"]:
    """Return |u - u0| in percent of the largest |u0|, NaN in the void."""
    u, u0 = (case.result[key][..., middle] for key in (f"u_{name}", "u0"))
    size = np.linalg.norm(u0, axis=0).max()
    percent = 100 * np.linalg.norm(u - u0, axis=0) / size
    # The void moves as it likes.
    return np.where(_in_void(case.geometry.hole[:, :, middle]), np.nan, percent)


def _in_void(hole: Bool[np.ndarray, "x y"]) -> Bool[np.ndarray, "X Y"]:
    """Return the nodes all of whose elements are void."""
    around = np.pad(hole, 1)
    return around[1:, 1:] & around[:-1, 1:] & around[1:, :-1] & around[:-1, :-1]


def cells(path: str | os.PathLike, case: Case) -> bool:
    """Draw the cell of the body and the most frequent ones of the cloak.

    Args:
      path: PNG file to write.
      case: that is found.
    """
    index, pool = case.index[case.geometry.cloak], case.pool
    rows, count = np.unique(index, return_counts=True)
    order = np.argsort(-count, kind="stable")[:DRAWN]
    octants, captions = [pool.octants[-1]], [f"body, {case.reference}"]
    for i in order:
        number = pool.number[rows[i]]
        octants.append(pool.octants[rows[i]])
        name = {SOLID: "solid", BODY: "body"}.get(number, number)
        captions.append(f"{name}: {count[i]} times")
    images = []
    for octant in octants:
        voxels = octant_to_cell(octant)
        images.append(render.render(voxels, size=224, cutaway=render.cutaway(voxels)))
    return plots.contact_sheet(path, images, captions, columns=5)
