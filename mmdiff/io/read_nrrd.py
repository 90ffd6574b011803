"""Read NRRD volumes (nearly raw raster data, https://teem.sourceforge.net/nrrd).

One header of `field: value` lines, then the data in the same file or in one detached
file; encodings raw, gzip and text. The first axis runs fastest, so the array comes out
with axes x y z. Space directions, origins and key/value pairs are passed over.
"""

import math
import pathlib
import zlib

import numpy as np

from mmdiff.errors import InputError

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
    """Read one volume.

    Args:
      path: a .nrrd file, or a .nhdr header beside its data file.
      key: of no use here: a file holds one array, which has no name.

    Returns:
      the array with the header's sizes, and a dictionary with `notes`.

    Raises:
      InputError: not an NRRD file, damaged, or of an encoding that is not known here.
    """
    content = path.read_bytes()
    if not content.startswith(b"NRRD"):
        raise _damaged(path, "it does not begin with NRRD")
    fields, data = _split(path, content)
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        if not sizes or min(sizes) < 0:
            raise ValueError(f"sizes {sizes}")
        kind = np.dtype(_CODE[fields["type"]])
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"type or sizes: {error}") from error
    file = fields.get("data file", fields.get("datafile"))
    if file is not None:
        data = _detached(path, file)
    data = _skip_lines(path, data, _number(path, fields, "line skip"))
    encoding = fields.get("encoding", "raw").lower()
    skip = _number(path, fields, "byte skip")
    count = math.prod(sizes)
    if encoding in ("text", "txt", "ascii"):
        try:
            values = np.array(data[max(skip, 0) :].split(), np.float64).astype(kind)
        except ValueError as error:
            raise _damaged(path, str(error)) from error
    elif encoding in ("raw", "gzip", "gz"):
        if encoding != "raw":
            try:
                data = zlib.decompress(data, 15 + 32)  # the header names gzip or zlib
            except zlib.error as error:
                raise _damaged(path, f"gzip: {error}") from error
        if fields.get("endian", "little").lower() == "big":
            kind = kind.newbyteorder(">")
        else:
            kind = kind.newbyteorder("<")
        size = count * kind.itemsize
        start = len(data) - size if skip == -1 else skip
        if start < 0 or len(data) < start + size:
            raise _damaged(path, f"{len(data)} bytes of data, {size} needed")
        values = np.frombuffer(data, kind, count, start)
    else:
        raise InputError(
            f"{path.name} has the NRRD encoding {encoding!r}, which is not read here. "
            "Save it with encoding raw or gzip."
        )
    if values.size != count:
        raise _damaged(path, f"{values.size} values for sizes {sizes}")
    return values.reshape(sizes, order="F"), {"notes": _notes(path, fields)}


def _notes(path, fields):
    """Return a note where the voxels are no cubes."""
    spacing = fields.get("spacings", "").split()
    if len(set(spacing)) < 2:
        return []
    return [
        f"{path.name}: its voxels measure {' x '.join(spacing)}; they are taken as "
        "cubes."
    ]


def _split(path, content):
    """Return the fields of the header and the bytes behind it."""
    fields, position = {}, 0
    while position < len(content):
        end = content.find(b"\n", position)
        end = len(content) if end < 0 else end
        line = content[position:end].rstrip(b"\r").decode("latin-1")
        position = end + 1
        if not line:
            break
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields, content[position:]


def _detached(path, name):
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(
            f"{path.name} spreads its data over several files. Save it as one file."
        )
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path.name} keeps its data in {name}, which cannot be read "
            f"({error.strerror}). Put that file beside it."
        ) from error


def _number(path, fields, name):
    try:
        return int(fields.get(name, fields.get(name.replace(" ", ""), 0)))
    except ValueError as error:
        raise _damaged(path, f"{name}: {error}") from error


def _skip_lines(path, data, count):
    for _ in range(count):
        end = data.find(b"\n")
        if end < 0:
            raise _damaged(path, f"fewer than {count} lines to skip")
        data = data[end + 1 :]
    return data


def _damaged(path, what):
    return InputError(
        f"{path.name} is not a readable NRRD file ({what}). Write it again, or "
        "save the array as .npy."
    )
