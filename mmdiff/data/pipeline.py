"""All shards of a dataset, round after round, by several processes of this machine.

Every worker keeps to one core (`cores`), so one and several of them write the same
bytes. Other launchers map `shard_unit` over the same shard numbers; each of their
processes calls `cores.claim_core` first.
"""

import contextlib
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import jax

from mmdiff.data import shard as generate
from mmdiff.data import store
from mmdiff.data.cores import start_worker
from mmdiff.data.recipe import Recipe
from mmdiff.errors import MemoryLimitError
from mmdiff.fem.device import on_cpu


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
      shard: the shard that has just been finished.
      done: finished shards of this run.
      seconds_left: what the rest will take.
    """

    shard: int
    done: int
    seconds_left: float


def shard_unit(root: str | os.PathLike, number: int) -> bool:
    """Make one shard of the dataset at `root`, unless it is finished.

    The recipe is read from the dataset, so that this is all a launcher passes on.

    Returns:
      whether anything was done.
    """
    root = pathlib.Path(root)
    recipe = Recipe.from_dict(store.read_layout(root)["recipe"])
    return generate.run_shard(recipe, number, root)


def probe(root: str | os.PathLike) -> float:
    """Return the seconds that this device takes to homogenize one cell of a dataset."""
    recipe = Recipe.from_dict(store.read_layout(pathlib.Path(root))["recipe"])
    return generate.seconds_per_label(recipe)


@contextlib.contextmanager
def local_pool(workers: int) -> Iterator[futures.Executor]:
    """Yield processes of this machine, each of them on a core of its own.

    They end with this process, even if that is killed, and share its compilation cache.
    An accelerator belongs to one process: there, this one does the work.
    """
    if not on_cpu():
        with futures.ThreadPoolExecutor(1) as pool:
            yield pool
        return
    cache = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    # JAX is multithreaded: a forked copy of it can hang, a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    pool = futures.ProcessPoolExecutor(
        workers,
        mp_context=context,
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
    recipe: Recipe,
    root: pathlib.Path,
    pool: futures.Executor,
    *,
    seconds_per_label: float,
    workers: int = 1,
    on_shard: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Make all missing shards, one round after the other.

    Args:
      recipe: the dataset, created already.
      root: its `data.zarr` directory.
      pool: runs the shards of a round side by side.
      seconds_per_label: for the estimate of what is left, until there is better.
      workers: how many shards the pool runs at a time.
      on_shard: told of every shard that has been finished.

    Raises:
      DataError: if a shard cannot be made.
      MemoryLimitError: if a worker was killed; what is finished stays.
    """
    plan, todo = recipe.plan(), store.missing(root)
    expected = [generate.labels_worth(recipe, plan[i]) for i in todo]
    left, spent, worth, done = sum(expected), 0.0, 0.0, 0
    costs = dict(zip(todo, expected, strict=True))
    for shards in recipe.rounds():
        waiting = {
            pool.submit(shard_unit, root, shard): shard
            for shard in shards
            if shard in costs
        }
        try:
            for future in futures.as_completed(waiting):
                future.result()
                shard = waiting[future]
                timing = store.read_timing(root, shard)
                stages = ("make", "clean", "label", "check")
                spent += sum(timing[stage] for stage in stages)
                worth, left, done = worth + costs[shard], left - costs[shard], done + 1
                # The first shard of a kind compiles: trust the probe for a while.
                pace = (spent + 600 * seconds_per_label) / (worth + 600)
                on_shard(Progress(shard, done, left * pace / workers))
        except BrokenProcessPool as error:
            raise MemoryLimitError(
                f"a worker process was ended from outside after {done} shards, most "
                "often for want of memory. What is finished is kept: run the same "
                "command with a smaller --config.workers or --config.shard_size."
            ) from error
