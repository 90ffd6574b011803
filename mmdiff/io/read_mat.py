"""Read arrays of MATLAB files, version 5 to 7 (.mat), in plain Python.

A file is a row of elements, each a tag (type, bytes) and its data; an array is an
element of elements: flags, dimensions, name, values. SciPy's reader is not used, since
it looks types of damaged files up without a check and takes the process down. Here no
number of a file is believed: what does not fit raises ValueError, which `io.read`
explains. Compressed elements are read as far as their array is announced to go.
Cells, structs and sparse matrices are named, not read.
"""

import math
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmdiff.errors import InputError
from mmdiff.io.read_arrays import Entry, choose, inflate, require_for

# Types of elements, and classes of arrays of numbers.
_MATRIX, _COMPRESSED, _INT8, _INT32, _UINT32 = 14, 15, 1, 5, 6
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
    13: "u8",
}  # fmt: skip
_NUMBERS = range(6, 16)
_COMPLEX = 0x0800
_HEAD = 4096  # bytes in which flags, dimensions and name of an array stand


class _Tag(NamedTuple):
    """Type and bytes of an element, where its data begin and where the next one is."""

    kind: int
    size: int
    start: int
    end: int


def read_mat(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read an array of a MATLAB file up to version 7."""
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order and struct.unpack(order + "H", content[124:126])[0] == 0x0200:
        raise InputError(
            f"{path.name} is a MATLAB 7.3 file, which is not read here. Save it in "
            f"MATLAB with save('{path.name}', 'density', '-v7')."
        )
    if order is None or 0 in content[:4]:
        raise ValueError("it does not begin as one of version 5 to 7 does")
    entries = {}
    for data in _arrays(content, order):
        name, entry = _entry(data, order, path.name)
        if name and not name.startswith("__"):
            entries[name] = entry
    return choose(entries, path.name, key)


class _Data(NamedTuple):
    """The bytes of an element with its tag; packed ones are compressed."""

    content: memoryview
    packed: bool

    def head(self) -> bytes:
        """Return the first bytes, fewer where there are no more."""
        if self.packed:
            return zlib.decompressobj().decompress(self.content, _HEAD)
        return self.content[:_HEAD].tobytes()

    def whole(self, size: int) -> bytes:
        """Return all bytes; ValueError unless there are so many."""
        return inflate(self.content, size) if self.packed else self.content.tobytes()


def _arrays(content: bytes, order: str) -> Iterator[_Data]:
    """Yield the elements of a file that hold arrays."""
    place, whole = 128, memoryview(content)
    while len(content) - place >= 8:
        kind, size = struct.unpack_from(order + "II", content, place)
        data = whole[place + 8 : place + 8 + size]
        if len(data) < size:
            raise ValueError(f"{len(data)} bytes of an element, {size} announced")
        if kind == _COMPRESSED:
            yield _Data(data, True)  # the tag of the array is in there
        elif kind == _MATRIX:
            yield _Data(whole[place : place + 8 + size], False)
        else:
            raise ValueError(f"element of type {kind} where an array begins")
        place += 8 + size


def _entry(data: _Data, order: str, file: str) -> tuple[str, Entry]:
    """Return name and entry of an array, of which the values are not read yet."""
    head = data.head()
    matrix = _tag(head, 0, order)
    if matrix.kind != _MATRIX:
        raise ValueError(f"element of type {matrix.kind} where an array begins")
    flags = _tag(head, matrix.start, order)
    if flags.kind != _UINT32 or flags.size != 8:
        raise ValueError("flags of an array are not where they belong")
    bits = int(_values(head, flags, order)[0])
    dimensions = _tag(head, flags.end, order)
    if dimensions.kind != _INT32:
        raise ValueError("dimensions of an array are not where they belong")
    shape = tuple(_values(head, dimensions, order).tolist())
    name = _tag(head, dimensions.end, order)
    if name.kind != _INT8:
        raise ValueError("the name of an array is not where it belongs")
    label = _values(head, name, order).tobytes().decode("latin-1")
    if min(shape, default=-1) < 0:
        raise ValueError(f"dimensions {shape}")
    numbers = (bits & 0xFF) in _NUMBERS
    if not numbers or bits & _COMPLEX:
        kind = np.dtype(complex if numbers else object)
        return label, Entry(shape, kind.kind, lambda: np.empty(0, kind))
    values = _tag(head, name.end, order)
    stored = np.dtype(order + _TYPES.get(values.kind, "V"))

    def load():
        count = math.prod(shape)
        if values.size != count * stored.itemsize:
            raise ValueError(f"{values.size} bytes of values for dimensions {shape}")
        require_for(values.size, file, shape)
        flat = _values(data.whole(matrix.end), values, order)
        return flat.reshape(shape, order="F")

    return label, Entry(shape, stored.kind, load)


def _tag(content: bytes, place: int, order: str) -> _Tag:
    """Return the tag of the element at a place."""
    if len(content) < place + 8:
        raise ValueError("an array ends before its values")
    kind, size = struct.unpack_from(order + "II", content, place)
    if kind >> 16:  # up to four bytes of data stand in the tag itself
        if kind >> 16 > 4:
            raise ValueError(f"{kind >> 16} bytes in a tag")
        return _Tag(kind & 0xFFFF, kind >> 16, place + 4, place + 8)
    start = place + 8
    return _Tag(kind, size, start, start + -(-size // 8) * 8)


def _values(content: bytes, tag: _Tag, order: str) -> np.ndarray:
    """Return the values of an element of numbers."""
    stored = np.dtype(order + _TYPES.get(tag.kind, "V"))
    if not stored.itemsize or tag.size % stored.itemsize:
        raise ValueError(f"{tag.size} bytes of type {tag.kind}")
    if len(content) < tag.start + tag.size:
        raise ValueError("an array ends before its values")
    return np.frombuffer(content, stored, tag.size // stored.itemsize, tag.start)
