"""Read voxel arrays from the files people have: arrays, images, surfaces.

`read` returns the array as the file holds it, axes x y z, and a dictionary of what was
found (format, type, chosen array, notes for the user); `select` takes one or all of
the cells of an array with four axes. Values stay as they are there; `read_cell` returns
one whole cell of densities.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from mmdiff import memory
from mmdiff.cells.prepare import KINDS, to_density
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.errors import InputError, MemoryLimitError, check_ranges, cut
from mmdiff.io import (
    read_arrays,
    read_mat,
    read_meshes,
    read_nrrd,
    read_volumes,
    read_vti,
)
from mmdiff.typing import Float

_READERS = {
    ".npy": read_arrays.read_numpy,
    ".npz": read_arrays.read_numpy,
    ".vti": read_vti.read_vti,
    ".nrrd": read_nrrd.read_nrrd,
    ".nhdr": read_nrrd.read_nrrd,
    ".mat": read_mat.read_mat,
    ".tif": read_volumes.read_tiff,
    ".tiff": read_volumes.read_tiff,
    ".h5": read_volumes.read_hdf5,
    ".hdf5": read_volumes.read_hdf5,
}
MESHES = (".stl", ".3mf", ".obj", ".ply")
SUFFIXES = (*_READERS, ".raw", *MESHES)
# What damaged files are not, and what to do about them.
_NUMPY = "numpy.save or numpy.savez_compressed, as an array of numbers"
_DAMAGED = {
    ".npy": ("NumPy", f"Write it again with {_NUMPY}"),
    ".npz": ("NumPy", f"Write it again with {_NUMPY}"),
    ".vti": ("VTI", "Write it again from ParaView, or save the array as .npy"),
    ".mat": ("MATLAB", "Save it in MATLAB with save(FILE, 'density', '-v7')"),
}
_NO_SUFFIX = " A file without a header needs `shape=64,64,64`."
_CONVERT = " Copy the grid to an array with OpenVDB's copyToArray and save it as .npy."


def read_cell(
    path: str | os.PathLike,
    *,
    input_is: str = "cell",
    scale: float = 1.0,
    key: str = "",
    index: int | str = "",
    **layout,
) -> Float[np.ndarray, "nx ny nz"]:
    """Return one whole cell of densities from a voxel file.

    Args:
      path: a file of one of the kinds in `SUFFIXES`.
      input_is: "cell", or "octant" for the part [0, 1/2]^3 of a mirror-symmetric cell,
        which is mirrored.
      scale: value of solid in the file; 255 for masks of 0 and 255.
      key: name of the array in a file that holds several.
      index: number of the cell in a file that holds several.
      **layout: shape, dtype, order and bits of a .raw file, and voxels of a closed
        surface, see `read`.

    Returns:
      densities from 0 (void) to 1 (solid), float32, or float64 where the file is.

    Raises:
      InputError: a file that cannot be read, several cells and none chosen, or values
        outside [0, scale].

    Example:
      >>> np.save("octant.npy", np.eye(8)[:, :, None] * np.full(8, 255))
      >>> mm.read_cell("octant.npy", input_is="octant", scale=255).shape
      (16, 16, 16)
    """
    if input_is not in KINDS:
        raise InputError(f"input_is={input_is} is unknown. Use {', '.join(KINDS)}.")
    check_ranges({"scale": scale}, {"scale": "(0, inf)"})
    array, _ = read(path, key=key, **layout)
    name = pathlib.Path(path).name
    cells = select(array, name, str(index))
    if len(cells) > 1:
        raise InputError(
            f"{name} holds {len(cells)} cells. Choose one of them, as in `index=0`."
        )
    density = to_density(cells[0][1], name, scale=scale)
    return octant_to_cell(density) if input_is == "octant" else density


def read(
    path: str | os.PathLike,
    *,
    key: str = "",
    shape: Sequence[int] = (),
    dtype: str = "uint8",
    order: str = "C",
    bits: bool = False,
    voxels: int = 64,
) -> tuple[np.ndarray, dict]:
    """Read one array of voxels.

    Args:
      path: a file of one of the kinds in `SUFFIXES`.
      key: name of the array; empty for the only or the first one that fits.
      shape: edges (nx, ny, nz) of a raw file.
      dtype: NumPy type of a raw file, such as uint8, <f4, >u2.
      order: of a raw file: "C" when z runs fastest (NumPy), "F" when x does (images).
      bits: whether a raw file holds eight voxels a byte.
      voxels: along the longest edge of a closed surface, which is filled.

    Returns:
      the array (nx, ny, nz), or (b, nx, ny, nz) for many cells, of a real or boolean
      type, and a dictionary with `file`, `format`, `dtype`, `shape`, `array` (its name
      or None), `spacing` (edges of a voxel, if the file tells them) and `notes`
      (sentences).
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(
            f"no input file {path}. Give a file of the kinds {', '.join(SUFFIXES)}, or "
            "a folder of them, with `input=PATH`."
        )
    kind = path.suffix.lower()
    if not kind and any(shape):
        kind = ".raw"
    if kind not in SUFFIXES:
        raise InputError(
            f"{path.name} has an unknown format. Known are {', '.join(SUFFIXES)}."
            f"{_CONVERT if kind == '.vdb' else '' if kind else _NO_SUFFIX}"
        )
    info: dict = {}
    size = path.stat().st_size
    memory.require(size, f"reading {path.name}", "Give a smaller file.")
    try:
        if kind == ".raw":
            layout = {"shape": shape, "dtype": dtype, "order": order, "bits": bits}
            array = read_arrays.read_raw(path, **layout)
        elif kind in MESHES:
            array, info = read_meshes.read_mesh(path, voxels=voxels)
        else:
            array, info = _READERS[kind](path, key=key)
        spacing = [float(length) for length in info.get("spacing", ())]
    except (InputError, MemoryLimitError, MemoryError):
        raise
    except Exception as error:  # NumPy, SciPy and zlib let all kinds through
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(
                f"{path.name} cannot be read ({error.strerror}). Check that it may be "
                "read and that its disk is there."
            ) from error
        again = "Write it again, or save the array as .npy"
        what, advice = _DAMAGED.get(kind, (kind[1:].upper(), again))
        raise InputError(
            f"{path.name} is not a readable {what} file ({cut(error)}). {advice}."
        ) from error
    array, notes = _check_axes(array, path.name)
    usable = len(spacing) == 3 and all(0 < edge < np.inf for edge in spacing)
    if usable and max(spacing) - min(spacing) > 1e-5 * max(spacing):
        edges = " x ".join(f"{edge:g}" for edge in spacing)
        notes.append(f"{path.name}: its voxels measure {edges}.")
    return array, {
        "file": path.name,
        "format": kind[1:],
        "array": info.get("array"),
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "spacing": spacing if usable else None,
        "notes": [*info.get("notes", ()), *notes],
    }


def select(
    array: np.ndarray, name: str, index: str = ""
) -> list[tuple[int | None, np.ndarray]]:
    """Return the chosen cells (nx, ny, nz), with numbers where there is a fourth axis.

    The index is the number of one cell, from 0; "all"; or empty for the only one. The
    name of the file is for messages.
    """
    numbers = choose(array.shape, name, index)
    return [(None, array)] if array.ndim == 3 else [(i, array[i]) for i in numbers]


def choose(shape: tuple[int, ...], name: str, index: str = "") -> list[int]:
    """Return the numbers of the cells that `select` takes of an array of this shape."""
    last = (1 if len(shape) == 3 else shape[0]) - 1
    if index == "all" or (index == "" and last == 0):
        return list(range(last + 1))
    if index == "":
        raise InputError(
            f"{name} holds {last + 1} cells (shape {shape}). Choose one with "
            f"`index=0` to `index={last}`, or take every one with `index=all`."
        )
    if last == 0 and index != "0":
        raise InputError(
            f"{name} holds one cell (shape {shape}), so index={cut(index)} is none of "
            "it. Leave `index` empty."
        )
    if not index.isdecimal() or len(index) > 9 or int(index) > last:
        raise InputError(
            f"index={cut(index)} is no cell of {name}, which holds {last + 1} (shape "
            f"{shape}). Use a number from 0 to {last}, or all."
        )
    return [int(index)]


def find(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that `read` knows, sorted by name."""
    return sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _check_axes(array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Check type and rank, drop axes of length 1, and put the axis of cells first."""
    if array.dtype.kind not in "biufc":  # spans of time are integers to NumPy
        raise InputError(
            f"{name} holds values of type {array.dtype}, not numbers. Save the voxels "
            "as an array of numbers."
        )
    if np.iscomplexobj(array):
        raise InputError(
            f"{name} holds complex numbers. Save the real part that is the density."
        )
    if not array.size:
        raise InputError(
            f"{name} holds no values (shape {array.shape}). Save one cell as one array."
        )
    if array.ndim == 3:
        return array, []
    squeezed = array.squeeze()
    if squeezed.ndim not in (3, 4):
        raise InputError(
            f"{name} holds an array of shape {array.shape}; voxels need three axes, or "
            "four with many cells along the first. Save one cell as one array."
        )
    notes = []
    if squeezed.shape != array.shape:
        notes.append(f"{name}: shape {array.shape} taken as {squeezed.shape}.")
    if squeezed.ndim == 4 and len({*squeezed.shape[:3]}) < len({*squeezed.shape[1:]}):
        notes.append(
            f"{name}: shape {squeezed.shape} taken as {squeezed.shape[3]} cells along "
            "the last axis."
        )
        squeezed = np.moveaxis(squeezed, 3, 0)
    return squeezed, notes
