"""Command lines at work, and what they leave: whole runs of all experiments, tiny.

A run is a process of its own that begins as a copy of this one, with everything
imported but nothing computed: that saves the five seconds in which a process imports
JAX. It can be killed, and its processor time be read while it is at work.
"""

import hashlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = "C11,C12,C44,V\n0.11,0.045,0.04,0.3\n0.16,0.06,0.05,0.35\n0.2,0.08,0.06,0.4\n"
# Those that a run writes to after its results, and those that are for it alone.
ASIDE = frozenset({"run.json", "log.txt", "config.json", ".manifest.json", ".lock"})
PRIVATE = frozenset({"state", "checkpoints"})
TIMES = (
    r'"(\w*seconds\w*|samples_per_s|signature)": (\{[^}]*\}|[^,}\n]*)',
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[+\-:\d]*",
    r"\d[\d.]* (s|seconds|samples/s)\b",
    r"<small>[\d.]+ k?M?B</small>",  # sizes of files with times in them
)

_CHEAP = (
    *("--config.num_samples=1", "--config.polish_steps=0", "--config.newton=0"),
    *("--config.spare=0", "--config.steps=4", "--config.workers=1"),
)
_TRAINING = (
    *("--config.steps=24", "--config.checkpoint_every=6", "--config.log_every=4"),
    *("--config.batch_size=8", "--config.warmup=2", "--config.data=INPUT/noise"),
    *("--config.model.width=8", "--config.model.embedding=8"),
    "--config.model.multipliers=(1,)",
)
# The experiments that go on where they were stopped; INPUT is the folder of `inputs`.
CASES = {
    "homogenize": ("--config.input=INPUT/cells", "--config.refine=never"),
    "generate": (
        *_CHEAP,
        *("--config.targets=INPUT/list.csv", "--config.num_best=1"),
        "--config.resolution=64",
    ),
    "evaluate": (*_CHEAP, "--config.num_targets=4"),
    "optimize": (
        *("--config.design_resolution=32", "--config.resolution=64"),
        *("--config.num_starts=2", "--config.num_best=1", "--config.start=random"),
        *("--config.steps=12", "--config.refine_steps=2", "--config.store_every=1"),
        "--config.workers=1",
    ),
    "interpolate": (
        *("--config.num_path=1", "--config.num_cells=2", "--config.chain_steps=1"),
        *("--config.strip_cells=0", "--config.num_pairs=0", "--config.steps=4"),
        *("--config.polish_steps=0", "--config.newton=0", "--config.resolution=64"),
        *("--config.first=100", "--config.second=1500"),
    ),
    "cloak": (
        *("--config.num_cells=6", "--config.columns=square", "--config.pool=10"),
        *("--config.references=isotropic", "--config.steps=4", "--config.own_cells=1"),
        *("--config.exchanges=2", "--config.stl_samples=4", "--config.workers=1"),
    ),
    "dataset": (
        *("--config.optimized.bulk_shear=4", "--config.optimized.lattices=8"),
        *("--config.optimized.plates=0", "--config.optimized.steps=6"),
        *("--config.perturbed.everywhere=4", "--config.perturbed.poisson=()"),
        *("--config.perturbed.joint=()", "--config.shard_size=4"),
        *("--config.subset=8", "--config.num_targets=8", "--config.workers=1"),
    ),
    "train": (*_TRAINING, "--config.model.patch=2", "--config.model.attention=()"),
    "regressor": (*_TRAINING, "--config.model.blocks=(0,)"),
    "extremes": (
        *("--config.quests=bulk", "--config.num_starts=1", "--config.num_plates=0"),
        *("--config.steps=6", "--config.refine_steps=1", "--config.num_variants=1"),
        *("--config.variant_steps=1", "--config.num_kept=1", "--config.workers=1"),
        *(
            "--config.sampling_steps=4",
            "--config.inversion_steps=4",
            "--config.iterations=1",
        ),
    ),
}


class Usage(NamedTuple):
    """How a process ended (its exit code, or minus the signal) and what it took."""

    code: int
    seconds: float  # of a processor
    bytes: int  # most in memory


def family(pid: int) -> list[int]:
    """Return the processes that a process has started, those of these included."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    own = [int(word) for word in text.split()]
    return own + [child for number in own for child in family(number)]


class Process:
    """A process that does some work and ends with its exit code."""

    def __init__(self, work: Callable[[], int], log: Path):
        """Start it; what it says goes to the end of a file."""
        sys.stdout.flush()
        self._ended = None
        self.pid = os.fork()
        if self.pid == 0:
            _work(work, log)

    @property
    def seconds(self) -> float:
        """Processor time so far, that of the processes that it started included."""
        ticks = 0
        for pid in (self.pid, *family(self.pid)):
            try:
                text = Path(f"/proc/{pid}/stat").read_text()
            except OSError:  # it has ended; who waited for it counts it
                continue
            ticks += sum(map(int, text.rpartition(")")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def ended(self, wait: bool = False) -> Usage | None:
        """Return how it ended, None while it works."""
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                seconds = usage.ru_utime + usage.ru_stime
                self._ended = Usage(code, seconds, 1024 * usage.ru_maxrss)
        return self._ended

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        if self.ended() is None:
            os.kill(self.pid, number)


def _work(work: Callable[[], int], log: Path) -> None:
    """Do the work of this process, and end it."""
    code = 70
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def load() -> None:
    """Import what experiments import; nothing may be computed in this process."""
    from mmdiff.run import environment

    environment.silence_xla()  # before JAX is imported
    import importlib

    for path in sorted((ROOT / "experiments").glob("*.py")):
        importlib.import_module(f"experiments.{path.stem}")


def inputs(folder: Path) -> Path:
    """Return the folder with the files that `CASES` name, written where it is none."""
    if not folder.is_dir():
        process = Process(lambda: _inputs(folder), Path(os.devnull))
        assert process.ended(wait=True).code == 0
    return folder


def _inputs(folder: Path) -> int:
    """Write them, with JAX: in a process that no other one is a copy of."""
    from data_helpers import write_noise

    cells = folder / "cells"
    cells.mkdir(parents=True)
    write_noise(
        folder / "noise" / "data.zarr",
        24 * [0] + 4 * [1] + 2 * [2],
        selected=[*range(9)],
    )
    for number, level in enumerate((-0.3, 0.0, 0.3)):
        np.save(cells / f"{number}.npy", schwarz(16) > level)
    (folder / "list.csv").write_text(LIST)
    return 0


def schwarz(n: int) -> np.ndarray:
    """Return the field of Schwarz' P surface at the centres of n^3 voxels."""
    waves = np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
    return waves[:, None, None] + waves[:, None] + waves


def command(name: str, workdir: Path, given: Path, *more: str) -> list[str]:
    """Return the command line of a case."""
    keys = [key.replace("INPUT", str(given)) for key in CASES[name]]
    line = ["mmdiff", f"--config={ROOT / 'configs' / name}.py", f"--workdir={workdir}"]
    return [*line, *keys, *more]


def start(argv: list[str], log: Path) -> Process:
    """Start a command line."""
    from mmdiff import main

    return Process(lambda: main.main(argv), log)


def run(argv: list[str], log: Path) -> Usage:
    """Run a command line to its end."""
    return start(argv, log).ended(wait=True)


def products(workdir: Path, aside: tuple[str, ...] = ()) -> dict[str, str]:
    """Return digests of what a run has made, by name; times in texts do not count."""
    found = {}
    for path in _files(workdir):
        name = path.relative_to(workdir).as_posix()
        if not {name, *Path(name).parts} & set(aside):
            content = path.read_bytes()
            if path.suffix in (".json", ".jsonl", ".html", ".md", ".csv", ".txt"):
                content = _timeless(content.decode("utf-8", "replace"), workdir)
            if path.name == "metrics.jsonl":  # a kill may have it write a line again
                content = b"\n".join(sorted(set(content.split(b"\n"))))
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def _files(workdir: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(workdir):
        if Path(root) == workdir:
            folders[:] = [name for name in folders if name not in PRIVATE]
            names = [name for name in names if name not in ASIDE]
        yield from (Path(root) / name for name in names if name != ".manifest.json")


def _timeless(text: str, workdir: Path) -> bytes:
    text = text.replace(str(workdir), "WORKDIR")
    for pattern in TIMES:
        text = re.sub(pattern, "", text)
    return text.encode()


def wait_for(met, seconds: float = 600.0) -> None:
    """Wait until a condition is met.

    Raises:
      TimeoutError: it was not, for so long.
    """
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing in {seconds:g} s")
        time.sleep(0.01)
