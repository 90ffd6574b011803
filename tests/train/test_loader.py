"""Batches: epochs are permutations, and (seed, step) is all there is to know."""

import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.train import loader

SIZES = {"examples": 23, "batch_size": 4}  # five batches and a rest of three


def _epoch(number, seed=0, **sizes):
    sizes = {**SIZES, **sizes}
    steps = sizes["examples"] // sizes["batch_size"]
    return [
        loader.batch_rows(seed, step, **sizes)
        for step in range(number * steps, (number + 1) * steps)
    ]


@pytest.mark.parametrize("number", [0, 1, 7])
def test_epoch_visits_no_example_twice_and_leaves_out_the_short_rest(number):
    batches = _epoch(number)
    assert [len(batch) for batch in batches] == [4] * 5
    seen = np.concatenate(batches)
    assert len(np.unique(seen)) == 20
    assert seen.min() >= 0 and seen.max() < 23


@pytest.mark.parametrize("size", [1, 6, 24])
def test_epoch_visits_every_example_where_there_is_no_rest(size):
    seen = np.concatenate(_epoch(2, examples=24, batch_size=size))
    np.testing.assert_array_equal(np.sort(seen), np.arange(24))


def test_no_example_is_left_out_for_good():
    seen = np.concatenate([np.concatenate(_epoch(number)) for number in range(8)])
    # Of an example, eight times left out: (3 / 23)^8 = 8e-8.
    assert len(np.unique(seen)) == 23


def test_epochs_and_seeds_differ():
    first, second, other = _epoch(0), _epoch(1), _epoch(0, seed=1)
    assert (np.concatenate(first) != np.concatenate(second)).any()
    assert (np.concatenate(first) != np.concatenate(other)).any()


def test_batch_depends_on_seed_and_step_alone():
    steps = [17, 3, 44, 0, 17, 9]
    forwards = {step: loader.batch_rows(5, step, **SIZES) for step in sorted(steps)}
    for step in steps:
        loader.batch_rows(6, step + 20, **SIZES)
        got = loader.batch_rows(5, step, **SIZES)
        np.testing.assert_array_equal(got, forwards[step])


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_parts_of_the_processes_make_up_the_batch(processes):
    for step in (0, 2, 13):
        whole = loader.batch_rows(1, step, examples=23, batch_size=6)
        parts = [
            loader.batch_rows(
                1,
                step,
                examples=23,
                batch_size=6,
                process=process,
                processes=processes,
            )
            for process in range(processes)
        ]
        assert {len(part) for part in parts} == {6 // processes}
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_batches_hold_the_chosen_rows_and_their_places(monkeypatch):
    arrays = {"a": np.arange(23), "b": 2.0 * np.arange(23)}
    batch_at = loader.make_batches(arrays, seed=3, batch_size=4)
    for step in (0, 7):
        batch, rows = batch_at(step), loader.batch_rows(3, step, **SIZES)
        np.testing.assert_array_equal(batch["a"], rows)
        np.testing.assert_array_equal(batch["b"], 2.0 * rows)
        np.testing.assert_array_equal(batch["index"], [0, 1, 2, 3])
    # Rows that are repeated, and the second of two processes.
    monkeypatch.setattr(loader.jax, "process_index", lambda: 1)
    monkeypatch.setattr(loader.jax, "process_count", lambda: 2)
    picked = np.repeat([5, 6], 2)
    batch_at = loader.make_batches(arrays, seed=3, batch_size=4, rows=picked)
    batch = batch_at(0)
    rest = loader.batch_rows(3, 0, examples=4, batch_size=4)[2:]
    np.testing.assert_array_equal(batch["a"], picked[rest])
    assert batch["index"].dtype == np.int32 and batch["index"].tolist() == [2, 3]


@pytest.mark.parametrize("size", [0, -4, 24])
def test_batch_that_does_not_fit(size):
    message = f"batch size {size} does not fit 23 training examples. Choose a smaller"
    with pytest.raises(InputError, match=message):
        loader.batch_rows(0, 0, examples=23, batch_size=size)
    assert len(loader.batch_rows(0, 0, examples=23, batch_size=23)) == 23


def test_batch_that_cannot_be_divided():
    message = "process 0 of 3 has no part of a batch of 4.*Choose a multiple"
    with pytest.raises(InputError, match=message):
        loader.batch_rows(0, 0, **SIZES, processes=3)
    with pytest.raises(InputError, match="process 2 of 2 has no part of a batch"):
        loader.batch_rows(0, 0, **SIZES, process=2, processes=2)
