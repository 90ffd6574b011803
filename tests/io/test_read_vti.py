"""VTK ImageData in all its ways of storing numbers."""

import base64
import zlib

import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.io import write
from mmdiff.io.read import read

CELL = np.random.default_rng(2).random((3, 4, 5)).astype(np.float32)
ZLIB = ' compressor="vtkZLibDataCompressor"'


def flat(swap="<"):
    return CELL.transpose(2, 1, 0).astype(swap + "f4").tobytes()


def vti(array, *, attributes="", appended=b"", owner="CellData", extent="0 3 0 4 0 5"):
    head = (
        f'<?xml version="1.0"?><VTKFile type="ImageData"{attributes}>'
        f'<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="1 1 1">'
        f'<Piece Extent="{extent}"><{owner}>{array}</{owner}></Piece></ImageData>'
    )
    return head.encode() + appended + b"</VTKFile>"


def element(form, text="", name="density", extra=""):
    return (
        f'<DataArray type="Float32" Name="{name}" format="{form}"{extra}>{text}'
        "</DataArray>"
    )


def sized(data, width=4):
    return len(data).to_bytes(width, "little") + data


def blocks(data, encode):
    """Compress in two blocks as VTK does; header and data are encoded apart."""
    half = len(data) // 2
    packed = [zlib.compress(data[:half]), zlib.compress(data[half:])]
    sizes = [2, half, len(data) - half, *map(len, packed)]
    return encode(np.array(sizes, "<u4").tobytes()) + encode(b"".join(packed))


def appended(data, encoding):
    tag = f'<AppendedData encoding="{encoding}">\n _'.encode()
    return tag + data + b"\n</AppendedData>"


ASCII = " ".join(map(repr, map(float, CELL.transpose(2, 1, 0).ravel())))
APPENDED = element("appended", extra=' offset="0"')
WAYS = {
    "ascii": vti(element("ascii", ASCII)),
    "base64": vti(element("binary", base64.b64encode(sized(flat())).decode())),
    "base64 in two streams": vti(
        element(
            "binary",
            (base64.b64encode(sized(flat())[:4]) + base64.b64encode(flat())).decode(),
        )
    ),
    "64-bit header": vti(
        element("binary", "\n " + base64.b64encode(sized(flat(), 8)).decode() + "\n"),
        attributes=' header_type="UInt64" byte_order="LittleEndian"',
    ),
    "big endian": vti(
        element(
            "binary",
            base64.b64encode(len(flat()).to_bytes(4, "big") + flat(">")).decode(),
        ),
        attributes=' byte_order="BigEndian"',
    ),
    "base64 zlib": vti(
        element("binary", blocks(flat(), base64.b64encode).decode()), attributes=ZLIB
    ),
    "appended raw": vti(APPENDED, appended=appended(sized(flat()), "raw")),
    "appended base64": vti(
        APPENDED, appended=appended(base64.b64encode(sized(flat())), "base64")
    ),
    "appended raw zlib": vti(
        APPENDED, attributes=ZLIB, appended=appended(blocks(flat(), bytes), "raw")
    ),
    "appended base64 zlib": vti(
        APPENDED,
        attributes=ZLIB,
        appended=appended(blocks(flat(), base64.b64encode), "base64"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_encoding_holds_the_same_numbers(tmp_path, way):
    path = tmp_path / "a.vti"
    path.write_bytes(WAYS[way])
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert info["array"] == "density" and not info["notes"]


def test_voxels_that_are_no_cubes_are_noted(tmp_path):
    path = tmp_path / "a.vti"
    content = vti(element("ascii", ASCII)).replace(b'"1 1 1"', b'"1 1 2.5"')
    path.write_bytes(content)
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert "a.vti: its voxels measure 1 x 1 x 2.5." in info["notes"][0]
    assert info["spacing"] == [1, 1, 2.5]


def test_second_appended_array_is_found_by_offset(tmp_path):
    first, second = sized(np.zeros(60, "<f4").tobytes()), sized(flat())
    arrays = element("appended", name="zero", extra=' offset="0"')
    arrays += element("appended", name="rho", extra=f' offset="{len(first)}"')
    path = tmp_path / "a.vti"
    path.write_bytes(vti(arrays, appended=appended(first + second, "raw")))
    array, info = read(path, key="rho")
    np.testing.assert_array_equal(array, CELL)
    array, info = read(path)
    assert not array.any() and "took 'zero'; also there: rho" in info["notes"][0]


def test_own_files_come_back(tmp_path):
    path = tmp_path / "a.vti"
    vector = np.stack([CELL] * 3, axis=-1)
    fields = {"u": vector, "solid": CELL > 0.5, "density": CELL}
    write.write_vti(path, fields, conventions="Voigt < 6")
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert info["array"] == "density"
    array, _ = read(path, key="solid")
    np.testing.assert_array_equal(array, CELL > 0.5)
    with pytest.raises(InputError, match="no array 'u' of one component. Its arrays"):
        read(path, key="u")


def test_point_data_is_taken_with_a_note(tmp_path):
    path = tmp_path / "a.vti"
    content = vti(element("ascii", ASCII), owner="PointData", extent="0 2 1 4 0 4")
    path.write_bytes(content)
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert "its 3 x 4 x 5 points are taken as voxels" in info["notes"][0]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<VTKFile", "not a readable VTI file"),
        (
            b'<VTKFile type="UnstructuredGrid"/>',
            "holds UnstructuredGrid, not ImageData",
        ),
        (vti(""), "no array of one component"),
        (vti(element("ascii", "1 2 3")), "not a readable VTI file"),
        (
            vti(element("ascii", ASCII, extra=' NumberOfComponents="x"')),
            "not a readable VTI file",
        ),
        (vti(element("binary", "AAAB")), "not a readable VTI file"),
        (
            vti(element("binary", base64.b64encode(sized(flat())[:-8]).decode())),
            "232 bytes of data, 240 announced",
        ),
        (vti(APPENDED), "not a readable VTI file"),
        (
            vti(
                element("binary", base64.b64encode(sized(flat())).decode()),
                attributes=' compressor="vtkLZ4DataCompressor"',
            ),
            "compressed with vtkLZ4DataCompressor",
        ),
    ],
)
def test_refusals(tmp_path, content, match):
    path = tmp_path / "a.vti"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        read(path)
