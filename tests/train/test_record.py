"""What all training runs say and keep: the dataset, metrics, the end."""

import contextlib
import json

import numpy as np
import pytest
from data_helpers import BASE, RECORD, random_packed
from train_helpers import OPTIMIZER, params, settings

from mmdiff.data import store
from mmdiff.run import workdir
from mmdiff.train import record
from mmdiff.train.loop import Result
from mmdiff.train.state import create_state

STATE = create_state(params(), OPTIMIZER)


def test_shards_that_are_left_out_are_noted(tmp_path, capsys):
    root, n = tmp_path / "data.zarr", 4
    store.create(root, n=n, shards=2, shard_size=2, base=BASE, recipe={})
    for number in (0, 1):
        store.write_shard(
            root,
            number,
            packed=random_packed(n, 2),
            constants=np.ones((2, 3)),
            volume=np.ones(2),
            records=[RECORD | {"id": 2 * number + i, "split": 0} for i in range(2)],
            rejected={},
        )
    (root / "constants/c/0/0").write_bytes(b"damaged")
    data = record.read_dataset(root, skip_bad=True)
    assert [found["id"] for found in data.info["records"]] == [2, 3]
    said = capsys.readouterr().out
    assert "2 of 4 cells are unreadable; going on without them." in said


def test_metrics_are_kept_whole_and_said_in_short(tmp_path, capsys, monkeypatch):
    curves = []
    scalars = contextlib.nullcontext(curves.append)
    monkeypatch.setattr(record.tensorboard, "scalars", lambda folder: scalars)
    with record.metrics(tmp_path, curves=True) as on_metrics:
        on_metrics({"step": 3, "loss": 0.25, "grad_norm": 1.0, "seconds": 2.0})
        on_metrics({"step": 3, "validation": 0.5, "validation_t0.1": 0.1})
    said = capsys.readouterr().out.splitlines()
    assert said == ["step 3  loss 0.25  seconds 2", "step 3  validation 0.5"]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["validation_t0.1"] == 0.1
    assert len(curves) == 2
    assert record.last([json.loads(line) for line in lines], "loss")["loss"] == 0.25
    assert record.last([], "loss") == {}


def test_the_time_left_follows_from_the_pace(tmp_path, capsys, monkeypatch):
    clock = iter((100.0, 110.0, 130.0, 7400.0, 0.0))
    monkeypatch.setattr(record.time, "monotonic", lambda: next(clock))
    with record.metrics(tmp_path, steps=100) as on_metrics:
        for step in (10, 20, 40, 70, 100):
            on_metrics({"step": step, "loss": 0.5})
        on_metrics({"step": 100, "validation": 0.5})
    said = capsys.readouterr().out.splitlines()
    ends = [line.partition("loss 0.5")[2].strip() for line in said]
    # 10 s for 10 steps, 30 s for 30, two hours for 60: as much again for each left.
    assert ends == ["", "80 s left", "60 s left", "1 h 1 min left", "", ""]


def test_the_numbers_of_a_run_are_those_of_its_result():
    result = Result(STATE._replace(step=np.int32(5)), "time", 2.0, [])
    numbers = record.summary(settings(), result, cells=4)
    assert numbers["parameters"] == record.count(STATE.params)
    assert (numbers["steps"], numbers["planned"], numbers["cells"]) == (5, 6, 4)


@pytest.mark.parametrize(
    ("reason", "words"), [("steps", "all steps done"), ("time", "time limit")]
)
def test_the_end_is_said_with_the_way_on(reason, words, tmp_path, capsys):
    result = Result(STATE, reason, 2.5, [])
    why = record.say_end(tmp_path / "a.npz", settings(), result)
    assert why == ("" if reason == "steps" else "time limit at step 0 of 6")
    out = capsys.readouterr().out
    assert out.startswith(f"{words}: step 0 of 6, 2.5 samples/s; wrote")
    assert ("run the same command again" in out) == (reason != "steps")


def test_whether_a_step_was_validated_stands_in_the_metrics(tmp_path):
    known = record.validated(tmp_path)
    assert not known(3)
    workdir.append_metrics(tmp_path, {"step": 3, "loss": 0.1})
    assert not known(3)
    workdir.append_metrics(tmp_path, {"step": 3, "validation K": 0.1})
    assert known(3) and not known(6)
