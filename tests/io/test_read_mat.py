"""MATLAB files: what SciPy writes comes back, and no damage goes past Python."""

import contextlib
import struct

import numpy as np
import pytest
from scipy import io

from mmdiff.errors import InputError, MemoryLimitError
from mmdiff.io.read import read

CELL = np.random.default_rng(3).random((3, 4, 5))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?"]
)
def test_every_type_comes_back(tmp_path, kind, packed):
    array = (100 * CELL).astype(kind)
    io.savemat(tmp_path / "a.mat", {"rho": array}, do_compression=packed)
    found, info = read(tmp_path / "a.mat")
    np.testing.assert_array_equal(found, array)
    stored = np.dtype("u1" if kind == "?" else kind).name
    assert info["array"] == "rho" and info["dtype"] == stored


def test_big_endian_files_and_short_values(tmp_path):
    parts = [
        struct.pack(">IIII", 6, 8, 9, 0),  # flags of an array of uint8
        struct.pack(">II4i", 5, 12, 1, 2, 1, 0),
        struct.pack(">I4s", 1 << 16 | 1, b"x"),  # up to four bytes stand in the tag
        struct.pack(">I2H", 4 << 16 | 4, 7, 9),
    ]
    body = b"".join(parts)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    content = head + struct.pack(">II", 14, len(body)) + body
    (tmp_path / "a.mat").write_bytes(content)
    found, info = read(tmp_path / "a.mat")
    assert found.tolist() == [[[7], [9]]] and info["array"] == "x"


def test_what_is_no_cell_is_named(tmp_path):
    content = {"words": "abc", "boxed": np.array([{}], object), "flat": np.eye(3)}
    io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(InputError, match=r"it has: words .* flat \(3, 3\)"):
        read(tmp_path / "a.mat")
    io.savemat(tmp_path / "b.mat", {"z": CELL * 1j})
    with pytest.raises(InputError, match="complex numbers"):
        read(tmp_path / "b.mat", key="z")
    io.savemat(tmp_path / "c.mat", {"rho": CELL[0]}, format="4")
    with pytest.raises(InputError, match="does not begin as one of version 5 to 7"):
        read(tmp_path / "c.mat")


@pytest.mark.parametrize("packed", [False, True])
def test_every_bit_of_the_head_may_be_wrong(tmp_path, packed):
    path = tmp_path / "a.mat"
    io.savemat(path, {"density": CELL > 0.5}, do_compression=packed)
    whole = path.read_bytes()
    for place in range(124, min(212, len(whole))):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with contextlib.suppress(InputError, MemoryLimitError):
                read(path)


def test_unknown_types_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    io.savemat(path, {"density": CELL > 0.5})
    damaged = bytearray(path.read_bytes())
    assert damaged[192] == 2  # bytes; SciPy looks the type up without a check
    for value in {*range(256)} - {1, 2}:
        damaged[192] = value
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="a.mat is not a readable MATLAB file|has"):
            read(path)


def test_compressed_arrays_have_their_checksum(tmp_path):
    path = tmp_path / "a.mat"
    io.savemat(path, {"density": CELL}, do_compression=True)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="incorrect data check"):
        read(path)
