"""Read voxel arrays from the files people have: npy, npz, vti, nrrd, mat, raw.

`read` returns the array as the file holds it, axes x y z, and a dictionary of what was
found (format, type, chosen array, notes for the user); `select` takes one or all of
the cells of an array with four axes. Values stay as they are: making a density of them
is the task of `mmdiff.cells.prepare`. VTI and NRRD have modules of their own.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.errors import InputError
from mmdiff.io import read_nrrd, read_vti

SUFFIXES = (".npy", ".npz", ".vti", ".nrrd", ".nhdr", ".mat", ".raw")


def read(
    path: str | pathlib.Path,
    *,
    key: str = "",
    shape: Sequence[int] = (),
    dtype: str = "uint8",
    order: str = "C",
) -> tuple[np.ndarray, dict]:
    """Read one array of voxels.

    Args:
      path: the file; its suffix, one of `SUFFIXES`, says how to read it.
      key: name of the array in a file that holds several; empty for the only or the
        first one that fits.
      shape: edges (nx, ny, nz) of a raw file.
      dtype: NumPy type of a raw file, such as uint8, <f4, >u2.
      order: of a raw file: "C" when z runs fastest (NumPy), "F" when x does (images).

    Returns:
      the array (nx, ny, nz), or (b, nx, ny, nz) for many cells, of a real or boolean
      type, and a dictionary with `file`, `format`, `dtype`, `shape`, `array` (its name
      or None) and `notes` (sentences).

    Raises:
      InputError: no such file, an unknown or damaged format, or no array of three or
        four axes.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(
            f"no input file {path}. Give a file of the kinds {', '.join(SUFFIXES)}, or "
            "a folder of them, with --config.input=PATH."
        )
    kind = path.suffix.lower()
    try:
        if kind == ".raw":
            array, info = _read_raw(path, tuple(shape), dtype, order), {}
        elif kind in _READERS:
            array, info = _READERS[kind](path, key)
        else:
            raise InputError(
                f"{path.name} has an unknown format. Known are {', '.join(SUFFIXES)}."
            )
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read ({error.strerror or error}). Check that it "
            "may be read and that its disk is there."
        ) from error
    array, notes = _check_axes(array, path.name)
    return array, {
        "file": path.name,
        "format": kind[1:],
        "array": info.get("array"),
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "notes": [*info.get("notes", ()), *notes],
    }


def select(
    array: np.ndarray, name: str, index: str = ""
) -> list[tuple[int | None, np.ndarray]]:
    """Return the chosen cells of an array, each with its number.

    Args:
      array: (nx, ny, nz), or (b, nx, ny, nz) for many cells.
      name: of the file, for messages.
      index: number of one cell, counted from 0; "all"; or empty for the only one.

    Returns:
      pairs of number and cell (nx, ny, nz); the number is None without a fourth axis.

    Raises:
      InputError: several cells and none chosen, or one that is not there.
    """
    cells = [array] if array.ndim == 3 else array
    last = len(cells) - 1
    if index == "all" or (index == "" and last == 0):
        numbers = list(range(last + 1))
    elif index == "":
        raise InputError(
            f"{name} holds {last + 1} cells (shape {array.shape}). Choose one with "
            f"--config.index=0 to --config.index={last}, or take every one with "
            "--config.index=all."
        )
    elif last == 0 and index != "0":
        raise InputError(
            f"{name} holds one cell (shape {array.shape}), so index={index} is none of "
            "it. Leave --config.index empty."
        )
    elif not index.isdecimal() or int(index) > last:
        raise InputError(
            f"index={index} is no cell of {name}, which holds {last + 1} (shape "
            f"{array.shape}). Use a number from 0 to {last}, or all."
        )
    else:
        numbers = [int(index)]
    return [(None if array.ndim == 3 else i, cells[i]) for i in numbers]


def find(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that `read` knows, sorted by name."""
    return sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _check_axes(array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Check type and rank, drop axes of length 1, and put the axis of cells first."""
    if array.dtype != bool and not np.issubdtype(array.dtype, np.number):
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


def _read_numpy(path, key):
    """Read an array or an archive: the content decides, whatever the suffix says."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content, {}
            with content as archive:
                return _choose(_Lazy(archive), path.name, key)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # NumPy and zipfile let all kinds through
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = str(error)
        if what.startswith("Object arrays"):
            what = "it holds Python objects"
        elif "pickled" in what:  # what NumPy takes any unknown content for
            what = "it does not begin as one does"
        raise InputError(
            f"{path.name} is not a readable NumPy file ({what}). Write it again with "
            "numpy.save or numpy.savez_compressed, as an array of numbers."
        ) from error


class _Lazy(Mapping):
    """The arrays of an archive; one of Python objects reads as an empty array."""

    def __init__(self, archive):
        self._archive = archive

    def __getitem__(self, name):
        try:
            return self._archive[name]
        except ValueError:  # refused: it would have to be unpickled
            return np.empty(0, object)

    def __iter__(self):
        return iter(self._archive.files)

    def __len__(self):
        return len(self._archive.files)


def _read_mat(path, key):
    from scipy import io

    try:
        content = io.loadmat(path)
    except NotImplementedError as error:
        raise InputError(
            f"{path.name} is a MATLAB 7.3 file, which is not read here. Save it in "
            f"MATLAB with save('{path.name}', 'density', '-v7')."
        ) from error
    except Exception as error:  # SciPy lets all kinds through for damaged files
        raise InputError(
            f"{path.name} is not a readable MATLAB file ({error}). Save it in MATLAB "
            f"with save('{path.name}', 'density', '-v7')."
        ) from error
    arrays = {
        name: value
        for name, value in content.items()
        if not name.startswith("__") and isinstance(value, np.ndarray)
    }
    return _choose(arrays, path.name, key)


def _choose(arrays: Mapping[str, np.ndarray], name: str, key: str):
    """Return the array called `key`, or the first of three axes, else of four."""
    if key and key not in arrays:
        there = ", ".join(arrays) or "none"
        raise InputError(
            f"{name} holds no array {key!r}. Its arrays: {there}. Choose one with "
            "--config.key=NAME."
        )
    if key:
        return arrays[key], {"array": key}
    found = {label: np.asarray(arrays[label]) for label in arrays}
    real = [label for label, array in found.items() if array.dtype.kind in "biuf"]
    # Many cells in one array only where there is none of a single cell.
    fits = [label for label in real if found[label].ndim == 3]
    fits = fits or [label for label in real if found[label].ndim == 4]
    if not fits:
        there = ", ".join(f"{label} {array.shape}" for label, array in found.items())
        raise InputError(
            f"{name} holds no array of numbers with three axes, or four for many cells "
            f"(it has: {there or 'nothing'}). Save one cell as one array."
        )
    chosen = fits[0]
    notes = []
    if len(fits) > 1:
        notes.append(
            f"{name}: took {chosen!r}, the first of {', '.join(fits)}; choose another "
            "with --config.key=NAME."
        )
    return found[chosen], {"array": chosen, "notes": notes}


def _read_raw(path, shape, dtype, order):
    if len(shape) != 3 or min(shape) < 1:
        given = f", and {shape} is not three positive edges" if any(shape) else ""
        raise InputError(
            f"{path.name} is a raw file and carries no shape{given}. Pass "
            "--config.raw.shape=64,64,64 (and --config.raw.dtype, default uint8)."
        )
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise InputError(
            f"raw.dtype={dtype} is not a NumPy type. Use uint8, uint16, float32, ..."
        ) from error
    if kind.hasobject:
        raise InputError(f"raw.dtype={dtype} is not a type of numbers. Use uint8.")
    if order not in ("C", "F"):
        raise InputError(
            f"raw.order={order} is unknown. Use C (z runs fastest, as NumPy writes) or "
            "F (x runs fastest)."
        )
    expected = int(np.prod(shape)) * kind.itemsize
    size = path.stat().st_size
    if size != expected:
        raise InputError(
            f"{path.name} has {size} bytes; shape {tuple(shape)} of {kind.name} needs "
            f"{expected}. Correct --config.raw.shape or --config.raw.dtype."
        )
    return np.fromfile(path, kind).reshape(shape, order=order)


_READERS = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".mat": _read_mat,
    ".vti": lambda path, key: read_vti.read_vti(path, key=key),
    ".nrrd": lambda path, key: read_nrrd.read_nrrd(path),
    ".nhdr": lambda path, key: read_nrrd.read_nrrd(path),
}
