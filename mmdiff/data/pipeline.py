"""All shards of a dataset, round after round, each worker on a core of its own.

XLA counts the cores when it is loaded and splits its sums by that number, so results
differ in their last bits between one thread and two, and designs then part ways. And
its threads spin while they wait: two of them on one core are three times slower than
one. So a worker claims its core before JAX is imported, one and several of them write
the same bytes, and this module imports JAX inside its functions only.

Other launchers map `shard_unit` over the shard numbers of a round; each of their
processes calls `claim_core` first.
"""

import contextlib
import multiprocessing
import os
import pathlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

from mmdiff.errors import MemoryLimitError

_locks = []  # the open lock of this process's core


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


def start_worker(parent: int, cache: str | None, least: float) -> None:
    """Prepare a process of `local_pool`, which ends with its parent.

    The cache is a directory of compiled programs, None for none; a program is kept
    there from `least` seconds of compilation on.
    """
    claim_core()
    if cache:
        import jax

        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)

    def watch():
        # A killed parent closes no pipe that its workers would not hold open, too.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def shard_unit(root: str | os.PathLike, number: int) -> bool:
    """Make one shard of a dataset, and return whether it was not finished yet.

    The recipe is read from the dataset, so that this is all a launcher passes on.
    """
    from mmdiff.data import shard

    root = pathlib.Path(root)
    return shard.run_shard(_recipe(root), number, root)


def probe(root: str | os.PathLike) -> float:
    """Return the seconds that this device takes to homogenize one cell of a dataset."""
    from mmdiff.data import shard

    return shard.seconds_per_label(_recipe(root))


def _recipe(root):
    from mmdiff.data import recipe, store

    return recipe.Recipe.from_dict(store.read_layout(pathlib.Path(root))["recipe"])


@contextlib.contextmanager
def local_pool(workers: int) -> Iterator[futures.Executor]:
    """Yield processes of this machine, each of them on a core of its own.

    They end with this process, even if that is killed, and share its compilation cache.
    An accelerator belongs to one process: there, this one does the work.
    """
    import jax

    from mmdiff.fem.device import on_cpu

    if not on_cpu():
        with futures.ThreadPoolExecutor(1) as pool:
            yield pool
        return
    cache = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    pool = futures.ProcessPoolExecutor(
        workers,
        # JAX is multithreaded: a forked copy can hang, a spawned one starts clean.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(os.getpid(), cache, least),
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def run_rounds(
    root: pathlib.Path,
    pool: futures.Executor,
    *,
    seconds_per_label: float,
    workers: int = 1,
    on_shard: Callable[[int, float], None] = lambda number, seconds_left: None,
) -> None:
    """Make all missing shards of a dataset, round by round, `workers` at a time.

    `seconds_per_label` is for the estimate of the rest until there is a better one;
    `on_shard` receives the number of every finished shard and the seconds left.
    """
    from mmdiff.data import shard, store

    recipe, todo = _recipe(root), store.missing(root)
    plan = recipe.plan()
    costs = {number: shard.labels_worth(recipe, plan[number]) for number in todo}
    left, spent, worth, done = sum(costs.values()), 0.0, 0.0, 0
    for numbers in recipe.rounds():
        waiting = {
            pool.submit(shard_unit, root, number): number
            for number in numbers
            if number in costs
        }
        try:
            for future in futures.as_completed(waiting):
                future.result()
                number = waiting[future]
                spent += sum(store.read_timing(root, number)[s] for s in shard.STAGES)
                worth, left = worth + costs[number], left - costs[number]
                done += 1
                # The first shard of a kind compiles: trust the probe for a while.
                pace = (spent + 600 * seconds_per_label) / (worth + 600)
                on_shard(number, left * pace / workers)
        except BrokenProcessPool as error:
            raise MemoryLimitError(
                f"a worker process was ended from outside after {done} shards, most "
                "often for want of memory. What is finished is kept: run the same "
                "command with fewer `workers` or a smaller `shard_size`."
            ) from error
