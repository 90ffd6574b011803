"""Pictures of cloaks: sections of displacement and stiffness, and the cells used."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.cloak.case import Case
from mmdiff.design.cloak.pool import BODY, SOLID
from mmdiff.io import plots, render
from mmdiff.io.plots import new_figure, plot_style, save_figure
from mmdiff.typing import Bool, Float

DRAWN = 12  # cells drawn, the most frequent ones


class Section(NamedTuple):
    """The middle of a case, normal to z.

    Attributes:
      title: of the case.
      before: (X, Y) |u - u0| without a cloak, percent of the largest |u0|; NaN where
        nothing is to be drawn.
      after: (X, Y) the same with the cells.
      stiffness: (x, y) C11 of the elements, base E = 1, zero in the hole.
      distortion_before: in percent.
      distortion_after: in percent.
    """

    title: str
    before: Float[np.ndarray, "X Y"]
    after: Float[np.ndarray, "X Y"]
    stiffness: Float[np.ndarray, "x y"]
    distortion_before: float
    distortion_after: float


def sections(path: str | os.PathLike, cases: Sequence[Section]) -> bool:
    """Draw a row for each case: off before, off after, C11 of the elements.

    Both maps of a row share their colours.

    Args:
      path: PNG file to write.
      cases: at least one.
    """
    figure = new_figure(10.2, 3.1 * len(cases))
    if figure is None:
        return False
    with plot_style():
        axes = figure.subplots(len(cases), 3, squeeze=False)
        for row, case in zip(axes, cases, strict=True):
            n = len(case.stiffness)
            extent = (-n / 2, n / 2, -n / 2, n / 2)
            top = max(np.nanmax(case.before), 1e-9)
            maps = (
                (case.before, f"no cloak: {case.distortion_before:.2f} %", top),
                (case.after, f"cells: {case.distortion_after:.2f} %", top),
                (case.stiffness, "C11 / E base", case.stiffness.max()),
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
            row[0].set_ylabel(f"{case.title}\ny, cells")
            row[1].set_xlabel("x, cells; |u - u0|, % of the largest |u0|")
        return save_figure(path, figure)


def section(case: Case) -> Section:
    """Return the middle of a case that is found."""
    middle = case.geometry.hole.shape[2] // 2
    u0 = case.result["u0"][..., middle]
    size = np.linalg.norm(u0, axis=0).max()

    def off(name):
        difference = case.result[name][..., middle] - u0
        percent = 100 * np.linalg.norm(difference, axis=0) / size
        # The void moves as it likes.
        return np.where(_in_void(case.geometry.hole[:, :, middle]), np.nan, percent)

    return Section(
        case.label,
        off("u_before"),
        off("u_cells"),
        case.constants[:, :, middle, 0],
        case.percent("before"),
        case.percent("cells"),
    )


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
