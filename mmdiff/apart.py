"""Call a reader of files in a process of its own, with a limit on memory and on time.

Libraries in C may crash on a damaged file, and what they unpack is theirs to decide.
The process ends with the call; its death is an exception here. Options go there as
JSON, arrays come back as NumPy writes them: nothing is unpickled.
"""

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import types
from typing import Any, BinaryIO

import numpy as np

from mmdiff import memory
from mmdiff.errors import InputError, MemoryLimitError

SECONDS = 600.0  # after which a reader that gives no answer is stopped
LEAST_SECONDS = 60.0  # the same for a small file
_CODE = "from mmdiff import apart; apart.serve()"
_RAISED = {kind.__name__: kind for kind in (InputError, MemoryLimitError, MemoryError)}


def call(
    module: str, function: str, seconds: float = SECONDS, **options: Any
) -> tuple[list[np.ndarray], dict]:
    """Return arrays and plain values as `module.function(**options)` does.

    Args:
      module: has the function; the process imports it.
      function: returns a list of arrays and a dictionary.
      seconds: after which the process is ended.
      **options: of the function, of JSON's types.

    Raises:
      InputError, MemoryLimitError, MemoryError: what the function raised.
      ValueError: it raised anything else, or the process died or was ended.
    """
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    late = threading.Event()

    def end():
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps([module, function, options]).encode())
            process.stdin.close()
        answer = _receive(process.stdout)
        process.stdout.close()
        code = process.wait()
    finally:
        timer.cancel()
        process.kill()
    if late.is_set():
        raise ValueError(f"reading it took more than {seconds:g} s")
    if answer is None:
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ValueError(f"its reader died of it, {name}")
    arrays, values = answer
    if "raised" in values:
        raise _RAISED.get(values["raised"], ValueError)(values["text"])
    return arrays, values


def read(
    module: str, function: str, path: pathlib.Path, **options: Any
) -> tuple[list[np.ndarray], dict]:
    """Return what `call` does for a reader of a file, whose argument `path` that is.

    It has a minute and a second for each megabyte: a damaged file of a few bytes may
    keep a library busy for ever.
    """
    seconds = min(LEAST_SECONDS + path.stat().st_size / 1e6, SECONDS)
    return call(module, function, seconds, path=str(path), **options)


def _receive(stream: BinaryIO) -> tuple[list[np.ndarray], dict] | None:
    """Return what `serve` sends; None where that is not whole."""
    pipe = types.SimpleNamespace(read=stream.read)  # NumPy looks for places in files
    try:
        values = json.loads(stream.readline())
        count = values.pop("arrays")
        read = np.lib.format.read_array
        return [read(pipe, allow_pickle=False) for _ in range(count)], values
    except (ValueError, KeyError):
        return None


def serve() -> None:
    """Answer one call: this is the process."""
    # What libraries print is no part of the answer.
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        module, function, options = json.load(sys.stdin)
        memory.limit(memory.available())
        try:
            arrays, values = getattr(importlib.import_module(module), function)(
                **options
            )
        except Exception as error:
            arrays, values = [], {"raised": type(error).__name__, "text": str(error)}
        line = json.dumps({**values, "arrays": len(arrays)})
        answer.write(line.encode() + b"\n")
        pipe = types.SimpleNamespace(write=answer.write)
        for array in arrays:
            np.lib.format.write_array(pipe, array, allow_pickle=False)
