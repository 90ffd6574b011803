"""A long list of targets whose processes are killed on the way, five times.

`generate.py` with two workers. At random places a worker or the run itself is killed,
and the same command run again, until all targets are done. The first twentieth of the
list is made by an undisturbed run, too, and compared bit for bit; the memory of the run
and its workers is read on the way.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from hardening import kills, runs

KILLS = 5
KEYS = (
    *("--config.num_samples=1", "--config.num_best=1", "--config.polish_steps=0"),
    *("--config.newton=0", "--config.spare=0", "--config.steps=2"),
    *("--config.resolution=64", "--config.workers=2"),
)


def write_list(path: Path, count: int, seed: int) -> Path:
    """Write targets near those of cells of middle volumes; most of them are reached."""
    rng = np.random.default_rng(seed)
    volume = rng.uniform(0.25, 0.6, count)
    c11 = 0.9 * volume**2 * rng.uniform(0.9, 1.1, count)
    rows = zip(c11, 0.38 * c11, 0.35 * c11, volume, strict=True)
    lines = [",".join(f"{x:.5f}" for x in row) for row in rows]
    path.write_text("\n".join(["C11,C12,C44,V", *lines, ""]))
    return path


def resident(pids: list[int]) -> int:
    """Return the bytes that processes have in memory."""
    total = 0
    for pid in pids:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:  # it has ended
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _done(workdir: Path) -> int:
    return sum(1 for _ in workdir.glob("*/.manifest.json"))


def soak(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Make a list, disturbed; returns what was seen."""
    rng = np.random.default_rng(seed)
    places = sorted(rng.uniform(0.02, 0.95, KILLS) * count)
    workdir, log = folder / "soak" / "out", folder / "soak.log"
    workdir.parent.mkdir(exist_ok=True)
    given = write_list(workdir.parent / "list.csv", count, seed)
    argv = _command(workdir, given)
    codes, killed, memory, begin = [], [], [], time.monotonic()
    while not codes or (codes[-1] and len(codes) < 3 * KILLS):
        process = runs.start(argv, log)
        while process.ended() is None:
            done = _done(workdir)
            children = runs.family(process.pid)
            if done > len(memory) * count / 50:  # on the way, 50 times
                memory.append(resident([process.pid, *children]))
            if places and done >= places[0] and children:
                places.pop(0)
                chosen = [process.pid, *_workers(children)]
                one = int(rng.integers(len(chosen)))
                killed.append("worker" if one else "run")
                os.kill(chosen[one], signal.SIGKILL)
            time.sleep(0.1)
        codes.append(process.ended(wait=True).code)
    seconds = time.monotonic() - begin
    return {
        "targets": count,
        "done": _done(workdir),
        "codes": codes,
        "killed": killed,
        "megabytes": [round(x / 1e6) for x in memory],
        "seconds": round(seconds),
        **_compared(workdir, given, max(count // 20, 1), folder, log),
    }


def _command(workdir: Path, given: Path) -> list[str]:
    config = f"--config={runs.ROOT / 'configs' / 'generate.py'}"
    place = f"--config.targets={given}"
    return ["mmdiff", config, f"--workdir={workdir}", place, *KEYS]


def _workers(pids: list[int]) -> list[int]:
    """Return those that compute: others only watch over semaphores."""
    return [pid for pid in pids if resident([pid]) > 100e6]


def _compared(workdir, given, size, folder, log) -> dict[str, Any]:
    """Return how an undisturbed run of the beginning of a list compares."""
    other, short = folder / "soak" / "sample", folder / "soak" / "sample.csv"
    short.write_text("\n".join(given.read_text().split("\n")[: size + 1]) + "\n")
    code = runs.run(_command(other, short), log).code
    names = sorted(path.parent.name for path in other.glob("*/.manifest.json"))
    odd = [
        name
        for name in names
        if kills.different(runs.products(workdir / name), runs.products(other / name))
    ]
    return {"sample": len(names), "sample_code": code, "different": odd[:5]}


def measure(results: Any, count: int, seed: int, folder: Path, only=()) -> None:
    """Make a list of `count` targets."""
    runs.load()
    key = f"{count} {seed}"
    if not results.has("soak", key):
        results.add("soak", key, soak(count, seed, folder))
