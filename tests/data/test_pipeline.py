"""Rounds over any executor."""

from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from mmdiff.data import pipeline, shard, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import DataError, MemoryLimitError

RECIPE = Recipe(
    n=8,
    shard_size=2,
    optimized=Optimized(4, 0, 0, 0, 0, 0, 0, 2, 0),
    perturbed=Perturbed(everywhere=4, poisson=(), joint=(2,)),
)


class Here(futures.Executor):
    """Runs everything at once, in this thread."""

    def submit(self, function, /, *args):
        future = futures.Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _empty_shard(root, number):
    store.write_shard(
        root,
        number,
        packed=np.zeros((0, 120), np.int8),
        constants=np.zeros((0, 3)),
        volume=np.zeros(0),
        records=[],
        rejected={"disconnected": 2},
        timing=dict.fromkeys(shard.STAGES, 0.25),
    )


@pytest.fixture
def root(tmp_path):
    shard.create(RECIPE, tmp_path / "data.zarr")
    return tmp_path / "data.zarr"


def _run(root, monkeypatch, unit, **settings):
    monkeypatch.setattr(pipeline, "shard_unit", unit)
    found = []

    def on_shard(*progress):
        found.append(progress)

    pipeline.run_rounds(
        root, Here(), seconds_per_label=0.1, on_shard=on_shard, **settings
    )
    return found


def test_missing_shards_are_made_in_the_order_of_rounds(root, monkeypatch):
    _empty_shard(root, 1)
    seen = []

    def unit(root, number):
        own = RECIPE.plan()[number].round
        earlier = [i for i, s in enumerate(RECIPE.plan()) if s.round < own]
        assert not set(earlier) & set(store.missing(root))
        seen.append(number)
        _empty_shard(root, number)

    progress = _run(root, monkeypatch, unit, workers=2)
    assert seen == [0, 2, 3, 4, 5] and not store.missing(root)
    numbers, left = map(list, zip(*progress, strict=True))
    assert sorted(numbers) == seen
    assert left == sorted(left, reverse=True) and left[-1] == pytest.approx(0, abs=1e-9)
    assert _run(root, monkeypatch, unit) == []


def test_time_left_is_shared_by_the_workers(root, monkeypatch):
    # After round 0, whose shards come back in any order.
    one = _run(root, monkeypatch, _empty_shard)[2][1]
    for number in range(len(RECIPE.plan())):
        store.forget(root, number)
    two = _run(root, monkeypatch, _empty_shard, workers=2)[2][1]
    assert two == pytest.approx(one / 2)


def test_failure_of_a_shard_is_raised_and_what_is_made_stays(root, monkeypatch):
    def unit(root, number):
        if number == 1:
            raise DataError("shard 1 cannot be made")
        _empty_shard(root, number)

    with pytest.raises(DataError, match="shard 1 cannot be made"):
        _run(root, monkeypatch, unit)
    assert store.missing(root) == [1, 3, 4, 5]


def test_lost_worker_is_a_matter_of_memory(root, monkeypatch):
    def unit(root, number):
        raise BrokenProcessPool("gone")

    with pytest.raises(
        MemoryLimitError, match="after 0 shards.*`workers` or a smaller `shard_size`"
    ):
        _run(root, monkeypatch, unit)


def test_unit_takes_the_recipe_from_the_dataset(root, monkeypatch):
    seen = []
    monkeypatch.setattr(shard, "run_shard", lambda *args: seen.append(args) or True)
    assert pipeline.shard_unit(str(root), 3)
    assert seen == [(RECIPE, 3, root)]
