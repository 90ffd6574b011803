"""Read arrays of NumPy (npy, npz), of MATLAB (mat) and of files without a header (raw).

Of a file with several arrays one is chosen by name, or the first that may be a cell.
Readers return the array and what they know of it: its name `array`, and `notes`. What a
damaged file makes NumPy and SciPy raise passes through; `io.read` says so.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.cells.symmetry import is_cubic
from mmdiff.errors import InputError


def read_numpy(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array or an archive: the content decides, whatever the suffix says."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content, {}
            with content as archive:
                names = [key] if key in archive.files else archive.files
                arrays = {name: _array_of_numbers(archive, name) for name in names}
                return _choose(arrays, path.name, key)
    except InputError:
        raise
    except ValueError as error:
        if "Object arrays" in str(error):
            raise ValueError("it holds Python objects") from error
        if "pickled" in str(error):  # what NumPy takes any unknown content for
            raise ValueError("it does not begin as one does") from error
        raise


def _array_of_numbers(archive, name):
    try:
        return archive[name]
    except ValueError:  # refused: it would have to be unpickled
        return np.empty(0, object)


def read_mat(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array of a MATLAB file up to version 7."""
    from scipy import io

    try:
        content = io.loadmat(path)
    except NotImplementedError as error:
        raise InputError(
            f"{path.name} is a MATLAB 7.3 file, which is not read here. Save it in "
            f"MATLAB with save('{path.name}', 'density', '-v7')."
        ) from error
    arrays = {
        name: value
        for name, value in content.items()
        if not name.startswith("__") and isinstance(value, np.ndarray)
    }
    return _choose(arrays, path.name, key)


def _choose(arrays: Mapping[str, np.ndarray], name: str, key: str):
    """Return the array called `key`, or the first of three axes, else of four."""
    if key in arrays:
        return arrays[key], {"array": key}
    if key:
        raise InputError(
            f"{name} holds no array {key!r}. Its arrays: {', '.join(arrays) or 'none'}."
            " Choose one with `key=NAME`."
        )
    real = [label for label, array in arrays.items() if array.dtype.kind in "biuf"]
    # Many cells in one array only where there is none of a single cell.
    fits = [label for label in real if arrays[label].ndim == 3]
    fits = fits or [label for label in real if arrays[label].ndim == 4]
    if not fits:
        there = ", ".join(f"{label} {array.shape}" for label, array in arrays.items())
        raise InputError(
            f"{name} holds no array of numbers with three axes, or four for many cells "
            f"(it has: {there or 'nothing'}). Save one cell as one array."
        )
    notes = []
    if len(fits) > 1:
        notes.append(
            f"{name}: took {fits[0]!r}, the first of {', '.join(fits)}; choose another "
            "with `key=NAME`."
        )
    return arrays[fits[0]], {"array": fits[0], "notes": notes}


def read_raw(
    path: pathlib.Path,
    *,
    shape: Sequence[int],
    dtype: str,
    order: str,
    bits: bool = False,
) -> np.ndarray:
    """Read a file without a header; see `read.read`."""
    if len(shape) != 3 or min(shape) < 1:
        given = f", and {tuple(shape)} is not three positive edges"
        raise InputError(
            f"{path.name} is a raw file and carries no shape"
            f"{given if any(shape) else ''}. Pass `shape=64,64,64` (and `dtype`, "
            "default uint8)."
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
    count, size = int(np.prod(shape)), path.stat().st_size
    packed = -(-count // 8)
    expected = packed if bits else count * kind.itemsize
    if size != expected:
        advice = "Correct `shape` or `dtype`."
        if size == packed and not bits:
            advice = "Eight voxels a byte are read with `bits=true`."
        raise InputError(
            f"{path.name} has {size} bytes; shape {tuple(shape)} of "
            f"{'bits' if bits else kind.name} needs {expected}. {advice}"
        )
    if bits:
        return _unpack(np.fromfile(path, np.uint8), shape, order)
    return np.fromfile(path, kind).reshape(shape, order=order)


def _unpack(content, shape, order) -> np.ndarray:
    """Return voxels of one bit, lowest first unless only the other way is cubic."""

    def voxels(first):
        flat = np.unpackbits(content, bitorder=first, count=int(np.prod(shape)))
        return flat.reshape(shape, order=order)

    low, high = voxels("little"), voxels("big")
    return high if is_cubic(high) and not is_cubic(low) else low
