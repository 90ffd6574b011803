"""Honest timing: medians of warm calls, programs compiled, modules in new processes.

What costs once (imports, compilation, memory) cannot be measured in a process that has
already paid for it; `run_module` starts a new one. JAX is imported inside the functions
as in `environment`.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mmdiff
from mmdiff import places
from mmdiff.run import environment

COMPILED = "/jax/core/compile/backend_compile_duration"


class Timing(NamedTuple):
    """The last result of some calls, and medians of their seconds and CPU seconds."""

    result: Any
    wall_s: float
    cpu_s: float
    calls: int


def measure(call: Callable[[], Any], repeats: int, seconds: float) -> Timing:
    """Time a call that is compiled and warm, at most `repeats` times or some `seconds`.

    There is always one call; its arrays are waited for.
    """
    import jax
    import numpy as np

    walls, cpus, result = [], [], None
    while not walls or (len(walls) < repeats and sum(walls) < seconds):
        wall, cpu = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(call())
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Timing(result, float(np.median(walls)), float(np.median(cpus)), len(walls))


@contextlib.contextmanager
def counting_compiles() -> Iterator[list[int]]:
    """Yield a list whose one entry is the number of programs compiled so far."""
    from jax import monitoring

    count = [0]

    def listen(event: str, _: float, **__: object) -> None:
        count[0] += event == COMPILED

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        monitoring.unregister_event_duration_listener(listen)


def run_module(name: str, *arguments: object, timeout: float | None = None) -> dict:
    """Run a module in a new Python that finds this mmdiff; return the JSON it prints.

    Where it fails {"status": why}, with the last line it wrote to stderr, or "stopped"
    where it took more than `timeout` seconds.
    """
    root = str(pathlib.Path(mmdiff.__file__).resolve().parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # A parent that has reserved an accelerator's memory leaves little of it.
    env.pop(places.VARIABLE, None)  # it has folders of its own
    env["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    command = [sys.executable, "-m", name, *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return {"status": "stopped"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"status": lines[-1] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout)


def peak_bytes() -> int:
    """Return the peak memory of the accelerator, or of this process on a CPU.

    Linux hands the peak that `getrusage` reports down from the parent process, which
    would hide that of a child; the VmHWM of /proc is the process's own.
    """
    peak = environment.peak_memory()
    if peak["device_bytes"] is not None:
        return peak["device_bytes"]
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return own[0] if own else peak["process_bytes"] or 0
