"""One flipped bit in a stored file: it must be noticed, or not matter.

Of each kind of file that mmdiff reads back, one bit of one file is flipped, and it is
read as the next run would read it: "detected" (refused, or left out and made again),
"harmless" (what is read is the same), "internal error", or "silently other", which must
not be. Files are whole again after each.
"""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from hardening import kills, runs

from mmdiff.errors import DataError, InputError

READ_BACK = "properties.json read back by homogenize"
OUTCOMES = ("detected", "harmless", "internal error", "silently other")


class Kind(NamedTuple):
    """Files of a kind, and what reads them: a value, or one of the library's errors."""

    files: list[Path]
    read: Callable[[], Any]


class NoticedError(Exception):
    """A damaged file was left out, or what follows from it is made again."""


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one bit flipped."""
    place, bit = int(rng.integers(len(content))), int(rng.integers(8))
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def trial(kind: Kind, whole: str, rng: np.random.Generator) -> tuple[str, str]:
    """Flip a bit of a file of a kind; returns the outcome, and what was said."""
    path = kind.files[int(rng.integers(len(kind.files)))]
    content = path.read_bytes()
    path.write_bytes(flipped(content, rng))
    try:
        found = digest(kind.read())
        return ("harmless" if found == whole else "silently other"), path.name
    except (DataError, InputError, NoticedError) as error:
        return "detected", f"{path.name}: {error}"
    except Exception as error:
        return "internal error", f"{path.name}: {type(error).__name__}: {error}"
    finally:
        path.write_bytes(content)


def digest(value: Any) -> str:
    """Return a digest of nested values and arrays."""
    state = hashlib.sha256()
    _digest(value, state)
    return state.hexdigest()


def _digest(value, state) -> None:
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, (list, tuple)):
        state.update(f"[{len(value)}".encode())
        for item in value:
            _digest(item, state)
    elif hasattr(value, "dtype"):
        array = np.asarray(value)
        state.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    else:
        state.update(f"{type(value).__name__} {value!r}".encode())


def kinds(folder: Path, only=()) -> Iterator[tuple[str, Kind]]:
    """Yield the kinds by name: of a dataset, weights, checkpoints and whole runs."""
    # Runs are copies of this process: they come before it computes anything.
    for name in runs.CASES:
        if not only or any(text.endswith(name) for text in only):
            yield from _of_run(name, folder)
    yield from _stored(folder)
    yield from _dataset(folder)
    yield from _training(folder)


def _stored(folder: Path) -> Iterator[tuple[str, Kind]]:
    """Yield what `run.saved` and `workdir.append_record` keep, as all runs use them."""
    from mmdiff.run import saved, workdir

    place = folder / "stored"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    rng = np.random.default_rng(0)
    state = {"design": rng.random((9, 9, 9)), "step": np.int32(7)}
    path = saved.save(place / "state.npz", state)
    yield "state, arrays", Kind([path], lambda: saved.load(path, state))
    for step in range(9):
        workdir.append_record(place, {"step": step, "value": rng.random(), "a": "b"})
    metrics = place / "metrics.jsonl"
    known = workdir.read_records(place)
    yield "state, records", Kind([metrics], lambda: _records(workdir, place, known))


def _dataset(folder: Path) -> Iterator[tuple[str, Kind]]:
    from mmdiff.data import store
    from mmdiff.data.dataset import load_dataset

    root = folder / "set" / "data.zarr"
    shutil.rmtree(root.parent, ignore_errors=True)
    shutil.copytree(runs.inputs(folder / "inputs") / "noise", root.parent)
    for name in store.ARRAYS:
        files = [p for p in (root / name / "c").rglob("*") if p.is_file()]
        yield f"dataset, {name}", Kind(files, lambda: load_dataset(root))
    for name in ("zarr.json", "manifests/*.json", "layout.json", "selection.json"):
        files = sorted(root.rglob(name) if "/" not in name else root.glob(name))
        yield f"dataset, {name}", Kind(files, lambda: load_dataset(root))
    files = [root / "content.sha256"]
    yield "dataset, content.sha256", Kind(files, lambda: load_dataset(root))


def _training(folder: Path) -> Iterator[tuple[str, Kind]]:
    from mmdiff import assets
    from mmdiff.models.regressor import load_regressor
    from mmdiff.models.weights import load_weights
    from mmdiff.train.checkpoint import Checkpoints

    place = folder / "weights"
    place.mkdir(exist_ok=True)
    for name, load in (("denoiser", load_weights), ("regressor", load_regressor)):
        path = place / f"{name}64.npz"
        for source in (path.name, f"{path.name}.sha256"):
            shutil.copy(assets.weights_path().with_name(source), place / source)

        def read(load=load, path=path):
            return load(path)

        yield f"weights of the {name}", Kind([path], read)
        sidecar = path.with_name(f"{path.name}.sha256")
        yield f"digest of the {name}", Kind([sidecar], read)
    state = {"a": np.arange(999, dtype=np.float32), "b": {"c": np.ones((30, 40))}}
    checkpoints = Checkpoints(folder / "checkpoints")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    checkpoints.save(7, state)
    files = [p for p in (folder / "checkpoints" / "7").rglob("*") if p.is_file()]
    read = lambda: checkpoints.restore(7, state)  # noqa: E731
    yield "checkpoint", Kind([p for p in files if p.stat().st_size], read)
    yield "digest of a checkpoint", Kind([folder / "checkpoints" / "7.sha256"], read)


def _of_run(name: str, folder: Path) -> Iterator[tuple[str, Kind]]:
    from mmdiff.run import manifest, saved, workdir

    whole = folder / name / "whole"
    if not (whole / manifest.NAME).is_file():
        kills.undisturbed(name, folder)
    states = sorted((whole / "state").rglob("*.npz"))
    if states:
        yield f"state of {name}", Kind(states, lambda: list(map(saved.load, states)))
    metrics = whole / "metrics.jsonl"
    if '"signature"' in metrics.read_text():
        known = workdir.read_records(whole)
        reader = lambda: _records(workdir, whole, known)  # noqa: E731
        yield f"records of {name}", Kind([metrics], reader)

    def check(place):
        wrong = manifest.flaws(place)
        if wrong:
            raise NoticedError(str(wrong))
        return ""

    listed = json.loads((whole / manifest.NAME).read_text())["files"]
    files = [whole / text for text in listed if (whole / text).stat().st_size]
    yield f"products of {name}", Kind(files, lambda: check(whole))
    yield f"manifest of {name}", Kind([whole / manifest.NAME], lambda: check(whole))
    yield (
        f"config.json of {name}",
        Kind([whole / "config.json"], lambda: _again(name, whole, folder)),
    )
    if name == "homogenize":
        yield READ_BACK, _read_back(whole, folder)


def _records(workdir, whole: Path, known: list) -> list:
    """Return the records of a run as the next one reads them.

    Raises:
      NoticedError: some of those known are left out, so that they are made again.
    """
    notes = io.StringIO()
    with contextlib.redirect_stdout(notes):
        found = workdir.read_records(whole)
    if notes.getvalue() or (len(found) < len(known) and all(x in known for x in found)):
        raise NoticedError(notes.getvalue() or "left out")
    return found


def _again(name: str, whole: Path, folder: Path) -> str:
    """Return what the same command says to a finished run, without running it."""
    from mmdiff import main
    from mmdiff.run import runner

    said, error = io.StringIO(), io.StringIO()
    argv = runs.command(name, whole, folder / "inputs")
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(error),
        mock.patch.object(runner, "_run", side_effect=NoticedError("made again")),
    ):
        if main.main(argv):
            raise NoticedError(error.getvalue())
    return said.getvalue().splitlines()[0].partition(" (")[0]


def _read_back(whole: Path, folder: Path) -> Kind:
    """Return the kind of results that a run which goes on reads: a folder of cells."""
    from mmdiff.run import manifest

    stopped, log = folder / "homogenize" / "stopped", folder / "homogenize.log"
    shutil.rmtree(stopped, ignore_errors=True)
    shutil.copytree(whole, stopped)
    argv = runs.command("homogenize", stopped, folder / "inputs")

    def read():
        (stopped / manifest.NAME).unlink()
        run = json.loads((stopped / "run.json").read_text())
        (stopped / "run.json").write_text(json.dumps(run | {"exit_reason": "running"}))
        code = runs.run(argv, log).code
        if code:
            raise RuntimeError(f"exit code {code}: see {log}")
        return runs.products(stopped)

    return Kind(sorted(stopped.glob("*/properties.json")), read)


def measure(results: Any, count: int, seed: int, folder: Path, only=()) -> None:
    """Flip `count` bits of each kind."""
    runs.load()
    for name, kind in kinds(folder, only):
        if only and name not in only:
            continue
        whole = None
        for number in range(seed, seed + count):
            key = f"{name} {number}"
            if results.has("flips", key):
                continue
            whole = whole or digest(kind.read())
            rng = np.random.default_rng([number, *name.encode()])
            outcome, said = trial(kind, whole, rng)
            row = {"kind": name, "outcome": outcome, "said": said[:200]}
            results.add("flips", key, row)
