"""Read NRRD volumes (nearly raw raster data, https://teem.sourceforge.net/nrrd).

One header of `field: value` lines, then the data in the same file or in one detached
file; encodings raw, gzip and text. The first axis runs fastest, so the array comes out
with axes x y z. Space directions, origins and key/value pairs are passed over.
"""

import errno
import math
import os
import pathlib
import re
import zlib

import numpy as np

from mmdiff.errors import InputError, cut
from mmdiff.io.read_arrays import from_text, inflate, require_for

_TYPES = {
    "i1": "signed char;int8;int8_t",
    "u1": "uchar;unsigned char;uint8;uint8_t",
    "i2": "short;short int;signed short;signed short int;int16;int16_t",
    "u2": "ushort;unsigned short;unsigned short int;uint16;uint16_t",
    "i4": "int;signed int;int32;int32_t",
    "u4": "uint;unsigned int;uint32;uint32_t",
    "i8": "longlong;long long;long long int;signed long long;int64;int64_t",
    "u8": "ulonglong;unsigned long long;unsigned long long int;uint64;uint64_t",
    "f4": "float",
    "f8": "double",
}
_CODE = {name: code for code, names in _TYPES.items() for name in names.split(";")}


def read_nrrd(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read the volume of a .nrrd file, or of a .nhdr header beside its data file.

    It has no name, so `key` is of no use. What damaged files raise passes through;
    `io.read` says so.
    """
    content = path.read_bytes()
    if not content.startswith(b"NRRD"):
        raise ValueError("it does not begin with NRRD")
    fields, data = _split(content)
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes {sizes}")
        kind = np.dtype(_CODE[fields["type"]])
        lines, skip = (
            int(fields.get(f"{what} skip", fields.get(f"{what}skip", 0)))
            for what in ("line", "byte")
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"type, sizes or skips: {error}") from error
    file = fields.get("data file", fields.get("datafile"))
    if file is not None:
        data = _detached(path, file)
    if data.count(b"\n") < lines:
        raise ValueError(f"fewer than {lines} lines to skip")
    if lines > 0:
        data = data.split(b"\n", lines)[-1]
    encoding = fields.get("encoding", "raw").lower()
    count = math.prod(sizes)
    if encoding in ("text", "txt", "ascii"):
        values = from_text(data[max(skip, 0) :], path.name, kind)
    elif encoding in ("raw", "gzip", "gz"):
        big = fields.get("endian", "little").lower() == "big"
        kind = kind.newbyteorder(">" if big else "<")
        size = count * kind.itemsize
        if encoding != "raw":
            if skip < 0:
                raise ValueError(f"byte skip {skip} of compressed data")
            require_for(skip + size, path.name, tuple(sizes))
            data = inflate(data, skip + size, zlib.MAX_WBITS + 32)  # gzip or zlib
        start = len(data) - size if skip == -1 else skip
        if start < 0 or len(data) < start + size:
            raise ValueError(f"{len(data)} bytes of data, {size} needed")
        values = np.frombuffer(data, kind, count, start)
    else:
        raise InputError(
            f"{path.name} has the NRRD encoding {cut(repr(encoding))}, which is not "
            "read here. Save it with encoding raw or gzip."
        )
    if values.size != count:
        raise ValueError(f"{values.size} values for sizes {sizes}")
    spacing = fields.get("spacings", "").split()
    if not spacing:
        spacing = _lengths(fields.get("space directions", ""))
    return values.reshape(sizes, order="F"), {"spacing": spacing}


def _lengths(directions) -> list[float]:
    """Return the edges of a voxel from vectors such as (0.1,0,0) (0,0.1,0) (0,0,1)."""
    vectors = re.findall(r"\(([^)]*)\)", directions)
    return [math.hypot(*map(float, vector.split(","))) for vector in vectors]


def _split(content):
    """Return the fields of the header and the bytes behind it."""
    header, *rest = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    fields = {}
    for line in re.split("\r?\n", header.decode("latin-1")):
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields, b"".join(rest)


def _detached(path, name):
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(
            f"{path.name} spreads its data over several files. Save it as one file."
        )
    folder = path.parent.resolve()
    try:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder):
            raise InputError(
                f"{path.name} keeps its data in {cut(name)}, outside of its own "
                "folder. Put that file beside it, and its name alone into the header."
            )
        if not place.is_file():  # a device or a pipe has no end
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return place.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path.name} keeps its data in {cut(name)}, which cannot be read "
            f"({getattr(error, 'strerror', None) or error}). Put that file beside it."
        ) from error
