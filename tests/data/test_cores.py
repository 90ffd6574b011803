"""Workers, started as processes of their own, share the cores among them."""

import os
import subprocess
import sys

import pytest

from mmdiff.data import cores

CLAIM = """
import os, sys
{before}
from mmdiff.data import cores
core = cores.claim_core()
assert cores.claim_core() == core
print(core, *sorted(os.sched_getaffinity(0)), "jax" in sys.modules, flush=True)
sys.stdin.read()
"""
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="no affinity on this system"
)
needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores",
)


@pytest.fixture
def start(tmp_path):
    """Start a worker that holds its core until its input is closed."""
    started = []

    def run(code):
        worker = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(worker)
        return worker

    yield run
    for worker in started:
        worker.kill()
        worker.communicate()


def _claim(start, count, allowed):
    """Start workers at once; return them, and the core that each of them has."""
    before = f"os.sched_setaffinity(0, {set(allowed)})"
    workers = [start(CLAIM.format(before=before)) for _ in range(count)]
    found = []
    for worker in workers:
        core, *affinity, jax = worker.stdout.readline().split()
        assert affinity == [core] and jax == "False"
        found.append(int(core))
    return workers, found


def _two():
    return sorted(os.sched_getaffinity(0))[:2]


@needs_two_cores
def test_workers_get_cores_of_their_own(start):
    _, found = _claim(start, 2, _two())
    assert sorted(found) == _two()


@needs_two_cores
def test_one_worker_more_than_cores_keeps_to_one_of_them(start):
    _, found = _claim(start, 2, _two())
    _, third = _claim(start, 1, _two())
    assert sorted(found) == _two() and third[0] in _two()


@needs_two_cores
@pytest.mark.parametrize("end", ["close", "kill"])
def test_core_of_a_worker_that_ended_is_free(start, end):
    workers, found = _claim(start, 2, _two())
    if end == "kill":
        workers[1].kill()
    workers[1].communicate()
    assert _claim(start, 1, _two())[1] == [found[1]]


@needs_affinity
def test_only_core_needs_no_lock(start, tmp_path):
    _, found = _claim(start, 2, _two()[:1])
    assert found == _two()[:1] * 2
    assert list(tmp_path.iterdir()) == []


@needs_two_cores
def test_locks_that_cannot_be_opened_leave_one_core(start, tmp_path):
    for core in _two():
        (tmp_path / f"mmdiff-core-{core}.lock").mkdir()
    _, found = _claim(start, 1, _two())
    assert found[0] in _two()


def test_systems_without_affinity_are_left_as_they_are(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.claim_core() is None


@needs_affinity
@pytest.mark.parametrize("parent, code", [("os.getppid()", 0), ("1 - os.getppid()", 1)])
def test_worker_ends_with_its_parent(start, parent, code):
    worker = start(
        "import os, sys, time\n"
        "from mmdiff.data import cores\n"
        f"cores.start_worker({parent}, None, 0.0)\n"
        "assert len(os.sched_getaffinity(0)) == 1 and 'jax' not in sys.modules\n"
        f"time.sleep({600 * code})\n"
    )
    # One that does not notice sleeps on; starting may take long on a busy machine.
    worker.communicate(timeout=120)
    assert worker.returncode == code
