"""Jobs wait in turn, are cancelled and removed, and are there after a restart."""

import asyncio
import json
import threading

import pytest

from mmdiff.design.serve import job as jobs
from mmdiff.design.serve.state import BACKLOG, MOST_LISTENERS, BusyError, State


def make(folder, most_waiting=2):
    return State(folder / "jobs", most_waiting=most_waiting)


def submit(state, title="a"):
    return state.submit("generate", title, {"seed": 0}, {})


def test_jobs_are_worked_on_in_turn_and_the_queue_has_an_end(tmp_path):
    state = make(tmp_path)
    first, second = submit(state), submit(state, "b")
    with pytest.raises(BusyError, match="2 jobs are waiting already. Cancel one"):
        submit(state)
    assert state.next_job() is first and first.state == jobs.RUNNING
    third = submit(state)
    assert [job["id"] for job in state.list()] == [3, 2, 1]
    assert state.next_job() is second and state.next_job() is third


def test_a_job_that_waits_is_cancelled_at_once_and_one_at_work_is_told(tmp_path):
    state = make(tmp_path)
    first, second = submit(state), submit(state)
    state.next_job()
    state.cancel(first)
    state.cancel(second)
    assert first.state == jobs.RUNNING and first.stop
    assert second.state == jobs.CANCELLED
    with pytest.raises(BusyError, match="job 1 is running. Cancel it first"):
        state.remove(first)


def test_the_history_is_there_after_a_restart(tmp_path):
    state = make(tmp_path, most_waiting=5)
    done, at_work, waits, gone = (submit(state, name) for name in "abcd")
    state.change(done, state=jobs.FINISHED, seconds=2.0)
    state.change(at_work, state=jobs.RUNNING)
    state.cancel(gone)
    state.remove(gone)
    (tmp_path / "jobs" / "0007").mkdir()
    (tmp_path / "jobs" / "0007" / "job.json").write_text('{"id": 7')
    (tmp_path / "jobs" / "0009").mkdir()
    moved = json.loads((done.folder / "job.json").read_text())
    (tmp_path / "jobs" / "0009" / "job.json").write_text(json.dumps(moved))
    again = make(tmp_path)
    assert [(line["title"], line["state"]) for line in again.list()] == [
        ("c", jobs.CANCELLED),
        ("b", jobs.CANCELLED),
        ("a", jobs.FINISHED),
    ]
    assert again.find(2).message == "The server was stopped."
    assert submit(again).id == 10  # no folder is used twice
    assert not gone.folder.exists()


def test_an_upload_moves_to_the_folder_of_its_job(tmp_path):
    state = make(tmp_path)
    upload = tmp_path / "abc.stl"
    upload.write_bytes(b"solid")
    job = state.submit("homogenize", "../x.stl", {}, {}, upload)
    assert job.source == "input.stl" and not upload.exists()
    assert (tmp_path / "jobs/0001/input.stl").read_bytes() == b"solid"


def test_closing_ends_whoever_waits_for_a_job(tmp_path):
    state, found = make(tmp_path), []
    thread = threading.Thread(target=lambda: found.append(state.next_job()))
    thread.start()
    state.close()
    thread.join(5)
    assert found == [None]


def test_listeners_hear_of_changes_until_they_are_too_slow(tmp_path):
    state = make(tmp_path, most_waiting=10)

    async def listen():
        queue = state.listen()
        job = submit(state)
        kind, line = await queue.get()
        assert (kind, line["state"]) == ("job", jobs.QUEUED)
        for _ in range(BACKLOG + 5):
            state.change(job, progress={"share": 0.5})
            await asyncio.sleep(0)
        events = [queue.get_nowait() for _ in range(queue.qsize())]
        assert len(events) <= BACKLOG + 2 and events[-1] is None
        others = [state.listen() for _ in range(MOST_LISTENERS)]
        with pytest.raises(BusyError, match="pages listen already"):
            state.listen()
        for one in others:
            state.leave(one)
        last = state.listen()
        state.close()
        assert await last.get() is None

    asyncio.run(listen())
