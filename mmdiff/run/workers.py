"""Worker processes, each on a core of its own, and units of work for them.

XLA counts the cores when it is loaded and splits its sums by that number, so results
differ in their last bits between one thread and two, and designs then part ways. And
its threads spin while they wait: two of them on one core are three times slower than
one. So a worker claims its core before JAX is imported, one and several of them compute
the same bytes, and this module imports JAX inside its functions only.
"""

import contextlib
import functools
import multiprocessing
import os
import pathlib
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mmdiff.errors import MemoryLimitError
from mmdiff.run import console, environment

_locks = []  # the open lock of this process's core
_units = {}  # the function for units of this process, by the run that it is of
_tell = None  # takes messages of units: a kind, and what goes with it


def claim_core() -> int | None:
    """Keep this process to one core that no other worker holds; returns which.

    Call it before JAX is imported. Cores are claimed by locked files in the directory
    for temporary files, so that processes of any launcher respect each other. Where a
    system cannot do this nothing happens: results are as good, but not the same bytes.
    """
    try:
        import fcntl

        allowed = sorted(os.sched_getaffinity(0))
    except (ImportError, AttributeError):
        return None
    if _locks or len(allowed) == 1:
        return allowed[0]
    chosen = allowed[os.getpid() % len(allowed)]  # should all be taken
    for core in allowed:
        path = pathlib.Path(tempfile.gettempdir()) / f"mmdiff-core-{core}.lock"
        try:
            file = path.open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _locks.append(file)
        chosen = core
        break
    os.sched_setaffinity(0, {chosen})
    return chosen


def start_worker(
    parent: int,
    cache: str | None,
    least: float,
    stopped: Any = None,
    messages: Any = None,
) -> None:
    """Prepare a process of `local_pool`, which ends with its parent.

    Args:
      parent: number of that process.
      cache: directory of compiled programs, None for none.
      least: seconds of compilation from which on a program is kept there.
      stopped: event on which the process ends at once, whatever it does.
      messages: queue for what units tell, None for nobody.
    """
    global _tell
    claim_core()
    _tell = messages and messages.put
    # An interrupt of the terminal goes to all processes; the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cache:
        import jax

        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)

    def watch():
        # A killed parent closes no pipe that its workers would not hold open, too.
        while os.getppid() == parent and not (stopped and stopped.is_set()):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def on_cpu() -> bool:
    """Whether work may go to several processes; an accelerator belongs to one."""
    import jax

    return jax.default_backend() == "cpu"


@contextlib.contextmanager
def local_pool(workers: int, messages: Any = None) -> Iterator[futures.Executor]:
    """Yield processes of this machine, each of them on a core of its own.

    They end with this process, even if that is killed, and share its compilation cache.
    With an accelerator this one does the work. `messages` is a queue, see
    `start_worker`.
    """
    import jax

    if not on_cpu():
        with futures.ThreadPoolExecutor(1) as pool:
            yield pool
        return
    cache = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    # JAX is multithreaded: a forked copy can hang, a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    pool = futures.ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=start_worker,
        initargs=(os.getpid(), cache, least, stopped, messages),
    )
    try:
        yield pool
    except BaseException:
        stopped.set()
        # Whoever fails does not wait. But a worker that is still starting looks for
        # these, and would die of their want with a traceback.
        threading.Thread(target=_end, args=(pool, stopped, messages)).start()
        raise
    pool.shutdown()


def _end(pool: futures.Executor, *kept: Any) -> None:
    """Wait for the end of a pool; what its workers were given is kept until then."""
    pool.shutdown(cancel_futures=True)


# run(units) -> place and result of every unit, in the order in which they are done
Run = Callable[[Sequence[tuple]], Iterator[tuple[int, Any]]]
Advance = Callable[[int, str], None]


def run_units(
    prepare: Callable[[], Callable[..., Any]],
    units: Sequence[tuple],
    *,
    workers: int = 0,
    on_advance: Advance = lambda steps, info: None,
) -> Iterator[tuple[int, Any]]:
    """Yield place and result of every unit, in the order in which they are done.

    The units are all that there are; see `opened`.
    """
    if units:
        count = min(workers or environment.cores(), len(units))
        with opened(prepare, workers=count, on_advance=on_advance) as run:
            yield from run(units)


@contextlib.contextmanager
def opened(
    prepare: Callable[[], Callable[..., Any]],
    *,
    workers: int = 0,
    on_advance: Advance = lambda steps, info: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[Run]:
    """Yield `run(units)`, which has units done by workers; any number of times.

    That begins with them when it is called. Each worker calls `prepare` once and what
    that returns with the arguments of a unit: `prepare` has to be importable by name,
    and results must not depend on the units done before. What units say is said here.
    With an accelerator they are done in turn, by this process.

    Args:
      prepare: loads models and makes programs; a `functools.partial` of plain values.
      workers: processes, 0 for one on every core.
      on_advance: receives what units tell by `advance`.
      on_wait: called several times a second while a result is waited for; what it
        raises ends the wait, and, outside of the block, the workers.

    Raises:
      MemoryLimitError: if a worker was ended from outside.
    """
    if not on_cpu():
        yield functools.partial(_in_turn, functools.cache(prepare), on_advance, on_wait)
        return
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    name, seconds = secrets.token_hex(8), []

    def run(units):
        waiting = {
            pool.submit(run_unit, name, prepare, given): place
            for place, given in enumerate(units)
        }
        return results(waiting, len(units))

    def results(waiting, total):
        while waiting:
            ready, _ = futures.wait(waiting, 0.2, futures.FIRST_COMPLETED)
            on_wait()
            # What a unit told came before its result.
            while not messages.empty():
                _answer(messages.get(), on_advance)
            for future in ready:
                result, compiling = _result(future, total - len(waiting))
                seconds.append(compiling)
                yield waiting.pop(future), result

    count = workers or environment.cores()
    with local_pool(count, messages) as pool:
        for _ in range(count):  # they begin before the first unit is there
            pool.submit(prepare_worker, name, prepare)
        yield run
    if sum(seconds) > count:
        each = f"{sum(seconds) / count:.1f} s"
        console.say(f"compile time of {count} workers: {each} each")


def _result(future, done):
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise MemoryLimitError(
            f"a worker process was ended from outside, with {done} units done, "
            "most often for want of memory. What is finished is kept: run the same "
            "command with fewer `workers`."
        ) from error


def advance(steps: int = 1, info: str = "") -> None:
    """Tell whoever waits for the unit at work how far it is; see `console.progress`."""
    if _tell is not None:
        _tell(("advance", steps, info))


def run_unit(
    run: str, prepare: Callable[[], Callable[..., Any]], arguments: tuple
) -> tuple[Any, float]:
    """Return result and seconds of compilation of a unit.

    What was prepared for the last run is kept; what is said goes to the parent.
    """
    with environment.CompileClock() as clock, console.saying_to(_say):
        prepare_worker(run, prepare)
        result = _units[run](*arguments)
    return result, clock.seconds


def prepare_worker(run: str, prepare: Callable[[], Callable[..., Any]]) -> None:
    """Have the function for units of a run in this process."""
    if run not in _units:
        _units.clear()
        with console.saying_to(_say):
            _units[run] = prepare()


def _say(text):
    if _tell is not None:
        _tell(("say", text))


def _answer(message, on_advance):
    kind, *content = message
    if kind == "say":
        console.say(*content)
    else:
        on_advance(*content)


def _in_turn(prepare, on_advance, on_wait, units):
    """Yield place and result of every unit, done by this process."""
    global _tell
    unit, before = prepare(), _tell
    for place, given in enumerate(units):
        on_wait()
        _tell = functools.partial(_answer, on_advance=on_advance)
        try:
            result = unit(*given)
        finally:
            _tell = before
        yield place, result
