"""One core for each process: what makes workers fast, and their bytes the same.

XLA counts the cores when it is loaded and splits its sums by that number, so results
differ in their last bits between one thread and two, and designs then part ways. And
its threads spin while they wait: two of them on one core are three times slower than
one. So a worker claims its core before JAX is imported, and this module imports
nothing that would.
"""

import os
import pathlib
import tempfile
import threading
import time

_held = []  # the open lock of this process's core


def claim_core() -> int | None:
    """Keep this process to one core that no other worker holds; returns which.

    Call it before JAX is imported. Cores are claimed by locked files in the directory
    for temporary files, so that processes of any launcher respect each other. Where a
    system cannot do this nothing happens: results are as good, but not the same bytes.
    """
    try:
        import fcntl

        allowed = sorted(os.sched_getaffinity(0))
    except (ImportError, AttributeError):
        return None
    if _held or len(allowed) == 1:
        return allowed[0]
    chosen = allowed[os.getpid() % len(allowed)]  # should all be taken
    for core in allowed:
        path = pathlib.Path(tempfile.gettempdir()) / f"mmdiff-core-{core}.lock"
        try:
            file = path.open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _held.append(file)
        chosen = core
        break
    os.sched_setaffinity(0, {chosen})
    return chosen


def start_worker(parent: int, cache: str | None, least: float) -> None:
    """Prepare a process of `pipeline.local_pool`, before it computes anything.

    Args:
      parent: process to end with.
      cache: directory of compiled programs, None for none.
      least: seconds of compilation from which on a program is kept there.
    """
    claim_core()
    if cache:
        import jax

        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)

    def watch():
        # A killed parent closes no pipe that its workers would not hold open, too.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
