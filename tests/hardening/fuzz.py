"""Damaged files of every format: read, or refused in a sentence, and in time.

Each file is whole at first, then bytes are changed, cut out, repeated or put in, and
numbers of headers replaced by extreme ones. The seed of a file is its number. What a
library reads is read in a process of its own, as `mmdiff.apart` does it, all files of a
format in one: that would die of one, and a process for each takes seconds. There a file
is left out after ten seconds, where `mmdiff.apart` would end the process after sixty.
"""

import gzip
import importlib
import io
import json
import pathlib
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from hardening import runs
from hardening.inputs import in_time
from scipy.io import savemat

from mmdiff import apart
from mmdiff.errors import DataError, InputError, MemoryLimitError
from mmdiff.io import read, read_volumes, write
from mmdiff.targets import table, target

CELL = (np.random.default_rng(5).random((6, 7, 8)) > 0.5).astype(np.uint8)
SECONDS = 60  # for one file
BYTES = 2e9  # in memory
REFUSED = (InputError, DataError, MemoryLimitError)
EXTREME = [b"0", b"-1", b"99999999999999999999", b"1e999", b"nan", b"4294967296", b""]


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
    tifffile = importlib.import_module("tifffile")
    tifffile.imwrite(path, CELL.transpose(2, 1, 0), photometric="minisblack")


def _hdf5(path):
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "w") as file:
        options = {"chunks": (3, 4, 4), "compression": "gzip"}
        file.create_dataset("a", data=CELL, **options)


def _mesh(path):
    trimesh = importlib.import_module("trimesh")
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
    "box.3mf": _mesh,
}


def mutated(whole: bytes, rng) -> bytes:
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


def damaged(name: str, whole: bytes, number: int) -> bytes:
    """Return a damaged file; every other archive is whole, what is in it is not."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    if number % 2 == 0 or pathlib.Path(name).suffix not in (".npz", ".3mf"):
        return mutated(whole, rng)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    chosen = sorted(files)[int(rng.integers(len(files)))]
    files[chosen] = mutated(files[chosen], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return packed.getvalue()


class Format(NamedTuple):
    """How a whole file of a format is written, and a file read."""

    write: Callable[[pathlib.Path], Any]
    read: Callable[[pathlib.Path], Any]


def _raw(path):
    path.write_bytes(CELL.tobytes())


def _list(path):
    lines = (f"a{i},0.1,0.04,0.03,0.3\n\nb{i},0.2,,,0.4\n" for i in range(5))
    path.write_text("name,C11,C12,C44,V\n" + "".join(lines))


def _read_list(path):
    lines = table.check(table.read(path))
    table.refuse(lines, path)


def _tensor(path):
    tensor = np.diag([0.2, 0.2, 0.2, 0.05, 0.05, 0.05])
    tensor[:3, :3] += 0.01
    np.savetxt(path, tensor)


FORMATS = {
    **{
        name: Format(w, lambda path: read.read(path, voxels=8))
        for name, w in WRITERS.items()
    },
    "a.raw": Format(_raw, lambda path: read.read(path, shape=CELL.shape)),
    "list.csv": Format(_list, _read_list),
    "tensor.txt": Format(_tensor, lambda path: target.parse(str(path))),
}


class Count(NamedTuple):
    """What came of damaged files of a format."""

    read: int
    refused: int
    wrong: list[str]  # exceptions, hangs and bad sentences


def fuzz(name: str, place: Format, numbers: range, folder: pathlib.Path) -> Count:
    """Read damaged files of a format, in this process."""
    path, wrong, counts = folder / name, [], [0, 0]
    place.write(path)
    place.read(path)  # it is whole
    whole = path.read_bytes()
    for number in numbers:
        path.write_bytes(damaged(name, whole, number))
        try:
            with in_time(SECONDS):
                place.read(path)
            counts[0] += 1
        except REFUSED as error:
            counts[1] += 1
            if not 20 < len(str(error)) < 1500:
                wrong.append(f"{number}: a sentence of {len(str(error))} letters")
        except Exception as error:
            wrong.append(f"{number}: {type(error).__name__}: {error}"[:300])
    return Count(*counts, wrong)


LOADERS = """
import pathlib
import resource
import signal
from mmdiff.io import read_volumes


def late(*_):
    raise TimeoutError


def load_all(folder, loader, options):
    counts = [0, 0]
    signal.signal(signal.SIGVTALRM, late)
    for path in sorted(pathlib.Path(folder).iterdir()):
        signal.setitimer(signal.ITIMER_VIRTUAL, 10)  # of this processor time
        try:
            getattr(read_volumes, loader)(path=str(path), **options)
            counts[0] += 1
        except Exception:
            counts[1] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return [], {"counts": counts, "bytes": 1024 * peak}
"""


def fuzz_library(name: str, numbers: range, folder: pathlib.Path) -> tuple[Count, int]:
    """Have a library load damaged files, all in one process apart; and its memory.

    The folder has to be on the path, for the process to find what loads them.
    """
    (folder / "loaders.py").write_text(LOADERS)
    path, files = folder / name, folder / "files"
    LIBRARIES[name](path)
    read_volumes.require(
        {".tif": "tifffile", ".h5": "h5py"}.get(path.suffix, "trimesh"), path
    )
    files.mkdir()
    for number in numbers:
        content = damaged(name, path.read_bytes(), number)
        (files / f"{number:06d}{path.suffix}").write_bytes(content)
    loader = {".tif": "load_tiff", ".h5": "load_hdf5"}.get(path.suffix, "load_surface")
    options = {"key": ""} if path.suffix == ".h5" else {}
    where = {"folder": str(files), "loader": loader, "options": options}
    _, values = apart.call("loaders", "load_all", seconds=SECONDS * 10, **where)
    return Count(*values["counts"], []), values["bytes"]


def batches(name: str, count: int, seed: int, size: int = 100) -> Iterator[range]:
    """Yield the numbers of the files of a format, in parts that are kept one by one."""
    for begin in range(seed, seed + count, size):
        yield range(begin, min(begin + size, seed + count))


def measure(results: Any, count: int, seed: int, folder: pathlib.Path, only=()) -> None:
    """Read `count` damaged files in all, as many of each format."""
    names = [n for n in (*FORMATS, *LIBRARIES) if not only or n in only]
    each = -(-count // len(names))
    for name in names:
        for numbers in batches(name, each, seed):
            key = f"{name} {numbers.start}-{numbers.stop}"
            if not results.has("fuzz", key):
                results.add("fuzz", key, {"format": name, **_part(name, numbers)})


def _part(name: str, numbers: range) -> dict[str, Any]:
    """Read files in a copy of this process, whose death is no end of the measure."""
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        begin = time.monotonic()

        def work() -> int:
            if name in LIBRARIES:
                sys.path.insert(0, place)  # the process apart has it, too
                count, peak = fuzz_library(name, numbers, folder)
            else:
                count, peak = fuzz(name, FORMATS[name], numbers, folder), 0
            found = {**count._asdict(), "bytes": peak}
            (folder / "found.json").write_text(json.dumps(found))
            return 0

        usage = runs.Process(work, folder / "log").ended(wait=True)
        if usage.code:
            said = (folder / "log").read_text()[-300:]
            found = {"read": 0, "refused": 0, "wrong": [f"{usage.code}: {said}"]}
        else:
            found = json.loads((folder / "found.json").read_text())
        found["bytes"] = max(found.get("bytes", 0), usage.bytes)
        return found | {"seconds": round(time.monotonic() - begin, 1)}
