"""Run on this machine: one `mmdiff.main` in its own process, or a unit over a pool.

A unit is an idempotent function of one picklable argument (a shard number): work that
is already done is skipped by the unit itself, so a pool that was stopped is simply
started again. Nothing else belongs here; the other launchers map the same functions.

    python launch/local.py --config=configs/generate.py --workdir=out
"""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Unit = TypeVar("Unit")
Result = TypeVar("Result")


def start(args: Iterable[str]) -> int:
    """Run `python -m mmdiff.main` with the given arguments; returns its exit code."""
    return subprocess.call([sys.executable, "-m", "mmdiff.main", *args])


def map_units(
    function: Callable[[Unit], Result], units: Iterable[Unit], *, workers: int
) -> list[Result]:
    """Return [function(unit) for unit in units], `workers` units at a time.

    Args:
      function: idempotent; defined at the top of an importable module.
      units: picklable arguments, one for each call.
      workers: number of processes; each imports JAX and compiles for itself.
    """
    # JAX is multithreaded: a forked copy of it can hang, a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(function, units))


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
