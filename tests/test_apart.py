"""Readers in a process of their own: answers, exceptions, deaths and limits."""

import os
import signal
import time

import numpy as np
import pytest

from mmdiff import apart
from mmdiff.errors import InputError, MemoryLimitError

CALLED = """
import os, sys, time
import numpy as np
from mmdiff.errors import InputError, MemoryLimitError


def twice(number):
    print("this is no answer")
    return [np.full((2, 3), number), np.arange(4.0)], {"number": 2 * number}


def fail(kind):
    kinds = {"input": InputError, "memory": MemoryLimitError, "other": OSError}
    raise kinds[kind](kind)


def die(number):
    os.kill(os.getpid(), number)


def leave():
    sys.exit(3)


def wait():
    time.sleep(60)


def take(size):
    return [np.ones(size, np.uint8)], {}
"""


@pytest.fixture(autouse=True)
def called(tmp_path, monkeypatch):
    (tmp_path / "called.py").write_text(CALLED)
    monkeypatch.syspath_prepend(tmp_path)


def test_arrays_and_values_come_back():
    (first, second), values = apart.call("called", "twice", number=7)
    np.testing.assert_array_equal(first, np.full((2, 3), 7))
    np.testing.assert_array_equal(second, np.arange(4.0))
    assert values == {"number": 14}


@pytest.mark.parametrize(
    "kind, raised",
    [("input", InputError), ("memory", MemoryLimitError), ("other", ValueError)],
)
def test_exceptions_come_back(kind, raised):
    with pytest.raises(raised, match=f"^{kind}$"):
        apart.call("called", "fail", kind=kind)


def test_deaths_are_exceptions():
    with pytest.raises(ValueError, match="died of it, SIGSEGV"):
        apart.call("called", "die", number=int(signal.SIGSEGV))
    with pytest.raises(ValueError, match="died of it, exit code 3"):
        apart.call("called", "leave")
    start = time.monotonic()
    with pytest.raises(ValueError, match="took more than 0.5 s"):
        apart.call("called", "wait", seconds=0.5)
    assert time.monotonic() - start < 30


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no limit there")
def test_memory_is_limited():
    with pytest.raises(MemoryError):
        apart.call("called", "take", size=2**45)


def test_a_reader_of_a_file_has_time_for_its_size(tmp_path, monkeypatch):
    found = []

    def call(*given, **options):
        found.append(given)
        return [], options

    monkeypatch.setattr(apart, "call", call)
    path = tmp_path / "a"
    for size in (360, 30_000_000, 10**12):
        with path.open("wb") as file:
            file.truncate(size)
        apart.read("module", "function", path)
    assert [round(seconds) for _, _, seconds in found] == [60, 90, 600]
