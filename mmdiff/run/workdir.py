"""The directory of one run: opening and locking it, its common files, its state.

Every run leaves `config.json`, `run.json`, `log.txt`, `metrics.jsonl` and `index.html`.
JSON is strict (NaN and infinity become null) and replaced in one step, so a killed run
leaves the old file or the new one, never half of one. The lock is held by the process,
not by the file: when a run is killed, the next one takes its directory over.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmdiff import places
from mmdiff.errors import InputError, cut
from mmdiff.io.json import plain
from mmdiff.run import console, manifest, origin

try:
    import fcntl
except ImportError:  # Windows has no flock: no protection against two runs there
    fcntl = None

LOCK = ".lock"
COMMON = (
    *("config.json", "run.json", "log.txt", "metrics.jsonl", "index.html"),
    manifest.NAME,
)
# What only a run leaves, and tells that there was one.
TRACES = ("config.json", "run.json", "metrics.jsonl", manifest.NAME)
NEEDED_BYTES = 50_000_000  # the default run writes about this much at most
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Create a workdir where it is missing, check it and hold its lock for the block.

    Raises:
      InputError: it is a file, not writable, its disk is full, a common file of it is
        a link, or another live process works in it.
    """
    try:
        if path.exists() and not path.is_dir():
            raise InputError(f"workdir {path} is a file. {_OTHER}")
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(unwritable(path, error)) from error
    for name in (*COMMON, LOCK):
        if (path / name).is_symlink():
            raise InputError(
                f"{path / name} is a link, and the run would write to where it leads. "
                f"Remove it. {_OTHER}"
            )
    free = free_bytes(path)
    if free is not None and free < NEEDED_BYTES:
        raise InputError(
            f"the disk of workdir {path} has {_megabytes(free)} free and a run needs "
            f"{_megabytes(NEEDED_BYTES)}. {_OTHER}"
        )
    with _locked(path):
        yield path


def unwritable(path: Path, error: OSError) -> str:
    """Return the message for an OSError met while writing to a workdir."""
    free = free_bytes(path)
    space = "" if free is None else f" ({_megabytes(free)} free on its disk)"
    reason = error.strerror or str(error)
    return f"cannot write to workdir {cut(path)}: {reason}{space}. {_OTHER}"


def free_bytes(path: Path) -> int | None:
    """Return the free space on the disk of `path` or of its nearest existing parent."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):  # a name that is too long is no folder
            if folder.is_dir():
                return shutil.disk_usage(folder).free
    return None


def read_state(workdir: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the contents of config.json (None without an earlier run) and run.json."""
    found = []
    for name in ("config.json", "run.json"):
        try:
            value = json.loads((workdir / name).read_text("utf-8"))
        except (OSError, ValueError):  # missing or damaged
            value = None
        found.append(value if isinstance(value, dict) else None)
    return found[0], found[1] or {}


def results(workdir: Path, run: Mapping[str, Any]) -> list[Path]:
    """Return the results of an earlier run: metrics, and all but the common files.

    Names under "found" in its run.json were there before it.
    """
    kept = {*COMMON, *run.get("found", ())}
    if is_filled(workdir / "metrics.jsonl"):
        kept.discard("metrics.jsonl")
    return sorted(
        item
        for item in workdir.iterdir()
        if item.name not in kept and not item.name.startswith(".")
    )


def is_filled(path: Path) -> bool:
    """Whether there is a file that is not empty."""
    return path.is_file() and path.stat().st_size > 0


def clear(workdir: Path, run: Mapping[str, Any]) -> None:
    """Delete an earlier run from its workdir; what was there before it stays."""
    common = [workdir / name for name in COMMON if name not in run.get("found", ())]
    # config.json goes last: as long as it exists the directory is known as a run.
    for item in [*results(workdir, run), *reversed(common)]:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)


def sweep(workdir: Path) -> None:
    """Delete the files that a killed run was about to write (`io.write.write_bytes`).

    Datasets and workdirs inside this one are left alone: other processes may be writing
    to them.
    """
    for root, folders, names in os.walk(workdir):
        folders[:] = [
            name
            for name in folders
            if not name.endswith(".zarr") and not Path(root, name, "run.json").exists()
        ]
        for name in filter(_TEMPORARY.fullmatch, names):
            with suppress(OSError):
                (Path(root) / name).unlink()


_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


def count_files(workdir: Path) -> int:
    """Return the number of files below a workdir, hidden ones aside."""
    return sum(
        not name.startswith(".") for _, _, names in os.walk(workdir) for name in names
    )


def append_metrics(workdir: Path, values: Mapping[str, Any]) -> None:
    """Append one line of JSON to metrics.jsonl and flush it; NaN is written as null."""
    line = json.dumps(plain(values), allow_nan=False) + "\n"
    with open(workdir / "metrics.jsonl", "ab+", opener=places.own) as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a killed run left half a line
                file.write(b"\n")
        file.write(line.encode())


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl; those that cannot be read are dropped, noted.

    A killed run may have left one torn, a disk damaged another.
    """
    path = workdir / "metrics.jsonl"
    found, bad = [], []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line) if line else {}
        except ValueError:  # JSON and UTF-8
            value = None
        if isinstance(value, dict):
            found += [value] if line else []
        else:
            bad.append(number)
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        console.note(f"line {bad[0]}{more} of {path} cannot be read. Left out.")
    return found


def append_record(workdir: Path, values: Mapping[str, Any]) -> None:
    """Append metrics that a run which goes on will read back, signed."""
    found = plain(values)
    append_metrics(workdir, found | {_SIGNATURE: _signature(workdir, found)})


def read_records(workdir: Path) -> list[dict[str, Any]]:
    """Return what `append_record` wrote in this run, as it was written.

    Records that were changed since, or are of other settings or inputs, are left out
    with a note.
    """
    found, bad = [], 0
    for values in read_metrics(workdir):
        signature = values.pop(_SIGNATURE, None)
        good = signature == _signature(workdir, values)
        found += [values] if good else []
        bad += not good and signature is not None
    if bad:
        console.note(
            f"{bad} records of {workdir / 'metrics.jsonl'} are damaged or follow from "
            "other settings or inputs. They are made again."
        )
    return found


_SIGNATURE = "signature"


def _signature(workdir: Path, values: Mapping[str, Any]) -> str:
    """Return the digest of values and of the run that they are of."""
    return origin.digest({"values": values, "run": origin.of(workdir)})


_OTHER = "Choose another directory with --workdir=DIR."


@contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    """Hold the lock of a workdir; the kernel drops it when the process dies."""
    if fcntl is None:
        yield
        return
    path = workdir / LOCK
    while True:
        file = open(path, "a+", encoding="utf-8", opener=places.own)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise InputError(
                f"workdir {workdir} is in use by {owner}. {_OTHER}"
            ) from None
        except OSError:  # a file system without locks: go on without one
            pass
        # The last owner may have removed the file between our open and our lock.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()
    with file:
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _megabytes(size: float) -> str:
    """Return a size in bytes as text."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
