"""Read arrays of NumPy (npy, npz) and of files without a header (raw).

Of a file with several arrays one is chosen by name, or the first that may be a cell,
before any is read; and no more is read than headers announce. Readers return the array
and what they know of it: its name `array`, and `notes`. What a damaged file makes NumPy
raise passes through; `io.read` says so.
"""

import math
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import memory
from mmdiff.cells.symmetry import is_cubic
from mmdiff.errors import InputError, cut


class Entry(NamedTuple):
    """An array that a file announces: its shape, NumPy's letter for its kind, itself.

    Of no kind ("") are those that are no arrays of numbers. `load()` reads it.
    """

    shape: tuple[int, ...]
    kind: str
    load: Callable[[], np.ndarray]


def read_numpy(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array or an archive: the content decides, whatever the suffix says."""
    with path.open("rb") as file:
        begin = file.read(6)
        file.seek(0)
        if begin == np.lib.format.MAGIC_PREFIX:
            shape, kind, announced = _header(file)
            if kind.hasobject:
                raise ValueError("it holds Python objects")
            found = path.stat().st_size - file.tell()
            if found < announced:
                raise ValueError(f"{found} bytes of data, {announced} announced")
            require_for(announced, path.name, shape)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False), {}
        if not begin.startswith(b"PK"):
            raise ValueError("it does not begin as one does")
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            entries = {
                name.removesuffix(".npy"): _entry(archive, name, path) for name in names
            }
            return choose(entries, path.name, key)


def read_archive(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return all arrays of an archive, which fit into the memory together.

    Raises:
      MemoryLimitError: they do not. What damaged files raise passes through.
    """
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        entries = {key: _entry(archive, name, path) for key, name in members.items()}
        total = sum(member.file_size for member in archive.infolist())
        memory.require(total, f"reading {path.name}", "Free some memory.")
        return {name: entry.load() for name, entry in entries.items()}


def _header(file) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return shape, type and bytes of the array whose header comes next."""
    version = np.lib.format.read_magic(file)
    known = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in known:  # 3.0 names the fields of records in Unicode
        raise ValueError(f"version {version} of the format holds no numbers")
    shape, _, kind = known[version](file)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    return shape, kind, math.prod(shape) * kind.itemsize


def _entry(archive, name, path) -> Entry:
    """Return a member of an archive, of which only the header is read."""
    with archive.open(name) as file:
        shape, kind, announced = _header(file)
        found = archive.getinfo(name).file_size - file.tell()

    def load():
        if kind.hasobject:
            return np.empty(0, object)
        if found != announced:
            raise ValueError(f"{found} bytes in {name}, {announced} announced")
        require_for(announced, path.name, shape)
        with archive.open(name) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    return Entry(shape, "" if kind.hasobject else kind.kind, load)


def require_for(size: int, name: str, shape: tuple[int, ...]) -> None:
    """Raise MemoryLimitError where the array that a file announces is too large."""
    edges = " x ".join(map(str, shape))
    memory.require(size, f"{name} holds {edges} values: that", "Give a smaller cell.")


def inflate(data, size: int, bits: int = zlib.MAX_WBITS) -> bytes:
    """Return so many bytes from a zlib stream (or of gzip, by the window's `bits`).

    No more are unpacked: a stream that goes on, or ends before, raises ValueError, and
    so does one that fails its checksum.
    """
    stream = zlib.decompressobj(bits)
    try:
        found = stream.decompress(data, size + 1)  # one more for the end to be reached
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(found) > size:
        raise ValueError(f"more than the {size} bytes of data that are announced")
    if len(found) < size or not stream.eof:
        raise ValueError(f"{len(found)} bytes of data, {size} announced")
    return found


def from_text(text: bytes | str, name: str, kind: np.dtype) -> np.ndarray:
    """Return the numbers of a text, which have to be some of a type."""
    # A number takes two bytes there at least, and some 60 of Python on the way.
    memory.require(30 * len(text), f"reading {name} as text", "Save it as .npy.")
    numbers = np.array(text.split(), np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        values = numbers.astype(kind)
    if kind.kind in "iu" and not np.array_equal(values.astype(np.float64), numbers):
        raise ValueError(f"numbers that are none of type {kind.name}")
    return values


def choose(
    entries: Mapping[str, Entry], name: str, key: str
) -> tuple[np.ndarray, dict]:
    """Return the array called `key`, or the first of three axes, else of four."""
    if key in entries:
        return entries[key].load(), {"array": key}
    if key:
        raise InputError(
            f"{name} holds no array {cut(repr(key))}. Its arrays: "
            f"{cut(', '.join(entries)) or 'none'}. Choose one with `key=NAME`."
        )
    real = {label: x.shape for label, x in entries.items() if x.kind in tuple("biuf")}
    # Many cells in one array only where there is none of a single cell.
    fits = [label for label, shape in real.items() if len(shape) == 3]
    fits = fits or [label for label, shape in real.items() if len(shape) == 4]
    if not fits:
        there = ", ".join(f"{label} {x.shape}" for label, x in entries.items())
        raise InputError(
            f"{name} holds no array of numbers with three axes, or four for many cells "
            f"(it has: {cut(there) or 'nothing'}). Save one cell as one array."
        )
    notes = []
    if len(fits) > 1:
        notes.append(
            f"{name}: took {fits[0]!r}, the first of {cut(', '.join(fits))}; choose "
            "another with `key=NAME`."
        )
    return entries[fits[0]].load(), {"array": fits[0], "notes": notes}


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
    except (TypeError, ValueError, SyntaxError) as error:
        raise InputError(
            f"dtype={cut(dtype)} is not a NumPy type. Use uint8, uint16, float32, ..."
        ) from error
    if kind.kind not in "biuf":
        raise InputError(f"dtype={cut(dtype)} is not a type of numbers. Use uint8.")
    if order not in ("C", "F"):
        raise InputError(
            f"order={order} is unknown. Use C (z runs fastest, as NumPy writes) or "
            "F (x runs fastest)."
        )
    count, size = math.prod(map(int, shape)), path.stat().st_size
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
    require_for(count if bits else size, path.name, tuple(shape))
    if bits:
        return _unpack(np.fromfile(path, np.uint8), shape, order)
    return np.fromfile(path, kind).reshape(shape, order=order)


def _unpack(content, shape, order) -> np.ndarray:
    """Return voxels of one bit, lowest first unless only the other way is cubic."""

    def voxels(first):
        flat = np.unpackbits(content, bitorder=first, count=math.prod(shape))
        return flat.reshape(shape, order=order)

    low, high = voxels("little"), voxels("big")
    return high if is_cubic(high) and not is_cubic(low) else low
