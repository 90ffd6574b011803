"""Rounds over any executor: their order, their progress, and what goes wrong."""

from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from mmdiff.data import pipeline, store
from mmdiff.data import shard as generate
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import DataError, MemoryLimitError

RECIPE = Recipe(
    n=8,
    shard_size=2,
    optimized=Optimized(4, 0, 0, 0, 0, 2),
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


def _empty_shard(root, shard):
    store.write_shard(
        root,
        shard,
        octants=np.zeros((0, 8, 8, 8), np.uint8),
        constants=np.zeros((0, 3)),
        records=[],
        rejected={"disconnected": 2},
        timing=dict.fromkeys(("make", "clean", "label", "check"), 0.25),
    )


@pytest.fixture
def root(tmp_path):
    generate.create(RECIPE, tmp_path / "data.zarr")
    return tmp_path / "data.zarr"


def _run(root, monkeypatch, unit, **settings):
    monkeypatch.setattr(pipeline, "shard_unit", unit)
    found = []
    pipeline.run_rounds(
        RECIPE, root, Here(), seconds_per_label=0.1, on_shard=found.append, **settings
    )
    return found


def test_missing_shards_are_made_in_the_order_of_rounds(root, monkeypatch):
    _empty_shard(root, 1)
    seen = []

    def unit(root, shard):
        number = RECIPE.plan()[shard].round
        earlier = [i for i, s in enumerate(RECIPE.plan()) if s.round < number]
        assert not set(earlier) & set(store.missing(root))
        seen.append(shard)
        _empty_shard(root, shard)

    progress = _run(root, monkeypatch, unit, workers=2)
    assert seen == [0, 2, 3, 4, 5] and not store.missing(root)
    assert sorted(p.shard for p in progress) == seen
    assert [p.done for p in progress] == [1, 2, 3, 4, 5]
    left = [p.seconds_left for p in progress]
    assert left == sorted(left, reverse=True) and left[-1] == pytest.approx(0, abs=1e-9)
    assert _run(root, monkeypatch, unit) == []


def test_time_left_is_shared_by_the_workers(root, monkeypatch):
    # After round 0, whose shards come back in any order.
    one = _run(root, monkeypatch, _empty_shard)[2].seconds_left
    for shard in range(len(RECIPE.plan())):
        store.forget(root, shard)
    two = _run(root, monkeypatch, _empty_shard, workers=2)[2].seconds_left
    assert two == pytest.approx(one / 2)


def test_failure_of_a_shard_is_raised_and_what_is_made_stays(root, monkeypatch):
    def unit(root, shard):
        if shard == 1:
            raise DataError("shard 1 cannot be made")
        _empty_shard(root, shard)

    with pytest.raises(DataError, match="shard 1 cannot be made"):
        _run(root, monkeypatch, unit)
    assert store.missing(root) == [1, 3, 4, 5]


def test_lost_worker_is_a_matter_of_memory(root, monkeypatch):
    def unit(root, shard):
        raise BrokenProcessPool("gone")

    with pytest.raises(MemoryLimitError, match="after 0 shards.*--config.workers"):
        _run(root, monkeypatch, unit)


def test_unit_takes_the_recipe_from_the_dataset(root, monkeypatch):
    seen = []
    monkeypatch.setattr(generate, "run_shard", lambda *args: seen.append(args) or True)
    assert pipeline.shard_unit(str(root), 3)
    assert seen == [(RECIPE, 3, root)]
