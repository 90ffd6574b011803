"""The files of one cell: NumPy, slicer, ParaView and a picture.

A cell with a level-set field is meshed and drawn as the surface of that field; its
voxels are one more view of it.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import numpy as np

from mmdiff.cells import mesh, smooth_mesh
from mmdiff.io import render, write

KINDS = ("npy", "stl", "3mf", "glb", "vti", "png")
NO_MESHER = (
    "smooth meshes need scikit-image: pip install 'mmdiff[viz]'. Wrote the "
    "voxel-exact ones instead."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CellEntry:
    """A cell of a report: stem of its files, its name there, caption of its picture.

    `psi` is the field of its octant (mmdiff.cells.surface), where it has one; `box`
    that of one without an octant, at the corners of its voxels.
    """

    name: str
    label: str
    voxels: np.ndarray
    caption: str = ""
    psi: np.ndarray | None = None
    box: np.ndarray | None = None

    @functools.cached_property
    def image(self) -> np.ndarray:
        """Picture of the cell, cut open where closed walls would hide the inside."""
        left_out = render.cutaway(self.voxels)
        return render.render(self.voxels, psi=self.psi, cutaway=left_out)

    def take(self, image: np.ndarray) -> None:
        """Take its picture, if that was drawn elsewhere."""
        vars(self)["image"] = image

    @property
    def files(self) -> list[str]:
        """Names of its files."""
        return [f"{self.name}.{kind}" for kind in KINDS]


def write_cell(
    folder: str | os.PathLike,
    name: str,
    cell,
    *,
    psi: np.ndarray | None = None,
    box: np.ndarray | None = None,
    cell_size_mm: float = 10.0,
    conventions: str = "",
    image: np.ndarray | None = None,
) -> list[str]:
    """Write the files of one cell, one for each of `KINDS`.

    Args:
      folder: directory, made where it is missing.
      name: stem of the files.
      cell: (nx, ny, nz) binary cell, or what has one as its `voxels`, and maybe a
        `psi`.
      psi: field of the cell's octant, if it has one: meshes and picture show that.
      box: field of a cell without an octant at the corners of its voxels: meshes show
        that.
      cell_size_mm: edge of the printed cell along x.
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
    psi = getattr(cell, "psi", None) if psi is None else psi
    write.write_npy(folder / f"{name}.npy", voxels)
    vertices, faces, missing = surface_of(voxels, psi, cell_size_mm, box=box)
    write.write_stl(folder / f"{name}.stl", vertices, faces)
    write.write_3mf(folder / f"{name}.3mf", vertices, faces, name=name)
    write.write_glb(folder / f"{name}.glb", vertices, faces, name=name)
    write.write_vti(
        folder / f"{name}.vti",
        {"density": voxels},
        spacing=3 * (cell_size_mm / voxels.shape[0],),
        conventions=conventions,
    )
    if image is None:
        image = CellEntry(name=name, label=name, voxels=voxels, psi=psi).image
    write.write_png(folder / f"{name}.png", image)
    return missing


def write_entry(
    folder: str | os.PathLike, entry: CellEntry, cell_size_mm: float, conventions: str
) -> tuple[list[str], np.ndarray]:
    """Write the files of a cell of a report; return what is left out, and its picture.

    Folder and edge see `write_cell`.
    """
    missing = write_cell(
        folder,
        entry.name,
        entry.voxels,
        psi=entry.psi,
        box=entry.box,
        cell_size_mm=cell_size_mm,
        conventions=conventions,
        image=entry.image,
    )
    return missing, entry.image


def surface_of(
    voxels: np.ndarray,
    psi: np.ndarray | None,
    cell_size_mm: float,
    m: int | None = None,
    box: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the mesh of a cell's field, or of its voxels, and what is left out.

    For `m` see `mesh.field_surface`, for `box` see `write_cell`.
    """
    try:
        if box is not None:
            return *mesh.box_surface(box, cell_size_mm / voxels.shape[0]), []
        if psi is None:
            return *smooth_mesh.smooth_surface(voxels, cell_size_mm), []
        return *mesh.field_surface(psi, cell_size_mm, m), []
    except ImportError:
        return *mesh.voxel_surface(voxels, cell_size_mm), [NO_MESHER]


def block_files(
    stem: str, values: np.ndarray, spacing_mm: float
) -> tuple[dict[str, Callable[[pathlib.Path], None]], np.ndarray]:
    """Return what writes each file of a block of cells, by name, and its voxels.

    Args:
      stem: of the files, .stl, .3mf, .glb, .npy and .png.
      values: field at the corners of the voxels, from face to face.
      spacing_mm: edge of a voxel.
    """
    voxels = (centres(values) > 0).astype(np.uint8)

    @functools.cache
    def surface():
        return mesh.box_surface(values, spacing_mm)

    def write_mesh(kind, path):
        try:
            vertices, faces = surface()
        except ImportError:
            vertices, faces = mesh.voxel_surface(voxels, spacing_mm * len(voxels))
        {"stl": write.write_stl, "3mf": write.write_3mf, "glb": write.write_glb}[kind](
            path, vertices, faces
        )

    files = {
        f"{stem}.{kind}": functools.partial(write_mesh, kind)
        for kind in ("stl", "3mf", "glb")
    }
    files[f"{stem}.npy"] = lambda path: write.write_npy(path, voxels)
    # Closed walls would hide the inside.
    half = slice(voxels.shape[2] // 2 if render.cutaway(voxels) else None)
    shown = voxels[:, :, half]
    files[f"{stem}.png"] = lambda path: write.write_png(path, render.render(shown))
    return files, voxels


def centres(values: np.ndarray) -> np.ndarray:
    """Return means over the eight corners of every voxel of a field."""
    for axis in range(3):
        values = np.moveaxis(values, axis, 0)
        values = np.moveaxis((values[1:] + values[:-1]) / 2, 0, axis)
    return values
