"""Readers take as much memory as headers announce, of regular files in their folder."""

import gzip
import io
import os
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from mmdiff import memory
from mmdiff.errors import InputError, MemoryLimitError
from mmdiff.io.read import read

ZEROS = bytes(64_000_000)
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: {}\nencoding: {}\n"


def npy(shape, kind="|u1"):
    file = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def nrrd(path):
    head = NRRD.format("16 16 16", "gzip") + "\n"
    path.write_bytes(head.encode() + gzip.compress(ZEROS))


def vti(path):
    packed = zlib.compress(ZEROS)
    sizes = np.array([1, len(ZEROS), 0, len(packed)], "<u4").tobytes()
    path.write_bytes(
        b'<VTKFile type="ImageData" compressor="vtkZLibDataCompressor"><ImageData>'
        b'<Piece Extent="0 16 0 16 0 16"><CellData><DataArray type="UInt8" Name="a" '
        b'format="appended" offset="0"/></CellData></Piece></ImageData>'
        b'<AppendedData encoding="raw">_' + sizes + packed + b"</AppendedData>"
    )


def npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy((16, 16, 16)) + ZEROS)


def mat(path):
    savemat(path, {"a": np.zeros((16, 16, 16), np.uint8)})
    head, body = path.read_bytes()[:128], path.read_bytes()[128:]
    packed = zlib.compress(body + ZEROS)
    tag = np.array([15, len(packed)], "<u4").tobytes()
    path.write_bytes(head + tag + packed)


@pytest.mark.parametrize("write", [nrrd, vti, npz, mat])
def test_no_more_is_unpacked_than_announced(tmp_path, write):
    path = tmp_path / f"bomb.{write.__name__}"
    write(path)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb\.\w+ is not a readable .*announced"):
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_arrays_that_are_not_chosen_are_not_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small.npy", npy((2, 2, 2)) + bytes(8))
        archive.writestr("large.npy", npy((400, 400, 400)) + ZEROS)
    tracemalloc.start()
    assert read(path, key="small")[0].shape == (2, 2, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


HUGE = 2**40


def test_shapes_beyond_the_memory_are_refused_first(tmp_path):
    head = NRRD.format(f"{HUGE} 4 4", "gzip") + "\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + gzip.compress(b""))
    with (tmp_path / "a.npy").open("wb") as file:  # with a hole, and no disk used
        file.write(npy((HUGE, 4)))
        file.truncate(2**43)
    for name in ("a.nrrd", "a.npy"):
        with pytest.raises(MemoryLimitError, match="of memory, and .* are free. Give"):
            read(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy((HUGE, 4, 4)))
    with pytest.raises(InputError, match=f"0 bytes in a.npy, {16 * HUGE} announced"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "kind, shape", [("|u1", (2**32, 2**32, 4)), ("|u1", (2**63, 2, 1))]
)
def test_products_do_not_overflow(tmp_path, kind, shape):
    (tmp_path / "a.npy").write_bytes(npy(shape, kind))
    with pytest.raises(InputError, match="0 bytes of data, 7378|0 bytes of data, 1844"):
        read(tmp_path / "a.npy")


def test_sizes_of_nothing_are_refused(tmp_path):
    sizes = "0 99999999999999999999 16"
    (tmp_path / "a.nrrd").write_text(NRRD.format(sizes, "raw") + "\n")
    with pytest.raises(InputError, match=r"sizes \[0, 9999"):
        read(tmp_path / "a.nrrd")


def test_detached_data_stay_below_the_header(tmp_path):
    (tmp_path / "below" / "in").mkdir(parents=True)
    data = bytes(8)
    (tmp_path / "out.raw").write_bytes(data)
    (tmp_path / "below" / "in" / "a.raw").write_bytes(data)
    (tmp_path / "below" / "link.raw").symlink_to(tmp_path / "out.raw")
    os.mkfifo(tmp_path / "below" / "pipe")
    header = tmp_path / "below" / "a.nhdr"

    def text(file):
        head = NRRD.format("2 2 2", "raw")
        header.write_text(f"{head}data file: {file}\n")
        return header

    assert read(text("in/a.raw"))[0].shape == (2, 2, 2)
    for place in ("../out.raw", "/dev/zero", "link.raw", str(tmp_path / "out.raw")):
        with pytest.raises(InputError, match="outside of its own folder"):
            read(text(place))
    for place in ("pipe", "in", "gone.raw", "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            read(text(place))


def test_memory_is_asked_of_all_that_limit_it(monkeypatch):
    assert 0 < memory.available() < 2**60
    monkeypatch.setattr(memory, "_of_groups", lambda: [7_000_000, 5_000_000])
    assert memory.available() == 5_000_000
    memory.require(5_000_000, "this", "Do that.")
    with pytest.raises(MemoryLimitError) as caught:
        memory.require(5_000_001, "this", "Do that.")
    assert str(caught.value) == (
        "this needs about 0.005 GB of memory, and 0.005 GB are free. Do that."
    )
