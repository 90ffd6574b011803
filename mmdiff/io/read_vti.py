"""Read VTK ImageData files (.vti): the XML format of ParaView, one piece.

Data may stand in ascii, in base64 or appended (raw or base64), with or without zlib
compression, in either byte order. VTK runs x fastest; arrays come out with axes x y z.
The inverse of `mmdiff.io.write.write_vti`.
"""

import base64
import math
import pathlib
import re
import xml.etree.ElementTree as ET

import numpy as np

from mmdiff.errors import InputError, cut
from mmdiff.io.read_arrays import from_text, inflate, require_for

_TYPES = {
    "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4",
    "UInt32": "u4", "Int64": "i8", "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip


def read_vti(path: pathlib.Path, *, key: str = "") -> tuple[np.ndarray, dict]:
    """Read one scalar array (nx, ny, nz), and what is known of it.

    Without a `key` that is `density`, or the first one of one component, cell data
    before point data. What damaged files raise passes through; `io.read` says so.
    """
    root, appended = _parse(path.read_bytes())
    image = root.find("ImageData")
    if root.tag != "VTKFile" or image is None:
        raise InputError(
            f"{path.name} holds {root.get('type', root.tag)}, not ImageData. In "
            "ParaView use the filter Resample To Image and save as .vti."
        )
    pieces = image.findall("Piece")
    if len(pieces) != 1:
        raise InputError(
            f"{path.name} has {len(pieces)} pieces. Save it as one .vti file."
        )
    arrays = [
        (element.get("Name", ""), owner, element)
        for owner in ("CellData", "PointData")
        for element in pieces[0].findall(f"{owner}/DataArray")
        if int(element.get("NumberOfComponents") or 1) == 1
    ]
    name, owner, element = _choose(arrays, path.name, key)
    notes = []
    others = [label for label, _, _ in arrays if label != name]
    if others and not key:
        notes.append(
            f"{path.name}: took {name!r}; also there: {', '.join(others)} (`key=NAME`)."
        )
    extent = [int(x) for x in (pieces[0].get("Extent") or "").split()]
    if len(extent) != 6:
        raise ValueError(f"Extent {extent}")
    lows, highs, more = extent[::2], extent[1::2], owner == "PointData"
    shape = tuple(y - x + more for x, y in zip(lows, highs, strict=True))
    if min(shape) < 1:
        raise ValueError(f"Extent {extent}")
    if owner == "PointData":
        notes.append(
            f"{path.name}: {name!r} is point data; its {' x '.join(map(str, shape))} "
            "points are taken as voxels."
        )
    values = _values(root, element, appended, path.name, shape)
    array = values.reshape(shape[::-1]).transpose(2, 1, 0)
    spacing = (image.get("Spacing") or "1 1 1").split()
    return array, {"array": name, "notes": notes, "spacing": spacing}


def _parse(content: bytes):
    """Return the XML tree and the appended data, which need not be XML."""
    start = content.find(b"<AppendedData")
    if start < 0:
        return ET.fromstring(content), None
    begin = content.find(b">", start)
    encoding = re.search(rb'encoding\s*=\s*["\'](\w+)', content[start:begin])
    kind = encoding[1].decode() if encoding else "base64"
    data = content[content.find(b"_", begin) + 1 :]
    if kind == "base64":
        data = data.partition(b"<")[0]
    return ET.fromstring(content[:start] + b"</VTKFile>"), (kind, data)


def _choose(arrays, file, key):
    name = key or "density"
    for entry in arrays:
        if entry[0] == name:
            return entry
    if arrays and not key:
        return arrays[0]
    there = ", ".join(name for name, _, _ in arrays) or "none"
    raise InputError(
        f"{file} holds no array {key!r} of one component. Its arrays: {there}. Choose "
        "one with `key=NAME`."
        if key
        else f"{file} holds no array of one component. Save the density with it."
    )


def _values(root, element, appended, name, shape) -> np.ndarray:
    """Return the flat values of a DataArray, as many as the shape has."""
    little = root.get("byte_order", "LittleEndian") == "LittleEndian"
    swap = "<" if little else ">"
    kind = np.dtype(swap + _TYPES[element.get("type")])
    style = element.get("format", "ascii")
    if style == "ascii":
        return from_text(element.text or "", name, kind)
    if style == "appended":
        encoding, data = appended
        data = data[int(element.get("offset", 0)) :]
        raw = data if encoding == "raw" else _decode(data.decode("ascii"))
    elif style == "binary":
        raw = _decode(element.text or "")
    else:
        raise ValueError(f"format {style}")
    header = np.dtype(swap + _TYPES[root.get("header_type", "UInt32")])
    size = math.prod(shape) * kind.itemsize
    require_for(size, name, shape)
    payload = _payload(raw, header, root.get("compressor"), size)
    return np.frombuffer(payload, kind)


def _decode(text: str) -> bytes:
    """Decode base64 streams in a row: VTK encodes the header of blocks alone."""
    streams = [part for part in "".join(text.split()).split("=") if part]
    return b"".join(base64.b64decode(s + "=" * (-len(s) % 4)) for s in streams)


def _payload(raw: bytes, header: np.dtype, compressor: str | None, size: int) -> bytes:
    """Return the bytes of one array of this size; `raw` may go on after it."""
    width = header.itemsize
    first = int(np.frombuffer(raw, header, 1)[0])
    if not compressor:
        if first != size or len(raw) < width + first:
            found = min(len(raw) - width, first)
            raise ValueError(f"{found} bytes of data, {size} announced")
        return raw[width : width + first]
    if compressor != "vtkZLibDataCompressor":
        raise InputError(
            f"the VTI file is compressed with {cut(compressor)}. Save it with the ZLib "
            "compressor, or without."
        )
    _, each, last, *packed = np.frombuffer(raw, header, 3 + first).tolist()
    sizes = [each] * len(packed)
    if last and sizes:
        sizes[-1] = last
    if sum(sizes) != size:
        raise ValueError(f"{sum(sizes)} bytes in blocks, {size} announced")
    position, blocks = width * (3 + first), []
    for length, unpacked in zip(packed, sizes, strict=True):
        blocks.append(inflate(raw[position : position + length], unpacked))
        position += length
    return b"".join(blocks)
