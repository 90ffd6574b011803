"""Read voxel arrays from the files people have: npy, npz, vti, nrrd, mat, raw.

`read` returns the array as the file holds it, axes x y z, and a dictionary of what was
found (format, type, chosen array, notes for the user). It changes no values: making a
density of them is the task of `mmdiff.io.prepare`. VTI and NRRD have modules of their
own.
"""

import pathlib
import zipfile
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
      the array (nx, ny, nz) of a real or boolean type, and a dictionary with `file`,
      `format`, `dtype`, `shape`, `array` (its name or None) and `notes` (sentences).

    Raises:
      InputError: no such file, an unknown or damaged format, or no array of three axes.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(
            f"no input file {path}. Give a file of the kinds {', '.join(SUFFIXES)}, or "
            "a folder of them, with --config.input=PATH."
        )
    kind = path.suffix.lower()
    if kind == ".raw":
        array, info = _read_raw(path, tuple(shape), dtype, order), {}
    elif kind in _READERS:
        array, info = _READERS[kind](path, key)
    else:
        raise InputError(
            f"{path.name} has an unknown format. Known are {', '.join(SUFFIXES)}."
        )
    array, notes = _three_axes(array, path.name)
    return array, {
        "file": path.name,
        "format": kind[1:],
        "array": info.get("array"),
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "notes": [*info.get("notes", ()), *notes],
    }


def find(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that `read` knows, sorted by name."""
    return sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _three_axes(array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Drop axes of length 1 and check rank and type."""
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
        raise InputError(f"{name} holds no values (shape {array.shape}).")
    if array.ndim == 3:
        return array, []
    squeezed = array.squeeze()
    if squeezed.ndim != 3:
        raise InputError(
            f"{name} holds an array of shape {array.shape}; voxels need three axes. "
            "Save one cell per file."
        )
    return squeezed, [f"{name}: shape {array.shape} taken as {squeezed.shape}."]


def _read_npy(path, key):
    try:
        return np.load(path, allow_pickle=False), {}
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path.name} is not a readable NumPy file ({error}). Write it again with "
            "numpy.save."
        ) from error


def _read_npz(path, key):
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _choose(_Lazy(archive), path.name, key)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path.name} is not a readable NumPy archive ({error}). Write it again "
            "with numpy.savez_compressed."
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
    """Return the array called `key`, or the first of three axes."""
    if key and key not in arrays:
        there = ", ".join(arrays) or "none"
        raise InputError(
            f"{name} holds no array {key!r}. Its arrays: {there}. Choose one with "
            "--config.key=NAME."
        )
    if key:
        return arrays[key], {"array": key}
    found = {label: np.asarray(arrays[label]) for label in arrays}
    fits = [
        label
        for label, array in found.items()
        if array.ndim == 3 and (array.dtype == bool or array.dtype.kind in "iuf")
    ]
    if not fits:
        there = ", ".join(f"{label} {array.shape}" for label, array in found.items())
        raise InputError(
            f"{name} holds no array of numbers with three axes (it has: "
            f"{there or 'nothing'}). Save one cell as one array."
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
        raise InputError(
            f"{path.name} is a raw file and carries no shape. Pass "
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
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".vti": lambda path, key: read_vti.read_vti(path, key=key),
    ".nrrd": lambda path, key: read_nrrd.read_nrrd(path),
    ".nhdr": lambda path, key: read_nrrd.read_nrrd(path),
}
