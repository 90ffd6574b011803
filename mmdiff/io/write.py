"""Writers for cells, meshes, fields, pictures: npy, npz, STL, 3MF, GLB, VTI, PNG.

Each file is composed in memory and appears under its name at once, by rename, so a
killed run leaves no half-written file. An OSError (disk full, folder not writable)
passes through. Lengths are millimetres wherever a format can say so.
"""

import contextlib
import io
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import ArrayLike

from mmdiff import places

_3MF_LEVEL = 2  # of compression: files a quarter larger, in half of the time
_3MF_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_OPC = "http://schemas.openxmlformats.org/package/2006"


def write_bytes(path: str | os.PathLike, data: bytes) -> pathlib.Path:
    """Write a whole file by rename, or leave nothing behind; return its path.

    A link under that name is replaced, not followed; see also `places.check`.
    """
    path = pathlib.Path(path)
    places.check(path)
    # The process number keeps two runs that write the same name apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return path


def write_npy(path: str | os.PathLike, cell: np.ndarray) -> pathlib.Path:
    """Write a full cell (N, N, N) as uint8, 1 where the density exceeds 0.5."""
    buffer = io.BytesIO()
    np.save(buffer, (np.asarray(cell) > 0.5).astype(np.uint8))
    return write_bytes(path, buffer.getvalue())


def write_npz(path: str | os.PathLike, arrays: Mapping[str, ArrayLike]) -> pathlib.Path:
    """Write arrays by name, compressed; each carries the checksum of the zip format."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return write_bytes(path, buffer.getvalue())


def write_stl(
    path: str | os.PathLike,
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    comment: str = "mmdiff, unit: mm",
) -> pathlib.Path:
    """Write a binary STL file of vertices (v, 3) in mm and faces (f, 3), wound outward.

    The format itself carries no unit; the comment may have 80 ASCII characters.
    """
    corners = np.asarray(vertices, np.float32)[faces].reshape(-1, 3, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    record = np.zeros(
        len(corners),
        [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")],
    )
    record["normal"] = normal / np.maximum(length, np.finfo(np.float32).tiny)
    record["corners"] = corners
    header = comment.encode("ascii", "replace")[:80].ljust(80)
    count = np.array(len(corners), "<u4").tobytes()
    return write_bytes(path, header + count + record.tobytes())


def write_3mf(
    path: str | os.PathLike,
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    name: str = "cell",
) -> pathlib.Path:
    """Write one named object in the 3MF core format, in millimetres.

    Of vertices (v, 3) and faces (f, 3), wound outward, each edge in two triangles.
    """
    points = _rows('<vertex x="%.6g" y="%.6g" z="%.6g"/>', vertices)
    triangles = _rows('<triangle v1="%d" v2="%d" v3="%d"/>', faces)
    xml = '<?xml version="1.0" encoding="UTF-8"?>\n'
    model = (
        f'{xml}<model unit="millimeter" xml:lang="en-US" xmlns="{_3MF_CORE}">'
        '<metadata name="Application">mmdiff</metadata>'
        f'<resources><object id="1" type="model" name={quoteattr(name)}><mesh>'
        f"<vertices>{points}</vertices><triangles>{triangles}</triangles>"
        '</mesh></object></resources><build><item objectid="1"/></build></model>'
    )
    types = (
        f'{xml}<Types xmlns="{_OPC}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="model" '
        'ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
    )
    relations = (
        f'{xml}<Relationships xmlns="{_OPC}/relationships"><Relationship Id="rel0" '
        'Target="/3D/3dmodel.model" '
        'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
        "</Relationships>"
    )
    members = {"[Content_Types].xml": types, "_rels/.rels": relations}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in (members | {"3D/3dmodel.model": model}).items():
            # A fixed date makes equal cells equal files.
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text, compresslevel=_3MF_LEVEL)
    return write_bytes(path, buffer.getvalue())


def _rows(template: str, rows: np.ndarray) -> str:
    """Return the template filled with each row: in one go, several times as fast."""
    rows = np.asarray(rows)
    return template * len(rows) % tuple(rows.ravel().tolist())


def write_glb(
    path: str | os.PathLike,
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    name: str = "cell",
) -> pathlib.Path:
    """Write one named object as binary glTF 2.0, for viewers and web pages.

    Of vertices (v, 3) in mm and faces (f, 3), wound outward. The node turns them to the
    metres and the upward y axis of the format.
    """
    points, corners = np.asarray(vertices, "<f4"), np.asarray(faces, "<u4")
    content: dict = {"asset": {"version": "2.0", "generator": "mmdiff"}}
    if len(corners):  # the format knows no empty mesh
        node = {"rotation": [-(0.5**0.5), 0, 0, 0.5**0.5], "scale": [1e-3] * 3}
        ends = {"min": points.min(0).tolist(), "max": points.max(0).tolist()}
        first, second = points.nbytes, corners.nbytes
        content |= {
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": name, "mesh": 0, **node}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
            "accessors": [
                _accessor(0, 5126, "VEC3", len(points)) | ends,
                _accessor(1, 5125, "SCALAR", corners.size),
            ],
            "bufferViews": [
                {"buffer": 0, "byteOffset": 0, "byteLength": first},
                {"buffer": 0, "byteOffset": first, "byteLength": second},
            ],
            "buffers": [{"byteLength": first + second}],
        }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    data = points.tobytes() + corners.tobytes()
    sizes = (28 + len(text) + len(data), len(text), len(data))
    total, one, two = (size.to_bytes(4, "little") for size in sizes)
    head = b"glTF\2\0\0\0" + total + one + b"JSON" + text + two + b"BIN\0"
    return write_bytes(path, head + data)


def _accessor(view, kind, shape, count) -> dict:
    return {"bufferView": view, "componentType": kind, "type": shape, "count": count}


def write_vti(
    path: str | os.PathLike,
    fields: Mapping[str, np.ndarray],
    *,
    points: Mapping[str, np.ndarray] | None = None,
    components: Mapping[str, Sequence[str]] | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    conventions: str = "",
) -> pathlib.Path:
    """Write data on a regular grid for ParaView (VTK ImageData, appended, zlib).

    Args:
      path: file to write.
      fields: cell data (nx, ny, nz) or (nx, ny, nz, c) by name. Booleans and uint8
        become UInt8, everything else Float32. Components keep their order.
      points: data of the nodes, (nx + 1, ny + 1, nz + 1) or with components.
      components: names of the components of an array, by the array's name.
      spacing: edges of a voxel along x, y and z.
      conventions: text stored as the string array `conventions` of the field data.

    Raises:
      ValueError: if the arrays do not share one grid, or there is no cell data.
    """
    groups = {
        owner: {name: np.asarray(value) for name, value in (arrays or {}).items()}
        for owner, arrays in (("CellData", fields), ("PointData", points))
    }
    every = [(owner, *item) for owner in groups for item in groups[owner].items()]
    shapes = {
        tuple(size - (owner == "PointData") for size in array.shape[:3])
        for owner, _, array in every
    }
    if not fields or len(shapes) != 1 or not {a.ndim for *_, a in every} <= {3, 4}:
        found = {name: array.shape for _, name, array in every}
        raise ValueError(
            "fields of a VTI file must share one grid (nx, ny, nz), and one point more "
            f"on each axis; got shapes {found}"
        )
    nx, ny, nz = shapes.pop()
    extent = quoteattr(f"0 {nx} 0 {ny} 0 {nz}")
    data, size, tags = [], 0, ""
    for owner, arrays in groups.items():
        tags += f"<{owner}>"
        for name, array in arrays.items():
            tag, raw = _vti_array(name, array, (components or {}).get(name, ()), size)
            tags += tag
            data.append(raw)
            size += len(raw)
        tags += f"</{owner}>"
    codes = " ".join(str(b) for b in (*conventions.encode(), 0))
    notes = (
        '<FieldData><Array type="String" Name="conventions" NumberOfTuples="1" '
        f'format="ascii">{codes}</Array></FieldData>'
    )
    head = (
        '<?xml version="1.0"?>\n<VTKFile type="ImageData" version="1.0" '
        'byte_order="LittleEndian" header_type="UInt64" '
        'compressor="vtkZLibDataCompressor">'
        f'<ImageData WholeExtent={extent} Origin="0 0 0" '
        f'Spacing="{" ".join(f"{edge:.9g}" for edge in spacing)}">'
        f"{notes if conventions else ''}<Piece Extent={extent}>{tags}</Piece>"
        '</ImageData><AppendedData encoding="raw">_'
    )
    tail = b"</AppendedData></VTKFile>\n"
    return write_bytes(path, b"".join([head.encode(), *data, tail]))


_VTI_BLOCK = 1 << 20


def _vti_array(name, array, components, offset) -> tuple[str, bytes]:
    """Return the tag of an array and its compressed data, to be placed at `offset`."""
    small = array.dtype in (np.dtype(bool), np.dtype(np.uint8))
    kind, dtype = ("UInt8", "u1") if small else ("Float32", "<f4")
    parts = array.shape[3] if array.ndim == 4 else 1
    # VTK runs x fastest, and the components of one voxel lie together.
    order = array.reshape(*array.shape[:3], parts).transpose(2, 1, 0, 3)
    raw = np.ascontiguousarray(order, dtype).tobytes()
    starts = range(0, len(raw), _VTI_BLOCK)
    # Level 1: the noise in the last bits of a field does not shrink with more effort.
    blocks = [zlib.compress(raw[i : i + _VTI_BLOCK], 1) for i in starts]
    last = len(raw) % _VTI_BLOCK  # 0 stands for a whole one
    sizes = [len(blocks), _VTI_BLOCK, last, *map(len, blocks)]
    names = "".join(
        f" ComponentName{i}={quoteattr(label)}" for i, label in enumerate(components)
    )
    tag = (
        f'<DataArray type="{kind}" Name={quoteattr(name)} '
        f'NumberOfComponents="{parts}"{names} format="appended" offset="{offset}"/>'
    )
    return tag, b"".join([np.array(sizes, "<u8").tobytes(), *blocks])


def write_png(path: str | os.PathLike, image: np.ndarray) -> pathlib.Path:
    """Write an image, uint8 (height, width, 3), as PNG without any extra package.

    PNG specification, third edition, sections 5 (chunks), 9.2 (filter type Up) and 11.

    Raises:
      ValueError: for any other type or shape.
    """
    image = np.asarray(image)
    rgb = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not rgb or not image.size:
        raise ValueError(
            "a picture must be a non-empty uint8 array (h, w, 3); got "
            f"{image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    # Differences to the row above (modulo 256) compress far better than the values.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    lines = np.pad(filtered, ((0, 0), (1, 0)), constant_values=2)
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = {
        b"IHDR": size + bytes([8, 2, 0, 0, 0]),
        b"IDAT": zlib.compress(lines.tobytes(), 6),
        b"IEND": b"",
    }
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        png += len(data).to_bytes(4, "big") + kind + data + check
    return write_bytes(path, png)
