"""A picture of a family: the stiffness of its cells over their volume."""

import itertools
from collections.abc import Sequence

import numpy as np

from mmdiff.bounds import hashin_shtrikman
from mmdiff.io.plots import BLUE, GREY, MODULI, OCHRE, plot
from mmdiff.typing import Float


@plot
def properties(
    figure,
    constants: Float[np.ndarray, "b 3"],
    volume: Float[np.ndarray, "b"],
    kinds: Sequence[str],
) -> None:
    """Plot C11 and K over V, K below its Hashin-Shtrikman bound; one colour a kind.

    Kinds that begin with "path" are joined by a line in their order.
    """
    figure.set_size_inches(8.4, 3.6)
    kinds = np.array(kinds)
    colours = (BLUE, OCHRE, "#4c8c5a", "#a2485f", GREY)
    panels = {
        "C11 / E base": constants[:, 0],
        MODULI["K"]: (constants[:, 0] + 2 * constants[:, 1]) / 3,
    }
    ticks = np.linspace(0, min(1.0, 1.1 * volume.max()), 100)
    on_path = np.char.startswith(kinds, "path")
    for i, (title, values) in enumerate(panels.items()):
        axis = figure.add_subplot(1, 2, i + 1)
        if i == 1:
            bound = hashin_shtrikman(ticks)[0]
            axis.plot(ticks, bound, color=GREY, lw=1, label="Hashin-Shtrikman")
        axis.plot(volume[on_path], values[on_path], color=GREY, lw=0.8, ls=":")
        names = dict.fromkeys(kinds.tolist())
        for name, colour in zip(names, itertools.cycle(colours), strict=False):
            rows = kinds == name
            axis.scatter(
                volume[rows], values[rows], s=18, lw=0, alpha=0.85,
                color=colour, label=name,
            )  # fmt: skip
        axis.set(xlabel="volume fraction", ylabel=title)
    axis.legend(fontsize=8)
