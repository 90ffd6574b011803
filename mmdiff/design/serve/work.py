"""What the worker processes of the page do: tasks of cells, and files to homogenize.

They load JAX and the shipped model when they start, and keep what they compile for the
next job.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from mmdiff.design.generate import apart, pipeline
from mmdiff.design.homogenize import batch
from mmdiff.errors import MemoryLimitError

KEPT = 2  # settings whose programs a worker keeps


def make_unit(checkpoint: str, memory_bytes: int) -> Callable[..., Any]:
    """Return `unit(kind, *arguments)`, what a worker does.

    The kinds are "cells", with checkpoint, settings and a task of `apart.make_unit`,
    and "file", with the arguments of `batch.homogenize`; the memory that a file may
    take, 0 for any, is beyond what the worker has.
    """
    cells = functools.lru_cache(maxsize=KEPT)(apart.make_unit)
    cells(checkpoint, pipeline.Settings())("ready")

    def of_file(source: pathlib.Path, folder: pathlib.Path, settings: batch.Settings):
        with bounded_memory(memory_bytes):
            found, _ = batch.homogenize(source, folder, settings)
        return len(found)

    def unit(kind, *arguments):
        if kind == "file":
            return of_file(*arguments)
        checkpoint, settings, *task = arguments
        return cells(checkpoint, settings)(*task)

    return unit


@contextlib.contextmanager
def bounded_memory(further: int) -> Iterator[None]:
    """Let this process allocate so many bytes more inside the block; 0 for any.

    Where the system has no such limit nothing happens.

    Raises:
      MemoryLimitError: if what the block does needs more.
    """
    before = _data_bytes() if further else None
    if before is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = before + further
    if soft != resource.RLIM_INFINITY:
        most = min(most, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    except MemoryError as error:
        raise MemoryLimitError(
            f"the file needs more than {further / 1e9:g} GB of memory. Send fewer "
            "voxels, or start the server with a larger `memory_gb`."
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """Return the bytes of private memory that the process has asked for."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return 1024 * int(found[0]) if found else None
