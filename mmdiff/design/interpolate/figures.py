"""Pictures of a family: its cells side by side, and their stiffness over volume."""

import os
from collections.abc import Sequence

import numpy as np

from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.io import plots, render
from mmdiff.io.plots import BLUE, GREY, OCHRE, new_figure, plot_style, save_figure
from mmdiff.typing import Float


def strip(
    path: str | os.PathLike, octants: Sequence[np.ndarray], captions: Sequence[str]
) -> bool:
    """Draw cells side by side, six in a row.

    Args:
      path: PNG file to write.
      octants: (n, n, n) of each cell.
      captions: a line under each.
    """
    images = []
    for octant in octants:
        voxels = octant_to_cell(octant)
        images.append(render.render(voxels, size=288, cutaway=render.cutaway(voxels)))
    return plots.contact_sheet(path, images, captions, columns=6)


def properties(
    path: str | os.PathLike,
    constants: Float[np.ndarray, "b 3"],
    volume: Float[np.ndarray, "b"],
    kinds: Sequence[str],
) -> bool:
    """Plot C11 and K over V, K below its Hashin-Shtrikman bound; one colour a kind.

    Args:
      path: PNG file to write.
      constants: (b, 3) C11, C12, C44, base E = 1.
      volume: (b,) volume fractions.
      kinds: b labels, few different ones; those that begin with "path" are joined by a
        line in their order.
    """
    figure = new_figure(8.4, 3.6)
    if figure is None:
        return False
    constants, volume = np.asarray(constants, float), np.asarray(volume, float)
    names = list(dict.fromkeys(kinds))
    colours = (BLUE, OCHRE, "#4c8c5a", "#a2485f", GREY)
    panels = {
        "C11 / E base": constants[:, 0],
        "bulk modulus K / E base": (constants[:, 0] + 2 * constants[:, 1]) / 3,
    }
    ticks = np.linspace(0, min(1.0, 1.1 * volume.max()), 100)
    path_rows = [i for i, kind in enumerate(kinds) if kind.startswith("path")]
    with plot_style():
        for i, (title, values) in enumerate(panels.items()):
            axis = figure.add_subplot(1, 2, i + 1)
            if i == 1:
                bound = hashin_shtrikman(ticks)[0]
                axis.plot(ticks, bound, color=GREY, lw=1, label="Hashin-Shtrikman")
            axis.plot(volume[path_rows], values[path_rows], color=GREY, lw=0.8, ls=":")
            for k, name in enumerate(names):
                rows = [j for j, kind in enumerate(kinds) if kind == name]
                axis.scatter(
                    volume[rows], values[rows], s=18, lw=0, alpha=0.85,
                    color=colours[k % len(colours)], label=name,
                )  # fmt: skip
            axis.set(xlabel="volume fraction", ylabel=title)
        axis.legend(fontsize=8)
        return save_figure(path, figure)
