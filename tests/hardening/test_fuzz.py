"""Damaged files of every format: read, or refused in a sentence, and in time.

Each file is whole at first, then bytes are changed, cut out, repeated or put in, and
numbers of headers replaced by extreme ones. The seed of a failure is in its message.
"""

import gzip
import signal
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from mmdiff import apart
from mmdiff.errors import DataError, InputError, MemoryLimitError
from mmdiff.io import read, write
from mmdiff.targets import table, target

CELL = (np.random.default_rng(5).random((6, 7, 8)) > 0.5).astype(np.uint8)
SECONDS = 60  # for one file
REFUSED = (InputError, DataError, MemoryLimitError)
EXTREME = [b"0", b"-1", b"99999999999999999999", b"1e999", b"nan", b"4294967296", b""]
KEPT = 200  # files of a format
APART = 10  # of them each in a process apart, the way libraries are called


def _nrrd(path, encoding):
    data = CELL.tobytes(order="F")
    content = {"gzip": gzip.compress(data), "raw": data}.get(encoding)
    if content is None:
        content = " ".join(map(str, CELL.ravel(order="F"))).encode()
    head = (
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 6 7 8\nspacings: 1 1 1\n"
        f"encoding: {encoding}\nendian: little\n\n"
    )
    path.write_bytes(head.encode() + content)


def _vti_text(path):
    text = " ".join(map(str, CELL.transpose(2, 1, 0).ravel()))
    path.write_text(
        '<VTKFile type="ImageData"><ImageData Spacing="1 1 1"><Piece Extent="0 6 0 7 0 '
        '8"><CellData><DataArray type="UInt8" Name="density" format="ascii">'
        f"{text}</DataArray></CellData></Piece></ImageData></VTKFile>"
    )


def _tiff(path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, CELL.transpose(2, 1, 0), photometric="minisblack")


def _hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        options = {"chunks": (3, 4, 4), "compression": "gzip"}
        file.create_dataset("a", data=CELL, **options)


def _mesh(path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box(extents=(1, 2, 3)).export(path)


WRITERS = {
    "array.npy": lambda path: np.save(path, CELL),
    "packed.npz": lambda path: np.savez_compressed(path, a=CELL, b=CELL[0]),
    "plain.npz": lambda path: np.savez(path, a=CELL),
    "own.vti": lambda path: write.write_vti(path, {"density": CELL}),
    "text.vti": _vti_text,
    "raw.nrrd": lambda path: _nrrd(path, "raw"),
    "packed.nrrd": lambda path: _nrrd(path, "gzip"),
    "text.nrrd": lambda path: _nrrd(path, "ascii"),
    "plain.mat": lambda path: savemat(path, {"a": CELL, "b": 1.0, "c": "text"}),
    "packed.mat": lambda path: savemat(path, {"a": CELL}, do_compression=True),
}
LIBRARIES = {
    "stack.tif": _tiff,
    "set.h5": _hdf5,
    "box.stl": _mesh,
    "box.ply": _mesh,
    "box.obj": _mesh,
}


def _mutated(whole: bytes, rng) -> bytes:
    """Return a file with some damage."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        size = len(content)
        # Headers are where damage tells.
        most = size if rng.random() < 0.5 else min(size, 400)
        start = int(rng.integers(0, most)) if most else 0
        end = min(size, start + int(rng.integers(1, 40)))
        match rng.integers(7):
            case 0:
                content[start:end] = rng.bytes(end - start)
            case 1:
                del content[start:end]
            case 2:
                content[start:start] = content[start:end]
            case 3:
                content[start:start] = rng.bytes(int(rng.integers(1, 20)))
            case 4:
                del content[start:]
            case 5:
                content[start : start + 1] = bytes([1 << int(rng.integers(8))])
            case 6:
                numbers = [
                    i for i, byte in enumerate(content[:2000]) if 48 <= byte <= 57
                ]
                if numbers:
                    place = int(rng.choice(numbers))
                    extreme = EXTREME[int(rng.integers(len(EXTREME)))]
                    content[place : place + 1] = extreme
    return bytes(content)


@pytest.fixture
def in_time():
    """Fail a file that takes too long: that is a hang."""

    def late(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield lambda: signal.alarm(SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _fuzz(path, call, count, in_time):
    """Call with mutated files; return how many of them were refused."""
    whole, refused = path.read_bytes(), 0
    for seed in range(count):
        rng = np.random.default_rng([zlib.crc32(path.name.encode()), seed])
        path.write_bytes(_mutated(whole, rng))
        in_time()
        try:
            call(path)
        except REFUSED as error:
            refused += 1
            assert 20 < len(str(error)) < 1500, f"{path.name}, seed {seed}: {error}"
        except BaseException as error:
            raise AssertionError(f"{path.name}, seed {seed}") from error
    return refused


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WRITERS, *LIBRARIES])
def test_damaged_files_are_read_or_refused(tmp_path, in_time, name):
    path = tmp_path / name
    (WRITERS | LIBRARIES)[name](path)
    read.read(path, voxels=8)  # it is whole
    count = KEPT if name in WRITERS else APART
    refused = _fuzz(path, lambda path: read.read(path, voxels=8), count, in_time)
    assert refused > count / 4


LOADERS = """
import pathlib
from mmdiff.io import read_volumes


def load_all(folder, loader, options):
    counts = [0, 0]
    for path in sorted(pathlib.Path(folder).iterdir()):
        try:
            getattr(read_volumes, loader)(path=str(path), **options)
            counts[0] += 1
        except Exception:
            counts[1] += 1
    return [], {"counts": counts}
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_outlive_damaged_files(tmp_path, monkeypatch, name):
    """All files in one process, which would die of one: it is quicker."""
    (tmp_path / "loaders.py").write_text(LOADERS)
    monkeypatch.syspath_prepend(tmp_path)
    path, folder = tmp_path / name, tmp_path / "files"
    folder.mkdir()
    LIBRARIES[name](path)
    for seed in range(KEPT):
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        content = _mutated(path.read_bytes(), rng)
        (folder / f"{seed:03d}{path.suffix}").write_bytes(content)
    loader = {".tif": "load_tiff", ".h5": "load_hdf5"}.get(path.suffix, "load_surface")
    options = {"key": ""} if path.suffix == ".h5" else {}
    where = {"folder": str(folder), "loader": loader, "options": options}
    _, values = apart.call("loaders", "load_all", seconds=300.0, **where)
    read_, refused = values["counts"]
    assert read_ + refused == KEPT and refused > KEPT / 8


@pytest.mark.slow
def test_raw_files_of_any_size_are_read_or_refused(tmp_path, in_time):
    path = tmp_path / "a.raw"
    path.write_bytes(CELL.tobytes())
    refused = _fuzz(path, lambda path: read.read(path, shape=CELL.shape), KEPT, in_time)
    assert refused > KEPT / 4


@pytest.mark.slow
def test_damaged_lists_and_tensors_are_read_or_refused(tmp_path, in_time):
    path = tmp_path / "list.csv"
    path.write_text("name,C11,C12,C44,V\n" + "a,0.1,0.04,0.03,0.3\n\nb,0.2,,,0.4\n" * 5)

    def use(path):
        lines = table.check(table.read(path))
        table.refuse(lines, path)

    assert _fuzz(path, use, KEPT, in_time) > KEPT / 4
    path = tmp_path / "tensor.txt"
    np.savetxt(path, np.diag([0.2, 0.2, 0.2, 0.05, 0.05, 0.05]) + 0.01)
    refused = _fuzz(path, lambda path: target.parse(str(path)), KEPT, in_time)
    assert refused > KEPT / 4
