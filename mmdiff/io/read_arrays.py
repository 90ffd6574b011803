"""Read arrays of NumPy (npy, npz), of MATLAB (mat) and of files without a header (raw).

Of a file with several arrays one is chosen by name, or the first that may be a cell.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.errors import InputError


def read_numpy(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array or an archive: the content decides, whatever the suffix says.

    Returns:
      the array, and a dictionary with its name `array` and `notes` where it has them.
    """
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


def read_mat(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array of a MATLAB file up to version 7; see `read_numpy`."""
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
            "`key=NAME`."
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
            "with `key=NAME`."
        )
    return found[chosen], {"array": chosen, "notes": notes}


def read_raw(
    path: pathlib.Path, *, shape: Sequence[int], dtype: str, order: str
) -> np.ndarray:
    """Read a file without a header; see `read.read`."""
    if len(shape) != 3 or min(shape) < 1:
        given = (
            f", and {tuple(shape)} is not three positive edges" if any(shape) else ""
        )
        raise InputError(
            f"{path.name} is a raw file and carries no shape{given}. Pass "
            "`shape=64,64,64` (and `dtype`, default uint8)."
        )
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise InputError(
            f"dtype={dtype} is not a NumPy type. Use uint8, uint16, float32, ..."
        ) from error
    if kind.hasobject:
        raise InputError(f"dtype={dtype} is not a type of numbers. Use uint8.")
    if order not in ("C", "F"):
        raise InputError(
            f"order={order} is unknown. Use C (z runs fastest, as NumPy writes) or "
            "F (x runs fastest)."
        )
    expected = int(np.prod(shape)) * kind.itemsize
    size = path.stat().st_size
    if size != expected:
        raise InputError(
            f"{path.name} has {size} bytes; shape {tuple(shape)} of {kind.name} needs "
            f"{expected}. Correct `shape` or `dtype`."
        )
    return np.fromfile(path, kind).reshape(shape, order=order)
