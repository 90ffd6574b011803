"""Plots of a dataset: tensors and bounds, coverage by round, a sheet of cells."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import bounds
from mmdiff.bounds import hashin_shtrikman
from mmdiff.data.store import Labels
from mmdiff.elasticity import moduli
from mmdiff.io import plots
from mmdiff.io.plots import BLUE, GREY, INK, MODULI, OCHRE, plot
from mmdiff.typing import Bool, Float, Int

SHEET = 16  # cells in the contact sheet


@plot
def tensor_space(
    figure, constants: Float[np.ndarray, "b 3"], volume: Float[np.ndarray, "b"]
) -> None:
    """Draw the constants in space with the plane of isotropy, and beside their bounds.

    Left: C11, C12, C44, the plane C44 = (C11 - C12) / 2. Right: the two shear moduli
    under the curves of the stiffest laminates, and the bulk modulus over the volume
    under the Hashin-Shtrikman bound.
    """
    figure.set_size_inches(12.6, 4.4)
    c11, c12, c44 = np.asarray(constants, float).T
    style = {"c": volume, "s": 4, "lw": 0, "alpha": 0.7, "cmap": "viridis"}
    style |= {"vmin": 0, "vmax": 1}
    axis = figure.add_subplot(1, 3, 1, projection="3d")
    second = max(((c11 - c12) / 2).max(), 0)
    z, y = np.meshgrid([0, second], [c12.min(), c12.max()])
    axis.plot_surface(y + 2 * z, y, z, color=OCHRE, alpha=0.25)
    axis.scatter(c11, c12, c44, **style)
    axis.set(xlabel="C11", ylabel="C12", zlabel="C44", title="plane: isotropic")
    axis.view_init(20, -70)
    axis = figure.add_subplot(1, 3, 2)
    for value in (0.1, 0.3, 0.5, 0.7, 0.9):
        fourth = np.linspace(bounds.TETRAHEDRAL, bounds.AXIAL, 60)
        edges, faces = bounds.shear_bound(value, fourth)
        curve = [0, *faces, faces[-1]], [edges[0], *edges, 0]
        axis.plot(*curve, color=GREY, lw=0.8, zorder=1)
        axis.annotate(f"V {value:g}", (0, edges[0]), fontsize=7, color=GREY)
    top = max(c44.max(), ((c11 - c12) / 2).max())
    axis.plot([0, top], [0, top], color=INK, lw=0.8, label="isotropic")
    points = axis.scatter((c11 - c12) / 2, c44, **style)
    axis.set(xlabel="(C11 - C12) / 2", ylabel="C44", title="bounds of laminates")
    axis.legend(fontsize=8, loc="lower right")
    axis = figure.add_subplot(1, 3, 3)
    line = np.linspace(0, 1, 200)
    axis.plot(line, hashin_shtrikman(line)[0], color=INK, lw=1)
    axis.scatter(volume, moduli(np.asarray(constants))["K"], **style)
    axis.set(xlabel="volume fraction", ylabel=MODULI["K"])
    axis.set_title("Hashin-Shtrikman bound")
    figure.colorbar(points, ax=axis, label="volume fraction")


@plot
def coverage(
    figure,
    rounds: Sequence[Mapping],
    constants: Float[np.ndarray, "b 3"],
    volume: Float[np.ndarray, "b"],
) -> None:
    """Draw the coverage after each round of `tables`, and where the cells lie."""
    figure.set_size_inches(11.4, 3.6)
    values = moduli(np.asarray(constants))
    axis = figure.add_subplot(1, 3, 1)
    names = [f"{row['round']}: {row['aim']}" for row in rounds]
    axis.barh(names, [100 * row["coverage"] for row in rounds], color=BLUE)
    axis.invert_yaxis()
    axis.set(xlabel="reachable bins that hold a cell, % (cumulative)")
    panels = (
        (MODULI["nu"], values["nu"]),
        ("logarithm of the Zener ratio", np.log10(values["zener"])),
    )
    for i, (name, data) in enumerate(panels, 2):
        axis = figure.add_subplot(1, 3, i)
        *_, image = axis.hist2d(volume, data, bins=40, norm="log", cmap="cividis")
        figure.colorbar(image, ax=axis, label="cells")
        axis.set(xlabel="volume fraction", ylabel=name)


def sheet(path: str | os.PathLike, labels: Labels, kept: Bool[np.ndarray, "N"]) -> bool:
    """Draw kept cells from the most negative to the largest Poisson's ratio."""
    nu = moduli(labels.constants)["nu"]
    able = np.flatnonzero(kept)
    chosen = able[spread(nu[able], SHEET)]
    captions = [f"V {labels.volume[i]:.2f}  nu {nu[i]:.2f}" for i in chosen]
    octants = list(labels.octants(chosen))
    return plots.cell_sheet(path, octants, captions, size=256, columns=4)


def spread(values: Float[np.ndarray, "N"], count: int) -> Int[np.ndarray, "k"]:
    """Return numbers of values that are spread evenly over their range, least first."""
    order, found = np.argsort(values), []
    for value in np.linspace(values.min(), values.max(), min(count, len(values))):
        near = order[np.argsort(abs(values[order] - value), kind="stable")]
        found.append(next(i for i in near if i not in found))
    return np.array(found)
