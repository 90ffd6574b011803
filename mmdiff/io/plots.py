"""Plots of a run: moduli in space, asked against got, property maps.

matplotlib is optional (extra `viz`). Functions marked by `plot` draw on a figure; they
are called with the path of a PNG file in its place, return whether it is written, and
write nothing without matplotlib. Sheets of cells are always written, then without
captions. Moduli are relative to that of the base material.
"""

import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.elasticity import cubic_to_voigt, directional_modulus, moduli
from mmdiff.io import render
from mmdiff.io.write import write_bytes, write_png
from mmdiff.typing import Float, UInt8

BLUE, OCHRE, GREY, INK = "#3f6fae", "#d9962b", "#8a919b", "#22262c"
MODULI = {
    "K": "bulk modulus K / E base",
    "G": "shear modulus G / E base",
    "E": "Young's modulus E / E base",
    "nu": "Poisson's ratio along <100>",
}
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b626c",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def plot(draw: Callable[..., None]) -> Callable[..., bool]:
    """Return `f(path, ...)`, which writes what `draw(figure, ...)` draws."""

    @functools.wraps(draw)
    def write(path: str | os.PathLike, *args, **options) -> bool:
        try:
            import matplotlib
            from matplotlib.figure import Figure
        except ImportError:
            return False
        with matplotlib.rc_context(_STYLE):
            figure = Figure(dpi=144, layout="constrained")  # none of pyplot's own
            draw(figure, *args, **options)
            return save_figure(path, figure)

    return write


def legend_below(figure, columns: int = 4) -> None:
    """Put the legend of all axes below a figure, each label once."""
    named = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    place = {"loc": "outside lower center", "ncols": columns, "fontsize": 8}
    figure.legend(named.values(), named.keys(), **place)


def save_figure(path: str | os.PathLike, figure) -> bool:
    """Write a figure as PNG and return True."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    write_bytes(path, buffer.getvalue())
    return True


def contact_sheet(
    path: str | os.PathLike,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    captions: Sequence[str] = (),
    *,
    columns: int = 4,
) -> bool:
    """Tile pictures of equal size into one; return whether its captions are drawn."""
    tiles = list(images)
    strips = _caption_strips(captions, tiles[0].shape[1]) if captions else []
    if strips:
        tiles = [np.concatenate(pair) for pair in zip(tiles, strips, strict=True)]
    columns = min(columns, len(tiles))
    # The empty places of the last row take the colour of the pictures' corner.
    blank = np.broadcast_to(images[0][0, 0], tiles[0].shape)
    tiles += [blank] * (-len(tiles) % columns)
    starts = range(0, len(tiles), columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in starts]
    write_png(path, np.concatenate(rows))
    return bool(strips) == bool(captions)


def cell_sheet(
    path: str | os.PathLike,
    octants: Sequence[UInt8[np.ndarray, "_ _ _"] | None],
    captions: Sequence[str],
    *,
    size: int,
    columns: int,
) -> bool:
    """Draw cells side by side, pictures `size` pixels wide; None leaves a place empty.

    See `contact_sheet`.
    """

    def image(octant):
        if octant is None:
            return np.full((size, size, 3), 255 * render.BACKGROUND[0], np.uint8)
        cell = octant_to_cell(octant)
        return render.render(cell, size=size, cutaway=render.cutaway(cell))

    return contact_sheet(path, [*map(image, octants)], captions, columns=columns)


def surface_sheet(
    path: str | os.PathLike,
    fields: Sequence[Float[np.ndarray, "_ _ _"]],
    captions: Sequence[str],
    *,
    size: int,
    columns: int,
) -> bool:
    """Draw the surfaces of fields side by side, pictures `size` pixels wide.

    See `mmdiff.cells.surface` and `contact_sheet`.
    """

    def image(psi):
        cell = octant_to_cell(surface.voxels(psi, psi.shape[-1]))
        options = {"psi": psi, "size": size, "cutaway": render.cutaway(cell)}
        return render.render(cell, **options)

    return contact_sheet(path, [*map(image, fields)], captions, columns=columns)


def _caption_strips(captions, width, height=32):
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    strips = []
    for caption in captions:
        figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        figure.set_facecolor((0.985,) * 3)
        # parse_math off: a dollar sign in a caption is a dollar sign.
        figure.text(
            0.5, 0.5, caption, ha="center", va="center", size=11, parse_math=False
        )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        strips.append(np.asarray(canvas.buffer_rgba())[:height, :width, :3].copy())
    return strips


@plot
def modulus_spheres(
    figure,
    constants: Float[np.ndarray, "b 3"] | Float[np.ndarray, "b 6 6"],
    labels: Sequence[str],
) -> None:
    """Draw Young's modulus over all directions, as distance and as colour.

    All surfaces, of stable cubic constants or tensors, share one scale.
    """
    tensors = np.asarray(constants, np.float64)
    if tensors.shape[-1] == 3:
        tensors = cubic_to_voigt(np.atleast_2d(tensors))
    count = len(tensors)
    columns = min(count, 5)
    rows = -(-count // columns)
    figure.set_size_inches(2.3 * columns + 0.8, 2.7 * rows)
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    theta, phi = np.meshgrid(np.linspace(0, np.pi, 49), np.linspace(0, 2 * np.pi, 97))
    direction = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1
    )
    young = np.stack([directional_modulus(tensor, direction) for tensor in tensors])
    top = young.max()
    # A range of its own keeps nearly isotropic cells from showing rounding noise.
    scale = Normalize(min(young.min(), 0.8 * top), top)
    # matplotlib's own shading hides the colours; a soft light from above does not.
    light = 0.88 + 0.12 * direction @ (np.array([1.0, 0.0, 1.5]) / np.sqrt(3.25))
    for i, label in enumerate(labels):
        # Drawn in the order of the calls: matplotlib's own order hides the axes.
        axis = figure.add_subplot(
            rows, columns, i + 1, projection="3d", computed_zorder=False
        )
        colour = colormaps["viridis"](scale(_corners(young[i]).mean(1)))
        colour[:, :3] *= _corners(light).mean(1)[:, None]
        facets = _corners(young[i][..., None] * direction / top)
        # As `plot_surface` draws them, which spends a second on their colours.
        surface = Poly3DCollection(
            facets, facecolors=colour, linewidth=0, antialiased=False
        )
        axis.add_collection3d(surface)
        for unit, letter in zip(np.eye(3), "xyz", strict=True):
            # The view shows the positive ends; they begin where the surface ends.
            end = directional_modulus(tensors[i], unit) / top * unit
            axis.plot(*np.stack([end, 1.15 * unit], 1), color="#5b626c", linewidth=0.8)
            axis.text(*1.25 * unit, letter, fontsize=8, ha="center", va="center")
        axis.set(xlim=(-0.72, 0.72), ylim=(-0.72, 0.72), zlim=(-0.62, 0.82))
        axis.set_box_aspect((1, 1, 1))
        axis.view_init(28, 32)
        axis.set_axis_off()
        title = f"{label}\nE {young[i].min():.3g} to {young[i].max():.3g}"
        axis.set_title(title, fontsize=9, y=1.03)
    bar = ScalarMappable(scale, "viridis")
    figure.colorbar(bar, ax=figure.axes, shrink=0.7, label="Young's modulus E / E base")


def _corners(values):
    """Return the values (f, 4, ...) at the corners of the facets of a grid, in turn."""
    low, high = values[:-1], values[1:]
    corners = (low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1])
    return np.stack(corners, 2).reshape(-1, 4, *values.shape[2:])


@plot
def slices(
    figure, image: Float[np.ndarray, "nx ny nz"], threshold: float, label: str = ""
) -> None:
    """Show the middle slices of an image of grays, and the edges of what is above."""
    figure.set_size_inches(9.0, 3.3)
    for axis, name in enumerate("xyz"):
        middle = image.shape[axis] // 2
        plane = np.moveaxis(image, axis, 0)[middle].T
        panel = figure.add_subplot(1, 3, axis + 1)
        limits = {"vmin": image.min(), "vmax": image.max(), "origin": "lower"}
        panel.imshow(plane, cmap="gray", interpolation="nearest", **limits)
        if min(plane.shape) > 1 and plane.min() <= threshold < plane.max():
            panel.contour(plane, levels=[threshold], colors=[OCHRE], linewidths=0.9)
        others = [other for other in "xyz" if other != name]
        panel.set(title=f"{name} = {middle}", xlabel=others[0], ylabel=others[1])
        panel.grid(visible=False)
    figure.suptitle(f"{label}solid above {threshold:.4g} (outlined)", fontsize=9)


@plot
def parity(
    figure,
    asked: Float[np.ndarray, "*b k"],
    got: Float[np.ndarray, "b k"],
    names: Sequence[str] = (
        "C11 / E base",
        "C12 / E base",
        "C44 / E base",
        "volume fraction",
    ),
    axes: tuple[str, str] = ("asked", "got (finite elements)"),
) -> None:
    """Plot values asked for (NaN where none were) against those got, panel by name."""
    columns = min(len(names), 5)
    rows = -(-len(names) // columns)
    figure.set_size_inches(2.4 * columns, 2.7 * rows)
    asked, got = np.broadcast_arrays(np.asarray(asked, float), np.asarray(got, float))
    for i, name in enumerate(names):
        axis = figure.add_subplot(rows, columns, i + 1)
        values = np.concatenate([asked[:, i], got[:, i]])
        low, high = np.nanmin(values), np.nanmax(values)
        pad = max(0.08 * (high - low), 0.02 * abs(high), 1e-6)
        ends = np.array([low - pad, high + pad])
        axis.plot(ends, ends, color=GREY, lw=1)
        size = 16 if len(got) < 200 else 6
        axis.scatter(asked[:, i], got[:, i], s=size, color=BLUE, alpha=0.8, lw=0)
        axis.set(xlim=ends, ylim=ends, xlabel=axes[0], title=name)
        axis.set_box_aspect(1)
        axis.locator_params(nbins=4)
        if i % columns == 0:
            axis.set_ylabel(axes[1])


@plot
def property_scatter(
    figure, constants: Float[np.ndarray, "b 3"], volume: Float[np.ndarray, "b"]
) -> None:
    """Map a set of cells: G over K under the Hashin-Shtrikman curve, and histograms."""
    figure.set_size_inches(9.6, 5.6)
    constants, volume = np.asarray(constants, float), np.asarray(volume, float)
    values = moduli(constants)
    bulk, shear, _ = hashin_shtrikman(np.linspace(0, 1, 200))
    axis = figure.add_subplot(2, 3, 1)
    axis.plot(bulk, shear, color=INK, lw=1, label="Hashin-Shtrikman, isotropic")
    points = axis.scatter(
        values["K"], values["G"], c=volume, s=7, lw=0, alpha=0.8, cmap="viridis"
    )
    figure.colorbar(points, ax=axis, label="volume fraction")
    axis.set(
        xlabel=MODULI["K"], ylabel=MODULI["G"],
        xlim=(0, 1.08 * np.nanmax(values["K"])),
        ylim=(0, 1.08 * np.nanmax(values["G"])),
    )  # fmt: skip
    axis.legend(fontsize=8)
    panels = (
        ("volume fraction", volume),
        *((MODULI[name], values[name]) for name in ("K", "G", "nu")),
        ("Zener ratio", values["zener"]),
    )
    for i, (name, data) in enumerate(panels):
        axis = figure.add_subplot(2, 3, i + 2)
        data = data[np.isfinite(data)]
        axis.hist(data, bins=min(40, max(5, len(data) // 8)), color=BLUE)
        axis.set(xlabel=name, ylabel="cells")


@plot
def grouped_points(
    figure,
    groups: Sequence[str],
    labels: Sequence[str],
    panels: Mapping[str, Sequence[float]],
) -> None:
    """Plot one point per item over its group, coloured by label; logarithmic axes.

    Each panel holds positive values of all items under the name of its axis.
    """
    names, kinds = list(dict.fromkeys(groups)), list(dict.fromkeys(labels))
    figure.set_size_inches(4.8 * len(panels), 1.6 + 0.35 * len(names))

    def plain(value, _):  # 0.1 0.2 0.5 1 2 5 10, not powers of ten
        return f"{value:g}" if f"{value:e}"[0] in "125" else ""

    colours = dict(zip(kinds, (BLUE, OCHRE, "#4c8c5a", GREY, "#a2485f"), strict=False))
    for i, (title, values) in enumerate(panels.items()):
        axis = figure.add_subplot(1, len(panels), i + 1)
        for kind in kinds:
            chosen = [j for j, label in enumerate(labels) if label == kind]
            axis.scatter(
                [values[j] for j in chosen],
                [names.index(groups[j]) for j in chosen],
                s=20, lw=0, alpha=0.8, color=colours[kind], label=kind,
            )  # fmt: skip
        axis.set(xlabel=title, xscale="log", ylim=(len(names) - 0.5, -0.5))
        axis.xaxis.set_major_formatter(plain)
        axis.xaxis.set_minor_formatter(plain)
        axis.set_yticks(range(len(names)), names if i == 0 else [""] * len(names))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
