"""Write cells for where people open them: slicer, ParaView, browser, NumPy, Excel."""

import pathlib
from collections.abc import Mapping

import numpy as np

from mmdiff.cells import mesh
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.generate import properties
from mmdiff.design.generate.cell import Cell
from mmdiff.io import page, plots, render
from mmdiff.io import write as writers
from mmdiff.io.json import write_csv, write_json
from mmdiff.run import console
from mmdiff.targets import quantities
from mmdiff.targets.target import Target

KINDS = ("npy", "stl", "3mf", "vti", "png")
# Stand in every file that holds a tensor.
_SETTINGS = ("resolution", "base_E", "base_nu", "void", "penal")
_NESTED = ("C", "history")  # of properties.json, no columns of a table


def write(
    folder: pathlib.Path, target: Target, cells: list[Cell], report: dict
) -> None:
    """Write all files of a set of cells.

    Args:
      folder: existing directory.
      target: what was asked.
      cells: the cells, best first.
      report: see `properties.report`.
    """
    full = [octant_to_cell(cell.octant) for cell in cells]
    arrays = {
        "cells": np.stack(full),
        "constants": report["base_E"] * np.stack([cell.constants for cell in cells]),
        "volume": np.array([cell.volume for cell in cells]),
        "residual": np.array([cell.residual for cell in cells]),
        **{key: report[key] for key in _SETTINGS},
        "conventions": "; ".join(f"{k}: {v}" for k, v in report["conventions"].items()),
    }
    np.savez_compressed(folder / "cells.npz", **arrays)
    views, images = [], []
    for i, voxels in enumerate(full):
        name = properties.name_of(i)
        images.append(write_cell(folder, name, voxels, report))
        error = 100 * cells[i].error
        views.append(
            page.CellView(
                f"cell {i}",
                voxels,
                picture=f"{name}.png",
                files=[f"{name}.{kind}" for kind in KINDS],
                caption=f"volume {cells[i].volume:.3f}, error {error:.2f} %",
            )
        )
    _write_plots(folder, target, cells, images)
    write_json(folder / "properties.json", report)
    write_csv(
        folder / "properties.csv",
        [
            {
                **{key: value for key, value in cell.items() if key not in _NESTED},
                **{key: report[key] for key in _SETTINGS},
            }
            for cell in report["cells"]
        ],
    )
    _write_page(folder, target, cells, views, report)


def write_cell(
    folder: pathlib.Path, name: str, voxels: np.ndarray, report: Mapping
) -> np.ndarray:
    """Write the files of one cell, `KINDS`, and return its picture.

    Args:
      folder: existing directory.
      name: stem of the files.
      voxels: (N, N, N) binary cell.
      report: with "cell_size_mm", the edge, and "conventions", text by name.
    """
    size = report["cell_size_mm"]
    writers.write_npy(folder / f"{name}.npy", voxels)
    try:
        vertices, faces = mesh.smooth_surface(voxels, size)
    except ImportError:
        console.note(
            "STL smoothing needs scikit-image: pip install 'mmdiff[viz]'. Wrote the "
            "voxel-exact STL instead."
        )
        vertices, faces = mesh.voxel_surface(voxels, size)
    writers.write_stl(folder / f"{name}.stl", vertices, faces)
    writers.write_3mf(folder / f"{name}.3mf", vertices, faces, name=name)
    writers.write_vti(
        folder / f"{name}.vti",
        {"density": voxels},
        spacing=size / voxels.shape[0],
        conventions="; ".join(f"{k}: {v}" for k, v in report["conventions"].items()),
    )
    image = render.render(voxels, cutaway=render.cutaway(voxels))
    writers.write_png(folder / f"{name}.png", image)
    return image


def _write_plots(folder, target, cells, images) -> None:
    labels = [f"cell {i}" for i in range(len(cells))]
    captions = [
        f"{label}: {100 * cell.error:.2f} % off, V {cell.volume:.2f}"
        for label, cell in zip(labels, cells, strict=True)
    ]
    plots.contact_sheet(folder / "sheet.png", images, captions)
    constants = np.stack([cell.constants for cell in cells])
    # Each surface takes half a second: the asked one and the best cell say it all.
    shown = {"asked": np.array(target.constants), labels[0]: constants[0]}
    if not target.is_determined:
        del shown["asked"]
    plots.modulus_spheres(
        folder / "spheres.png", np.stack(list(shown.values())), list(shown)
    )
    names, wanted = zip(*target.counted, strict=True)
    got = quantities.values(constants, names)
    volume = np.array([cell.volume for cell in cells])
    plots.parity(
        folder / "parity.png",
        np.array([*wanted, target.volume or np.nan]),
        np.column_stack([got, volume]),
        names=[*(quantities.LABELS[name] for name in names), "volume fraction"],
    )


def _write_page(folder, target, cells, views, report) -> None:
    rows = [
        dict(zip(properties.header(target), row, strict=True))
        for row in properties.table(target, cells, report["base_E"])
    ]
    notes = [
        f"Base material E = {report['base_E']:g}, nu = {report['base_nu']:g}; void "
        f"stiffness {report['void']:g} of the solid; {report['resolution']}^3 voxels; "
        f"cell edge {report['cell_size_mm']:g} mm; relative residual of the finite "
        f"elements at most {report['tol']:g}.",
        *(f"{name}: {text}." for name, text in report["conventions"].items()),
    ]
    wanted = report["target"]["asked"].items()
    text = page.page(
        views,
        title="mmdiff: cells for " + ", ".join(f"{k} {v:.4g}" for k, v in wanted),
        rows=rows,
        files=page.list_files(folder),
        notes=notes,
    )
    writers.write_bytes(folder / "index.html", text.encode())
