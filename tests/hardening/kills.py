"""Runs that are killed at a random time, go on, and must end as an undisturbed one.

SIGKILL or SIGTERM, by chance, when the process has had a share of the processor time of
the undisturbed run, drawn evenly from where its work begins to its end: seconds on the
clock of a busy machine say little. Products are compared bit for bit; times of the
clock in texts do not count.
"""

import shutil
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hardening import runs

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
ATTEMPTS = 20  # of one run, until it is done
# A training that stops in good order reports where: a point more in its curve.
REPORTED = ("metrics.jsonl", "loss.png", "MODEL_CARD.md")
# Tables, which pages show, and cards may hold seconds.
OTHER = {
    **{"train": REPORTED, "regressor": REPORTED},
    "evaluate": ("table.md", "index.html"),
    "cloak": ("distortion.csv", "index.html"),
    "dataset": ("DATASET_CARD.md", "timings"),
}


class Undisturbed(NamedTuple):
    """A run that nothing happened to."""

    begun: float  # processor seconds to its first line
    seconds: float  # in all
    products: dict[str, str]


def undisturbed(name: str, folder: Path) -> Undisturbed:
    """Run a case to its end.

    Raises:
      RuntimeError: it failed.
    """
    log, workdir = folder / f"{name}.log", folder / name / "whole"
    shutil.rmtree(workdir, ignore_errors=True)
    argv = runs.command(name, workdir, runs.inputs(folder / "inputs"))
    process = runs.start(argv, log)
    _begun(process, workdir)
    begun = process.seconds
    usage = process.ended(wait=True)
    if usage.code:
        raise RuntimeError(f"{name} ended with {usage.code}: see {log}")
    return Undisturbed(begun, usage.seconds, _products(name, workdir))


def trial(name: str, seed: int, whole: Undisturbed, folder: Path) -> dict[str, Any]:
    """Kill a run of a case once and let it go on; returns what came of it."""
    rng = np.random.default_rng([len(name), *name.encode(), seed])
    number = SIGNALS[int(rng.integers(len(SIGNALS)))]
    at = whole.begun + float(rng.random()) * (whole.seconds - whole.begun)
    workdir, log = folder / name / "killed", folder / f"{name}.log"
    shutil.rmtree(workdir, ignore_errors=True)
    argv = runs.command(name, workdir, runs.inputs(folder / "inputs"))
    process = runs.start(argv, log)
    while process.ended() is None and process.seconds < at:
        time.sleep(0.005)
    process.kill(number)
    usage = process.ended(wait=True)
    codes = [usage.code]
    while codes[-1] and len(codes) <= ATTEMPTS:
        codes.append(runs.run(argv, log).code)
        if codes[-1] not in (0, 5):
            break
    odd = different(whole.products, _products(name, workdir))
    return {
        "experiment": name,
        "seed": seed,
        "signal": signal.Signals(number).name,
        "at": round(at / whole.seconds, 3),
        "codes": codes,
        "killed": codes[0] != 0,
        "identical": codes[-1] == 0 and not odd,
        "different": odd[:5],
        "seconds": usage.seconds,
    }


def different(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of products that differ."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name) != other.get(name)]


def _products(name: str, workdir: Path) -> dict[str, str]:
    return runs.products(workdir, OTHER.get(name, ()))


def _begun(process: runs.Process, workdir: Path) -> None:
    """Wait for the first line of a run: JAX is ready then."""
    log = workdir / "log.txt"
    runs.wait_for(
        lambda: process.ended() or (log.is_file() and log.stat().st_size), 3000
    )


def measure(results: Any, count: int, seed: int, folder: Path, only=()) -> None:
    """Kill runs of each case in turn until there are `count` kills in all.

    Those that ended before they were killed are told, and are no kills.
    """
    runs.load()
    names = [name for name in runs.CASES if not only or name in only]
    known: dict[str, Undisturbed] = {}
    rounds = 0
    while sum(row["killed"] for row in results.rows("kills")) < count:
        for name in names:
            key = f"{name} {seed + rounds}"
            if results.has("kills", key):
                continue
            if name not in known:
                known[name] = undisturbed(name, folder)
            row = trial(name, seed + rounds, known[name], folder)
            if not row["killed"]:  # programs had to be compiled the first time
                known[name] = known[name]._replace(seconds=row["seconds"])
            results.add("kills", key, row)
        rounds += 1
