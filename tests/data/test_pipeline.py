"""Rounds over any executor, and workers that share the cores among them."""

import os
import subprocess
import sys
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from mmdiff.data import pipeline, shard, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import DataError, MemoryLimitError

RECIPE = Recipe(
    n=8,
    shard_size=2,
    optimized=Optimized(4, 0, 0, 0, 0, 0, 0, 2, 0),
    perturbed=Perturbed(everywhere=4, poisson=(), joint=(2,)),
)


class Here(futures.Executor):
    """Runs everything at once, in this thread."""

    def submit(self, function, /, *args):
        future = futures.Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _empty_shard(root, number):
    store.write_shard(
        root,
        number,
        packed=np.zeros((0, 120), np.int8),
        constants=np.zeros((0, 3)),
        volume=np.zeros(0),
        records=[],
        rejected={"disconnected": 2},
        timing=dict.fromkeys(shard.STAGES, 0.25),
    )


@pytest.fixture
def root(tmp_path):
    shard.create(RECIPE, tmp_path / "data.zarr")
    return tmp_path / "data.zarr"


def _run(root, monkeypatch, unit, **settings):
    monkeypatch.setattr(pipeline, "shard_unit", unit)
    found = []

    def on_shard(*progress):
        found.append(progress)

    pipeline.run_rounds(
        root, Here(), seconds_per_label=0.1, on_shard=on_shard, **settings
    )
    return found


def test_missing_shards_are_made_in_the_order_of_rounds(root, monkeypatch):
    _empty_shard(root, 1)
    seen = []

    def unit(root, number):
        own = RECIPE.plan()[number].round
        earlier = [i for i, s in enumerate(RECIPE.plan()) if s.round < own]
        assert not set(earlier) & set(store.missing(root))
        seen.append(number)
        _empty_shard(root, number)

    progress = _run(root, monkeypatch, unit, workers=2)
    assert seen == [0, 2, 3, 4, 5] and not store.missing(root)
    numbers, left = map(list, zip(*progress, strict=True))
    assert sorted(numbers) == seen
    assert left == sorted(left, reverse=True) and left[-1] == pytest.approx(0, abs=1e-9)
    assert _run(root, monkeypatch, unit) == []


def test_time_left_is_shared_by_the_workers(root, monkeypatch):
    # After round 0, whose shards come back in any order.
    one = _run(root, monkeypatch, _empty_shard)[2][1]
    for number in range(len(RECIPE.plan())):
        store.forget(root, number)
    two = _run(root, monkeypatch, _empty_shard, workers=2)[2][1]
    assert two == pytest.approx(one / 2)


def test_failure_of_a_shard_is_raised_and_what_is_made_stays(root, monkeypatch):
    def unit(root, number):
        if number == 1:
            raise DataError("shard 1 cannot be made")
        _empty_shard(root, number)

    with pytest.raises(DataError, match="shard 1 cannot be made"):
        _run(root, monkeypatch, unit)
    assert store.missing(root) == [1, 3, 4, 5]


def test_lost_worker_is_a_matter_of_memory(root, monkeypatch):
    def unit(root, number):
        raise BrokenProcessPool("gone")

    with pytest.raises(
        MemoryLimitError, match="after 0 shards.*`workers` or a smaller `shard_size`"
    ):
        _run(root, monkeypatch, unit)


def test_unit_takes_the_recipe_from_the_dataset(root, monkeypatch):
    seen = []
    monkeypatch.setattr(shard, "run_shard", lambda *args: seen.append(args) or True)
    assert pipeline.shard_unit(str(root), 3)
    assert seen == [(RECIPE, 3, root)]


CLAIM = """
import os, sys
{before}
from mmdiff.data import pipeline
core = pipeline.claim_core()
assert pipeline.claim_core() == core
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
    assert pipeline.claim_core() is None


@needs_affinity
@pytest.mark.parametrize("parent, code", [("os.getppid()", 0), ("1 - os.getppid()", 1)])
def test_worker_ends_with_its_parent(start, parent, code):
    worker = start(
        "import os, sys, time\n"
        "from mmdiff.data import pipeline\n"
        f"pipeline.start_worker({parent}, None, 0.0)\n"
        "assert len(os.sched_getaffinity(0)) == 1 and 'jax' not in sys.modules\n"
        f"time.sleep({600 * code})\n"
    )
    # One that does not notice sleeps on; starting may take long on a busy machine.
    worker.communicate(timeout=120)
    assert worker.returncode == code
