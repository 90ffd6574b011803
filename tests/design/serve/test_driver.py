"""Jobs end as they should: finished, refused, cancelled, and the next one is done."""

import concurrent.futures
import contextlib
import errno
import json
import threading
import time

import pytest
import serve_helpers

from mmdiff import places
from mmdiff.design.serve import driver, runs, work
from mmdiff.design.serve import job as jobs
from mmdiff.design.serve.state import State
from mmdiff.errors import InputError, MemoryLimitError
from mmdiff.run import console, runner


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


def test_others_are_queued_and_cancelled_while_a_job_is_at_work(state, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def at_work(state, job, run):
        begun.set()
        assert go_on.wait(20)

    run_as(monkeypatch, at_work)
    first = submit(state)
    state.next_job()
    # The server is a run of its own, with the jobs in its workdir.
    with (
        places.confined_to(state.folder.parent),
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        done = pool.submit(driver.perform, state, first, lambda units: iter(()))
        try:
            assert begun.wait(20)
            second = submit(state)
            state.cancel(second)
        finally:
            go_on.set()
        assert done.result()
    assert first.state == jobs.FINISHED
    kept = json.loads((second.folder / "job.json").read_text())
    assert kept["state"] == jobs.CANCELLED


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("place", "name", "error", "message"),
    [
        (runner.manifest, "seal", ZeroDivisionError("x"), "ZeroDivisionError: x"),
        (runner, "write_json", FULL, "exit code 2, see its log.txt"),
    ],
    ids=["after its cells", "without a record"],
)
def test_a_run_that_fails_beside_its_work_is_not_finished(
    state, monkeypatch, place, name, error, message
):
    def fail(*args, **options):
        raise error

    run_as(monkeypatch, lambda s, job, run: serve_helpers.write_finished(job.folder))
    monkeypatch.setattr(place, name, fail)
    job = submit(state)
    state.next_job()
    assert driver.perform(state, job, lambda units: iter(()))
    assert (job.state, job.message) == (jobs.FAILED, message)


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


@pytest.mark.parametrize("log_too", [False, True])
def test_a_full_disk_is_told_and_the_next_job_is_done(
    state, tmp_path, monkeypatch, capsys, log_too
):
    @contextlib.contextmanager
    def opened(prepare, *, workers, on_wait):
        yield lambda units: iter(())

    def fail(*args):
        raise FULL

    run_as(monkeypatch, lambda state, job, run: None)
    both = submit(state), submit(state)
    monkeypatch.setattr(jobs, "save", fail)
    if log_too:
        monkeypatch.setattr(console, "log", fail)
    with console.logging_to(tmp_path / "log.txt"), started(state, monkeypatch, opened):
        wait_for(lambda: all(job.state in jobs.OVER for job in both))
    log = (tmp_path / "log.txt").read_text()
    said = capsys.readouterr().err if log_too else log
    state_after = jobs.FAILED if log_too else jobs.FINISHED
    for job in both:
        assert job.state == state_after
        assert job.message.startswith("cannot write to workdir" if log_too else "")
        for word in (jobs.RUNNING, state_after):
            text = f"job {job.id} is {word}, but job.json does not say so: [Errno 28]"
            assert text in said


def test_memory_beyond_the_limit_is_refused_and_given_back():
    with pytest.raises(MemoryLimitError, match="more than 0.05 GB of memory"):
        with work.bounded_memory(50_000_000):
            bytearray(200_000_000)
    bytearray(200_000_000)
