"""Plots of a dataset: tensors, bounds, coverage, walls, and pictures of cells."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff import bounds
from mmdiff.bounds import hashin_shtrikman
from mmdiff.data.store import Labels
from mmdiff.elasticity import moduli
from mmdiff.io import plots
from mmdiff.io.plots import BLUE, GREY, INK, MODULI, OCHRE, plot
from mmdiff.typing import Bool, Float

RANDOM, AUXETIC = 12, 6  # cells in the two sheets


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
    axis.legend(fontsize=8, loc="lower right", framealpha=1)
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
    """Draw the coverage after each round of `tables`, and where the cells lie.

    The shorter bars count drainable cells only.
    """
    figure.set_size_inches(11.4, 3.6)
    values = moduli(np.asarray(constants))
    axis = figure.add_subplot(1, 3, 1)
    names = [f"{row['round']}: {row['aim']}" for row in rounds]
    for key, label, colour in (
        ("coverage", "all cells", BLUE),
        ("drainable coverage", "drainable ones", OCHRE),
    ):
        height = 0.8 if key == "coverage" else 0.4
        shares = [100 * row[key] for row in rounds]
        axis.barh(names, shares, height, color=colour, label=label)
    axis.invert_yaxis()
    axis.legend(fontsize=8)
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


@plot
def quality(
    figure,
    walls: Float[np.ndarray, "b"],
    gaps: Float[np.ndarray, "b"],
    off: Mapping[str, Float[np.ndarray, "b"]],
) -> None:
    """Draw histograms of the least walls and gaps, and of how far labels may be off.

    Lengths are in edges of the cell; `off` holds per cent by measure.
    """
    figure.set_size_inches(8.4, 3.2)
    axis = figure.add_subplot(1, 2, 1)
    edges = np.linspace(0, 0.3, 61)
    for values, name, colour in ((walls, "walls", BLUE), (gaps, "gaps", OCHRE)):
        axis.hist(values, edges, histtype="step", color=colour, lw=1.4, label=name)
    axis.set(xlabel="least thickness, in edges of the cell", ylabel="cells")
    axis.legend(fontsize=8)
    axis = figure.add_subplot(1, 2, 2)
    most = max(max(value.max() for value in off.values()), 0.01)
    edges = np.geomspace(min(0.01, most / 2), most, 41)
    for (name, values), colour in zip(off.items(), (BLUE, OCHRE), strict=True):
        axis.hist(values, edges, histtype="step", color=colour, lw=1.4, label=name)
    axis.set(xlabel="uncertainty of the labels", ylabel="cells", xscale="log")
    axis.legend(fontsize=8)


def random_sheet(
    path: str | os.PathLike, labels: Labels, kept: Bool[np.ndarray, "N"], *, seed: int
) -> bool:
    """Draw the surfaces of some cells drawn at random."""
    able = np.flatnonzero(kept)
    chosen = np.random.default_rng(seed).permutation(able)[:RANDOM]
    return _sheet(path, labels, np.sort(chosen))


def auxetic_sheet(
    path: str | os.PathLike, labels: Labels, kept: Bool[np.ndarray, "N"]
) -> bool:
    """Draw the surfaces of the cells with the least Poisson's ratios."""
    able = np.flatnonzero(kept)
    order = np.argsort(moduli(labels.constants)["nu"][able], kind="stable")
    return _sheet(path, labels, able[order[:AUXETIC]])


def _sheet(path, labels, chosen) -> bool:
    nu = moduli(labels.constants)["nu"]
    captions = [f"V {labels.volume[i]:.2f}  nu {nu[i]:.2f}" for i in chosen]
    fields = list(labels.fields(chosen))
    return plots.surface_sheet(path, fields, captions, size=288, columns=6)
