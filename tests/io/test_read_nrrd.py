"""NRRD volumes: encodings, detached data, skips and damage."""

import gzip

import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.io.read import read

CELL = np.random.default_rng(1).integers(0, 256, (3, 4, 5)).astype(np.uint8)


def header(encoding, extra="", kind="uchar"):
    return (
        f"NRRD0005\r\n# made by a test\ntype: {kind}\ndimension: 3\nsizes: 3 4 5\n"
        f"spacings: 0.1 0.1 0.1\nencoding: {encoding}\nkey:=value\n{extra}"
    ).encode()


def same(path, expected=CELL):
    array, _ = read(path)
    np.testing.assert_array_equal(array, expected)


def test_encodings(tmp_path):
    path = tmp_path / "a.nrrd"
    data = CELL.tobytes(order="F")
    path.write_bytes(header("raw") + b"\n" + data)
    same(path)
    path.write_bytes(header("gzip") + b"\n" + gzip.compress(data))
    same(path)
    text = " ".join(map(str, CELL.ravel(order="F"))).encode()
    path.write_bytes(header("ascii") + b"\n" + text)
    same(path)


def test_voxels_that_are_no_cubes_are_noted(tmp_path):
    path = tmp_path / "a.nrrd"
    content = header("raw").replace(b"0.1 0.1 0.1", b"0.1 0.1 0.3")
    path.write_bytes(content + b"\n" + CELL.tobytes(order="F"))
    _, info = read(path)
    assert "a.nrrd: its voxels measure 0.1 x 0.1 x 0.3." in info["notes"][0]
    assert info["spacing"] == [0.1, 0.1, 0.3]


def test_byte_order(tmp_path):
    wide = CELL.astype(np.int32) * 70000
    content = header("raw", "endian: big\n", kind="int") + b"\n"
    (tmp_path / "a.nrrd").write_bytes(content + wide.astype(">i4").tobytes(order="F"))
    same(tmp_path / "a.nrrd", wide)


def test_detached_data_and_skips(tmp_path):
    data = CELL.tobytes(order="F")
    (tmp_path / "a.raw").write_bytes(b"one line\nxy" + data)
    extra = "line skip: 1\nbyte skip: 2\ndata file: a.raw\n"
    (tmp_path / "a.nhdr").write_bytes(header("raw", extra))
    same(tmp_path / "a.nhdr")
    extra = "byte skip: -1\ndatafile: a.raw\n"
    (tmp_path / "a.nhdr").write_bytes(header("raw", extra))
    same(tmp_path / "a.nhdr")
    (tmp_path / "b.raw.gz").write_bytes(gzip.compress(data))
    (tmp_path / "b.nhdr").write_bytes(header("gz", "data file: b.raw.gz\n"))
    same(tmp_path / "b.nhdr")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"PNG", "does not begin with NRRD"),
        (header("raw") + b"\n" + b"short", "5 bytes of data, 60 needed"),
        (
            header("gzip") + b"\n" + b"not gzip",
            "a.nrrd is not a readable NRRD file .*decompressing",
        ),
        (header("hex") + b"\n", "encoding 'hex'"),
        (header("ascii") + b"\n1 2 3", "3 values for sizes"),
        (header("ascii") + b"\n1 nan 3", "numbers that are none of type uint8"),
        (header("ascii") + b"\n1 256 3", "numbers that are none of type uint8"),
        (header("ascii") + b"\n1 1.5 3", "numbers that are none of type uint8"),
        (header("raw", kind="block") + b"\n", "type, sizes or skips: 'block'"),
        (header("raw").replace(b"3 4 5", b"3 -4 5") + b"\n", r"sizes \[3, -4, 5\]"),
        (header("raw", "data file: gone.raw\n"), "keeps its data in gone.raw"),
        (header("raw", "data file: LIST\n"), "several files"),
        (header("raw", "byte skip: x\n") + b"\n", "or skips: .* 'x'"),
        (header("raw", "line skip: 9\n") + b"\nab", "fewer than 9 lines"),
    ],
)
def test_refusals(tmp_path, content, match):
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(InputError, match=match):
        read(tmp_path / "a.nrrd")


def test_edges_of_voxels_are_lengths_of_directions(tmp_path):
    path = tmp_path / "a.nrrd"
    directions = b"space directions: (0,0.1,0) (0.06,0,0.08) (0,0,0.3)"
    content = header("raw").replace(b"spacings: 0.1 0.1 0.1", directions)
    path.write_bytes(content + b"\n" + CELL.tobytes(order="F"))
    assert read(path)[1]["spacing"] == pytest.approx([0.1, 0.1, 0.3])
