"""Jobs end as they should: finished, refused, cancelled, and the next one is done."""

import contextlib
import json
import threading
import time

import pytest
import serve_helpers

from mmdiff.design.serve import driver, runs, work
from mmdiff.design.serve import job as jobs
from mmdiff.design.serve.state import State
from mmdiff.errors import InputError, MemoryLimitError


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "jobs", most_waiting=9)


def submit(state, **given):
    settings = {**serve_helpers.known()["generate"].values, **given}
    return state.submit("generate", "a", settings, given)


def run_as(monkeypatch, function):
    monkeypatch.setitem(runs.RUNS, "generate", function)


def test_a_job_is_a_run_in_a_workdir(state, monkeypatch):
    run_as(monkeypatch, lambda s, job, run: serve_helpers.write_finished(job.folder))
    job = submit(state, seed=3)
    state.next_job()
    assert driver.perform(state, job, lambda units: iter(()))
    assert job.state == jobs.FINISHED and job.seconds is not None
    config = json.loads((job.folder / "config.json").read_text())
    assert config["experiment"] == "generate" and config["config"]["seed"] == 3
    run = json.loads((job.folder / "run.json").read_text())
    assert run["exit_reason"] == "finished"
    assert json.loads((job.folder / "job.json").read_text())["state"] == jobs.FINISHED


@pytest.mark.parametrize(
    ("error", "state_after", "message", "intact"),
    [
        (InputError("a=1 is wrong. Set `a`."), jobs.FAILED, "a=1 is wrong", True),
        (MemoryLimitError("too much."), jobs.FAILED, "too much.", False),
        (driver.Cancelled(), jobs.CANCELLED, "", False),
        (ZeroDivisionError("x"), jobs.FAILED, "internal error, ZeroDivision", False),
    ],
)
def test_a_job_that_fails_says_why(
    state, monkeypatch, error, state_after, message, intact
):
    def fail(state, job, run):
        raise error

    run_as(monkeypatch, fail)
    job = submit(state)
    state.next_job()
    assert driver.perform(state, job, lambda units: iter(())) == intact
    assert job.state == state_after and job.message.startswith(message)


@contextlib.contextmanager
def started(state, monkeypatch, opened):
    monkeypatch.setattr(driver.workers, "opened", opened)
    thread = driver.start(state)
    try:
        yield
    finally:
        state.close()
        thread.join(10)
    assert not thread.is_alive()


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_cancelling_ends_the_workers_and_the_next_job_has_new_ones(state, monkeypatch):
    pools = []

    @contextlib.contextmanager
    def opened(prepare, *, workers, on_wait):
        pools.append(threading.Event())

        def run(units):
            for place in range(len(units)):
                while units[place] == "long":
                    on_wait()
                    time.sleep(0.01)
                yield place, units[place]

        yield run

    run_as(
        monkeypatch,
        lambda state, job, run: list(run([job.settings["target"], "short"])),
    )
    with started(state, monkeypatch, opened):
        first, second = submit(state, target="long"), submit(state, target="short")
        wait_for(lambda: first.state == jobs.RUNNING)
        state.cancel(first)
        wait_for(lambda: second.state == jobs.FINISHED)
        third = submit(state, target="short")
        wait_for(lambda: third.state == jobs.FINISHED)
        assert first.state == jobs.CANCELLED and len(pools) == 2


def test_the_end_of_the_server_ends_the_job_at_work(state, monkeypatch):
    @contextlib.contextmanager
    def opened(prepare, *, workers, on_wait):
        def run(units):
            while True:
                on_wait()
                time.sleep(0.01)
            yield

        yield run

    run_as(monkeypatch, lambda state, job, run: list(run(["long"])))
    with started(state, monkeypatch, opened):
        job = submit(state)
        wait_for(lambda: job.state == jobs.RUNNING)
    assert job.state == jobs.CANCELLED


def test_memory_beyond_the_limit_is_refused_and_given_back():
    with pytest.raises(MemoryLimitError, match="more than 0.05 GB of memory"):
        with work.bounded_memory(50_000_000):
            bytearray(200_000_000)
    bytearray(200_000_000)
