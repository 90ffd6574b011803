"""Pictures of cloaks: sections of displacement and stiffness, and the cells used."""

import os
from collections.abc import Sequence

import numpy as np

from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.pool import BODY, SOLID, WINDOW
from mmdiff.io.plots import plot, surface_sheet
from mmdiff.typing import Float

DRAWN = 12  # cells drawn, the most frequent ones


@plot
def sections(figure, cases: Sequence[Case]) -> None:
    """Draw the middle of each case: |u - u0| before and after, C11 of the cells."""
    figure.set_size_inches(10.2, 3.1 * len(cases))
    axes = figure.subplots(len(cases), 3, squeeze=False)
    for row, case in zip(axes, cases, strict=True):
        middle = case.geometry.hole.shape[2] // 2
        stiffness = case.constants[:, :, middle, 0]
        edge = len(stiffness) / 2
        extent = (-edge, edge, -edge, edge)
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


def _off(case, name, middle) -> Float[np.ndarray, "X Y"]:
    """Return |u - u0| in percent of the largest |u0|, NaN in the void."""
    u, u0 = (case.result[key][..., middle] for key in (f"u_{name}", "u0"))
    size = np.linalg.norm(u0, axis=0).max()
    percent = 100 * np.linalg.norm(u - u0, axis=0) / size
    # The void, all around these nodes, moves as it likes.
    around = np.pad(case.geometry.hole[:, :, middle], 1)
    void = around[1:, 1:] & around[:-1, 1:] & around[1:, :-1] & around[:-1, :-1]
    return np.where(void, np.nan, percent)


def cells(path: str | os.PathLike, case: Case) -> bool:
    """Draw the cell of the body and the most frequent ones of the cloak."""
    index, pool = case.index[case.geometry.cloak], case.pool
    rows, count = np.unique(index, return_counts=True)
    order = np.argsort(-count, kind="stable")[:DRAWN]
    fields, captions = [pool.field(-1)], [f"body, {case.reference}"]
    for row, times in zip(rows[order], count[order], strict=True):
        fields.append(pool.field(row))
        number = pool.number[row]
        name = {SOLID: "solid", WINDOW: "window", BODY: "body"}.get(number, number)
        own = ", moved" if pool.moved[row] else ""
        captions.append(f"{name}{own}: {times} times")
    return surface_sheet(path, fields, captions, size=224, columns=5)
