"""What a run notes about itself: versions, devices, git state, compile time, memory.

Also switches on XLA's persistent compilation cache, which is what makes a second run
start quickly. JAX is imported inside the functions, so that this module costs nothing
while the command line is still being checked.
"""

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import mmdiff

MIN_COMPILE_SECONDS = 0.3  # cheaper programs are not worth a file in the cache
COMPILE_EVENTS = "/jax/core/compile/"
PACKAGES = "jax jaxlib flax optax orbax-checkpoint numpy tensorstore".split()


def silence_xla() -> None:
    """Switch XLA's log off; call before JAX is imported for the first time.

    For each CPU program taken from the cache XLA prints about 3 kB at error level,
    because two tuning hints (prefer-no-gather, prefer-no-scatter) are not features of a
    processor; real failures still arrive as Python exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs on disk for the next run; returns where, None if nowhere.

    The directory is JAX_COMPILATION_CACHE_DIR if that is set, else mmdiff/xla below
    XDG_CACHE_HOME or ~/.cache. One that cannot be written to is silently not used.
    """
    import jax

    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(base) / "mmdiff" / "xla"
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    if not os.access(cache, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    return cache


class CompileClock:
    """Adds up the time JAX spends tracing and compiling inside a `with` block.

    Tracing one function traces those it calls, and each reports its own duration: the
    time is that of the union of all reported intervals, so nothing is counted twice.
    """

    def __init__(self) -> None:
        """Start with no intervals."""
        self._intervals: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        """Time spent so far."""
        return sum(end - start for start, end in self._intervals)

    def __enter__(self) -> "CompileClock":
        """Listen to JAX."""
        from jax import monitoring

        monitoring.register_event_duration_secs_listener(self.add)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        from jax import monitoring

        monitoring.unregister_event_duration_listener(self.add)

    def add(self, event: str, duration: float, **_: object) -> None:
        """Take in one event that ends now and lasted `duration` seconds."""
        if not event.startswith(COMPILE_EVENTS):
            return
        end = time.monotonic()
        start = end - duration
        # Inner intervals end first: those begun after this one lie inside it.
        while self._intervals and self._intervals[-1][0] >= start:
            self._intervals.pop()
        if self._intervals:
            start = max(start, self._intervals[-1][1])
        self._intervals.append((min(start, end), end))


def device_line() -> str:
    """Return the devices in words: `CPU (2 cores)`, `2 x NVIDIA H100`."""
    import jax

    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    return f"CPU ({cores()} core{'s' if cores() != 1 else ''})"


def environment() -> dict[str, Any]:
    """Return versions, devices, host and git state for run.json."""
    import jax

    return {
        "versions": {
            "mmdiff": mmdiff.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
        "processes": jax.process_count(),
        "cores": cores(),
        "platform": platform.platform(),
        "git": git_state(),
    }


def git_state() -> dict[str, Any] | None:
    """Return the commit of the clone the package runs from, None elsewhere."""
    root = Path(mmdiff.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        return subprocess.check_output(
            command, text=True, timeout=5, stderr=subprocess.DEVNULL
        ).strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "clean": not changed}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory() -> dict[str, int | None]:
    """Return peak bytes of this process and of its first accelerator, where known."""
    import jax

    try:
        import resource
    except ImportError:  # Windows
        process = None
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    device = jax.local_devices()[0].memory_stats() or {}
    return {"process_bytes": process, "device_bytes": device.get("peak_bytes_in_use")}


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    """Return the version of a package without importing it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
