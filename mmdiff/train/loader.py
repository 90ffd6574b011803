"""Batches of an in-memory dataset as a function of (seed, step), nothing else.

Every epoch is a permutation of the examples, of which a short rest is left out; the
step tells the epoch and the place in it. So a run that resumes needs its step alone,
and every process of a larger run finds its own slice without asking the others.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np

from mmdiff.errors import InputError
from mmdiff.typing import Int


def make_batches(
    arrays: Mapping[str, np.ndarray],
    *,
    seed: int,
    batch_size: int,
    rows: Int[np.ndarray, "M"] | None = None,
) -> Callable[[int], dict[str, np.ndarray]]:
    """Return `batch_at(step)`: this process's part of the batch of a step.

    It holds rows of the arrays, and `index`, their places in the whole batch. The batch
    size is that of all processes; the given rows, repeated or not, make up an epoch.
    """
    if rows is None:
        rows = np.arange(len(next(iter(arrays.values()))))
    sizes = {"examples": len(rows), "batch_size": batch_size}
    sizes |= {"process": jax.process_index(), "processes": jax.process_count()}
    own = batch_size // jax.process_count()
    index = np.arange(own, dtype=np.int32) + np.int32(jax.process_index() * own)

    def batch_at(step: int) -> dict[str, np.ndarray]:
        chosen = rows[batch_rows(seed, step, **sizes)]
        batch = {name: array[chosen] for name, array in arrays.items()}
        return {**batch, "index": index}

    batch_at(0)  # refuses a batch that does not fit
    return batch_at


def batch_rows(
    seed: int,
    step: int,
    *,
    examples: int,
    batch_size: int,
    process: int = 0,
    processes: int = 1,
) -> Int[np.ndarray, "b"]:
    """Return which examples make up one process's part of the batch of a step."""
    if not 0 < batch_size <= examples:
        raise InputError(
            f"batch size {batch_size} does not fit {examples} training examples. "
            "Choose a smaller one."
        )
    if batch_size % processes or not 0 <= process < processes:
        raise InputError(
            f"process {process} of {processes} has no part of a batch of {batch_size}: "
            "they count from 0, and must divide it. Choose a multiple."
        )
    epoch, position = divmod(step, examples // batch_size)
    own = batch_size // processes
    start = position * batch_size + process * own
    return _permutation(seed, epoch, examples)[start : start + own]


@functools.lru_cache(maxsize=2)
def _permutation(seed, epoch, examples):
    order = np.random.default_rng((seed, epoch)).permutation(examples)
    order.setflags(write=False)  # it is the cache's own
    return order
