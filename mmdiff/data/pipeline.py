"""All shards of a dataset, round after round, on the workers of `mmdiff.run.workers`.

Other launchers map `shard_unit` over the shard numbers of a round; each of their
processes calls `workers.claim_core` first. JAX is imported inside functions only.
"""

import os
import pathlib
from collections.abc import Callable
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

from mmdiff.errors import MemoryLimitError


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
