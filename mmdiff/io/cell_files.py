"""The files of one cell: NumPy, slicer, ParaView and a picture."""

import dataclasses
import functools
import os
import pathlib

import numpy as np

from mmdiff.cells import mesh
from mmdiff.io import render, write

KINDS = ("npy", "stl", "3mf", "vti", "png")
NO_MESHER = (
    "STL smoothing needs scikit-image: pip install 'mmdiff[viz]'. Wrote the "
    "voxel-exact STL instead."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CellEntry:
    """A cell of a report: stem of its files, its name there, caption of its picture."""

    name: str
    label: str
    voxels: np.ndarray
    caption: str = ""

    @functools.cached_property
    def image(self) -> np.ndarray:
        """Picture of the cell, cut open where closed walls would hide the inside."""
        return render.render(self.voxels, cutaway=render.cutaway(self.voxels))

    @property
    def files(self) -> list[str]:
        """Names of its files."""
        return [f"{self.name}.{kind}" for kind in KINDS]


def write_cell(
    folder: str | os.PathLike,
    name: str,
    cell,
    *,
    cell_size_mm: float = 10.0,
    conventions: str = "",
    image: np.ndarray | None = None,
) -> list[str]:
    """Write the files of one cell, one for each of `KINDS`.

    Args:
      folder: directory, made where it is missing.
      name: stem of the files.
      cell: (N, N, N) binary cell, or what has one as its `voxels`.
      cell_size_mm: edge of the printed cell.
      conventions: text for the file that ParaView reads.
      image: picture of the cell (h, w, 3), if there is one already.

    Returns:
      sentences about what a missing package left out.

    Example:
      >>> mm.write_cell("out", "solid", np.ones((8, 8, 8)))
      []
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.asarray(getattr(cell, "voxels", cell))
    write.write_npy(folder / f"{name}.npy", voxels)
    missing = []
    try:
        vertices, faces = mesh.smooth_surface(voxels, cell_size_mm)
    except ImportError:
        missing.append(NO_MESHER)
        vertices, faces = mesh.voxel_surface(voxels, cell_size_mm)
    write.write_stl(folder / f"{name}.stl", vertices, faces)
    write.write_3mf(folder / f"{name}.3mf", vertices, faces, name=name)
    write.write_vti(
        folder / f"{name}.vti",
        {"density": voxels},
        spacing=cell_size_mm / voxels.shape[0],
        conventions=conventions,
    )
    if image is None:
        image = CellEntry(name=name, label=name, voxels=voxels).image
    write.write_png(folder / f"{name}.png", image)
    return missing
