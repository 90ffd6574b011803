"""Worker processes that share the cores among them, and units of work for them."""

import contextlib
import functools
import os
import subprocess
import sys
import time

import pytest
from worker_helpers import prepare

from mmdiff.errors import InputError, MemoryLimitError
from mmdiff.run import console, workers

CLAIM = """
import os, sys
{before}
from mmdiff.run import workers
core = workers.claim_core()
assert workers.claim_core() == core
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
    assert workers.claim_core() is None


@needs_affinity
@pytest.mark.parametrize("parent, code", [("os.getppid()", 0), ("1 - os.getppid()", 1)])
def test_worker_ends_with_its_parent(start, parent, code):
    worker = start(
        "import os, sys, time\n"
        "from mmdiff.run import workers\n"
        f"workers.start_worker({parent}, None, 0.0)\n"
        "assert len(os.sched_getaffinity(0)) == 1 and 'jax' not in sys.modules\n"
        f"time.sleep({600 * code})\n"
    )
    # One that does not notice sleeps on; starting may take long on a busy machine.
    worker.communicate(timeout=120)
    assert worker.returncode == code


def _units(units, count, factor=3):
    run = workers.run_units(functools.partial(prepare, factor), units, workers=count)
    return dict(run)


@pytest.mark.parametrize("count", [1, 2])
def test_every_worker_prepares_once_and_computes_on_one_core(count):
    found = _units([(i,) for i in range(5)], count)
    assert [found[i][0] for i in range(5)] == [0, 3, 6, 9, 12]
    processes = {process: prepared for _, process, prepared, _ in found.values()}
    assert len(processes) == count and os.getpid() not in processes
    assert {(p, prepared) for _, p, prepared, _ in found.values()} == {
        *processes.items()
    }
    assert {cores for *_, cores in found.values()} == {1}


def test_what_units_say_is_said_and_logged_here(tmp_path, capsys):
    with console.logging_to(tmp_path / "log.txt"):
        found = _units([(1, "say"), (2,)], 1)
    assert found[0][0] == 3 and found[1][0] == 6
    assert capsys.readouterr().out == "note: this is 1\n"
    log = (tmp_path / "log.txt").read_text()
    assert "note: this is 1" in log and "compile time" not in log


def test_an_error_of_a_unit_is_raised_with_its_message():
    with pytest.raises(InputError, match="number=4 cannot be. Take another."):
        _units([(1,), (4, "fail")], 1)


def test_a_lost_worker_is_a_matter_of_memory():
    with pytest.raises(MemoryLimitError, match="with 1 units done.*fewer `workers`"):
        _units([(1,), (2, "die")], 1)


def test_workers_stop_at_once_with_whoever_asks_for_results():
    found, start = {}, time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run = workers.run_units(
            functools.partial(prepare, 1), [(1,), (2, "sleep")], workers=1
        )
        with contextlib.closing(run):
            for place, result in run:
                found[place] = result
                raise KeyboardInterrupt
    (process,) = (result[1] for result in found.values())
    while time.monotonic() < start + 60:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker sleeps on")


def test_whoever_waits_for_a_result_can_end_the_wait_and_the_workers():
    calls = []

    def give_up():
        calls.append(time.monotonic())
        if len(calls) > 3:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        prepared = functools.partial(prepare, 1)
        with workers.opened(prepared, workers=1, on_wait=give_up) as run:
            list(run([(1, "sleep")]))  # ten minutes
    assert time.monotonic() - start < 60


def test_an_accelerator_asks_before_each_unit_whether_to_go_on(monkeypatch):
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    asked, prepared = iter([None, KeyboardInterrupt]), functools.partial(prepare, 2)

    def give_up():
        if error := next(asked):
            raise error

    with workers.opened(prepared, on_wait=give_up) as run:
        results = run([(1,), (2,)])
        assert next(results)[1][0] == 2
        with pytest.raises(KeyboardInterrupt):
            next(results)


def test_no_units_need_no_workers(monkeypatch):
    monkeypatch.setattr(workers, "local_pool", lambda count: pytest.fail("a pool"))
    assert _units([], 2) == {}


def test_what_was_prepared_is_kept_for_one_run():
    first, again, other = (
        workers.run_unit(name, functools.partial(prepare, 2), (1,))[0]
        for name in ("run", "run", "other run")
    )
    assert first == again and first[2] < other[2]


def test_an_accelerator_is_left_to_this_process(monkeypatch, capsys):
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    run = workers.run_units(
        functools.partial(prepare, 2), [(1, "say"), (3, "fail")], workers=2
    )
    place, (result, process, *_) = next(run)
    assert (place, result, process) == (0, 2, os.getpid())
    # In turn: the second one has not been looked at.
    assert capsys.readouterr().out == "note: this is 1\n"
    with pytest.raises(InputError, match="number=3 cannot be"):
        next(run)


def test_open_workers_take_units_again():
    with workers.opened(functools.partial(prepare, 2), workers=1) as run:
        first, second = (dict(run([(i,), (i + 1,)])) for i in (1, 5))
    assert [first[i][0] for i in (0, 1)] == [2, 4]
    assert [second[i][0] for i in (0, 1)] == [10, 12]
    # By the same process, prepared once.
    assert first[0][1:] == second[1][1:]


def test_workers_that_are_still_starting_end_without_a_word():
    """Whoever fails at once drops what its workers are about to look for."""
    code = (
        "import functools, gc\n"
        "from worker_helpers import prepare\n"
        "from mmdiff.run import workers\n"
        "try:\n"
        "    with workers.opened(functools.partial(prepare, 2), workers=1):\n"
        "        raise ValueError('refused')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "gc.collect()\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
