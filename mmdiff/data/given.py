"""Candidates from an earlier dataset: a new one goes on from its cells.

They come in the order of its property-uniform subset, so that few of them cover as much
of property space as can be.
"""

import functools

import numpy as np

from mmdiff.data import dataset, select, space
from mmdiff.data.recipe import GIVEN, Recipe, Shard
from mmdiff.errors import InputError
from mmdiff.typing import Float

FIRST_FAMILY = -1000  # from which families of the earlier dataset are numbered on


def candidates(
    recipe: Recipe, number: int, shard: Shard
) -> tuple[list[Float[np.ndarray, "n n n"]], list[dict]]:
    """Return the candidates of a shard of given cells, and their records."""
    data, order = _ordered(recipe.given.path, recipe.seed)
    first = sum(s.count for s in recipe.plan()[:number] if s.kind == GIVEN)
    rows = order[first : first + shard.count]
    records = []
    for row in rows:
        earlier = data.info["records"][row]
        family = FIRST_FAMILY - abs(earlier["family"])
        records.append({"given": earlier["id"], "family": family})
    return list(data.fields(rows)), records


def check(recipe: Recipe) -> None:
    """Raise InputError unless the earlier dataset is one, and has the cells asked."""
    data, order = _ordered(recipe.given.path, recipe.seed)
    if data.n != recipe.n:
        raise InputError(
            f"given.path: the cells of that dataset have {data.n} samples along the "
            f"octant, this one has n={recipe.n}. Give another one, or `given.count=0`."
        )
    if len(order) < recipe.given.count:
        raise InputError(
            f"given.count={recipe.given.count}: that dataset has {len(order)} cells. "
            f"Pass `given.count={len(order)}`."
        )


@functools.lru_cache(maxsize=2)
def _ordered(path: str, seed: int):
    """Return a dataset and its rows, the bins of property space in turn."""
    if path and not dataset.is_dataset(path):
        raise InputError(
            f"given.path={path} is no dataset. Give the workdir of configs/dataset.py, "
            "or leave `given.path` empty for the shipped cells."
        )
    data = dataset.load_dataset(path)
    index = space.bin_index(data.constants, data.volume)
    return data, select.uniform_order(np.random.default_rng(seed), index)
