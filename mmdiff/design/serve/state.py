"""The state of the server: jobs, their queue, and who listens to what happens.

The one place that threads share, behind one lock. Jobs wait in a queue that has an end,
and are worked on one after the other by the thread that calls `next_job`. Listeners are
bounded queues of event loops; one that does not keep up is ended and has to ask again.
"""

import asyncio
import collections
import contextlib
import pathlib
import shutil
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mmdiff.design.serve import job as jobs
from mmdiff.design.serve.job import Job
from mmdiff.errors import InputError
from mmdiff.run import console

MOST_LISTENERS = 64
BACKLOG = 256  # events that wait for a listener
END = None  # event after the last one of a listener


class BusyError(InputError):
    """There is no room for another job or listener."""


class State:
    """Jobs by number, those that wait, and listeners."""

    def __init__(self, folder: pathlib.Path, *, most_waiting: int) -> None:
        """Take in the jobs that lie in the folder."""
        self.folder = folder
        self.closed = False
        self._changed = threading.Condition()
        self._waiting: collections.deque[Job] = collections.deque()
        self._most_waiting = most_waiting
        self._listeners: dict[asyncio.Queue, asyncio.AbstractEventLoop] = {}
        folder.mkdir(parents=True, exist_ok=True)
        found = (jobs.load(path) for path in sorted(folder.iterdir()) if path.is_dir())
        self._jobs = {job.id: job for job in found if job is not None}
        taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        self._last = max(taken, default=0)

    def list(self) -> list[dict[str, Any]]:
        """Return what a list shows of each job, the latest first."""
        with self._changed:
            return [self._jobs[number].line() for number in sorted(self._jobs)[::-1]]

    def find(self, number: int) -> Job | None:
        """Return a job by its number."""
        return self._jobs.get(number)

    def check_room(self) -> None:
        """Raise BusyError where no further job may wait."""
        if len(self._waiting) >= self._most_waiting:
            raise BusyError(
                f"{len(self._waiting)} jobs are waiting already. Cancel one, or wait "
                "until one is done."
            )

    def submit(
        self,
        kind: str,
        title: str,
        settings: Mapping[str, Any],
        given: Mapping[str, Any],
        upload: pathlib.Path | None = None,
    ) -> Job:
        """Put a job at the end of the queue; an upload moves to its folder."""
        with self._changed:
            self.check_room()
            self._last += 1
            number = self._last
            job = Job(
                number,
                kind,
                title,
                dict(settings),
                dict(given),
                self.folder / jobs.name_of(number),
                datetime.now().astimezone().isoformat(" ", "seconds"),
                source=f"input{upload.suffix}" if upload else "",
            )
            jobs.save(job)
            if upload:
                upload.replace(job.folder / job.source)
            self._jobs[number] = job
            self._waiting.append(job)
            self._changed.notify_all()
        self.tell("job", job.line())
        return job

    def next_job(self) -> Job | None:
        """Wait for a job and return it as running; None once the state is closed."""
        with self._changed:
            while not self._waiting and not self.closed:
                self._changed.wait()
            if self.closed:
                return None
            job = self._waiting.popleft()
        self.change(job, state=jobs.RUNNING)
        return job

    def change(self, job: Job, **values: Any) -> None:
        """Set attributes of a job, and tell; a new state is written to disk.

        Where it cannot be (a full disk), that is said and logged, and work goes on.
        """
        for name, value in values.items():
            setattr(job, name, value)
        if job.state in jobs.OVER:
            job.cells, job.samples, job.progress = [], [], {}
        if "state" in values:
            try:
                jobs.save(job)
            except (OSError, InputError) as error:
                text = f"job {job.id} is {job.state}, but {jobs.NAME} does not say so: "
                with contextlib.suppress(OSError):  # the log is on the same disk
                    console.error(f"{text}{error}")
        self.tell("job", job.line())

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, else as soon as its workers are."""
        with self._changed:
            job.stop = True
            waits = job in self._waiting
            if waits:
                self._waiting.remove(job)
        if waits:
            self.change(job, state=jobs.CANCELLED)

    def remove(self, job: Job) -> None:
        """Delete a job that is over, with its folder.

        Raises:
          BusyError: it waits or is at work.
        """
        with self._changed:
            if job.state not in jobs.OVER:
                raise BusyError(f"job {job.id} is {job.state}. Cancel it first.")
            self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)
        self.tell("removed", {"id": job.id})

    def close(self) -> None:
        """End the queue and all listeners."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            for queue, loop in self._listeners.items():
                _put(loop, queue, END)

    def listen(self) -> asyncio.Queue:
        """Return a queue of (kind, value) events for the running event loop."""
        with self._changed:
            if len(self._listeners) >= MOST_LISTENERS:
                raise BusyError(
                    f"{MOST_LISTENERS} pages listen already. Close some of them."
                )
            queue: asyncio.Queue = asyncio.Queue()
            self._listeners[queue] = asyncio.get_running_loop()
            return queue

    def leave(self, queue: asyncio.Queue) -> None:
        """Stop listening."""
        with self._changed:
            self._listeners.pop(queue, None)

    def tell(self, kind: str, value: Mapping[str, Any]) -> None:
        """Send an event to all listeners."""
        with self._changed:
            for queue, loop in list(self._listeners.items()):
                if queue.qsize() >= BACKLOG:
                    del self._listeners[queue]
                    _put(loop, queue, END)
                else:
                    _put(loop, queue, (kind, value))


def _put(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue, event: Any) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, event)
    except RuntimeError:  # the loop has ended
        pass
