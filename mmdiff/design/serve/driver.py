"""The thread that works on jobs, one after the other, with workers that stay warm.

Workers are ended with a job that is cancelled, which may be in the middle of a long
solution, and started again at once.
"""

import functools
import threading
import time

from mmdiff.design.serve import job as jobs
from mmdiff.design.serve import work
from mmdiff.design.serve.job import Job
from mmdiff.design.serve.runs import RUNS
from mmdiff.design.serve.state import State
from mmdiff.errors import DataError, InputError, MemoryLimitError
from mmdiff.run import runner, workers
from mmdiff.run import workdir as workdirs
from mmdiff.run.workers import Run


class Cancelled(KeyboardInterrupt):
    """The job at work, or the server, is to end."""


class _EndedError(Exception):
    """Workers are to be ended."""


def start(
    state: State, *, checkpoint: str = "", memory_bytes: int = 0, processes: int = 0
) -> threading.Thread:
    """Return the running thread; it ends after `state.close()`."""
    prepare = functools.partial(work.make_unit, checkpoint, memory_bytes)
    thread = threading.Thread(target=_drive, args=(state, prepare, processes))
    thread.start()
    return thread


def _drive(state: State, prepare, processes: int) -> None:
    current: list[Job] = []

    def check():
        if state.closed or (current and current[0].stop):
            raise Cancelled

    while not state.closed:
        try:
            with workers.opened(prepare, workers=processes, on_wait=check) as run:
                while True:
                    job = state.next_job()
                    if job is None:
                        raise _EndedError
                    current[:] = [job]
                    if not perform(state, job, run):
                        raise _EndedError
        except _EndedError:
            continue


def perform(state: State, job: Job, run: Run) -> bool:
    """Run a job in its folder; return whether the workers are as they were."""
    begun = time.monotonic()
    caught: list[BaseException] = []

    def working():
        try:
            RUNS[job.kind](state, job, run)
        except BaseException as error:
            caught.append(error)
            raise

    code = 0
    try:
        code = runner.execute(
            runner.Job(
                label=f"configs/{job.kind}.py",
                settings={"experiment": job.kind, "config": job.settings},
                workdir=job.folder,
                run=working,
            )
        )
    except InputError as error:  # of the workdir itself
        caught.append(error)
    except OSError as error:  # of its log
        caught.append(InputError(workdirs.unwritable(job.folder, error)))
    outcome, message = _outcome(caught[0] if caught else None)
    if code and not caught:  # before or after the work itself
        outcome, message = jobs.FAILED, _recorded(job, code)
    state.change(
        job,
        state=outcome,
        message=message,
        seconds=round(time.monotonic() - begun, 1),
    )
    return not caught or isinstance(caught[0], InputError | DataError)


def _recorded(job: Job, code: int) -> str:
    """Return why a run failed, as run.json says; the code where that is not whole."""
    _, run = workdirs.read_state(job.folder)
    reason = run.get("exit_reason", "running")
    return f"exit code {code}, see its log.txt" if reason == "running" else reason


def _outcome(error: BaseException | None) -> tuple[str, str]:
    """Return the state of a job that ended with an error, or none, and its message."""
    match error:
        case None:
            return jobs.FINISHED, ""
        case Cancelled():
            return jobs.CANCELLED, ""
        case InputError() | DataError() | MemoryLimitError():
            return jobs.FAILED, str(error)
    what = f"{type(error).__name__}: {runner.first_line(error)}"
    return jobs.FAILED, f"internal error, {what}. The traceback is in its log.txt."
