"""Dataset, training and evaluation through the command line, at the smallest size."""

import json

import numpy as np
import pytest

from mmdiff import main
from mmdiff.data import store
from mmdiff.models.weights import load_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    options = "n=8 shard_size=8 steps=6 radius=1.2 optimized_shards=2 test=0.3".split()
    options += ["perturbed_rounds=(1,2)", "amplitude=(0.1,0.4)", "length=(1.0,2.0)"]
    argv = ["mmdiff", "--config=configs/dataset.py", f"--workdir={folder / 'out'}"]
    assert main.main([*argv, *(f"--config.{option}" for option in options)]) == 0
    return folder / "out"


def test_dataset(dataset):
    octants, constants, volume, info = store.read_dataset(dataset)
    labels = (dataset / "labels.csv").read_text().splitlines()
    assert len(labels) == 1 + len(octants)
    assert len(octants) > 20
    assert {r["round"] for r in info["records"]} == {0, 1, 2}
    card = (dataset / "DATASET_CARD.md").read_text()
    assert f"{len(octants)} binary unit cells of 16^3 voxels" in card
    splits = json.loads((dataset / "splits.json").read_text())
    assert sum(map(len, splits.values())) == len(octants)
    np.testing.assert_array_equal(volume, octants.mean((1, 2, 3)))
    assert (constants[:, 0] > constants[:, 1]).all()


def test_training_and_what_it_writes(dataset, tmp_path):
    out = tmp_path / "out"
    options = "steps=4 batch_size=4 warmup=1 model.width=8 model.patch=2".split()
    options += ["model.embedding=8", f"data={dataset}", "checkpoint_every=2"]
    argv = ["mmdiff", "--config=configs/train.py", f"--workdir={out}"]
    assert main.main([*argv, *(f"--config.{option}" for option in options)]) == 0
    params, meta = load_weights(out / "ema.npz")
    assert meta["octant"] == 8 and meta["training"]["steps"] == 4
    assert meta["base"]["nu"] == 0.3 and meta["base"]["penal"] == 3.0
    octants, *_, info = store.read_dataset(dataset)
    assert len(meta["training"]["labels"]) == (info["split"] == 0).sum()
    assert params
    card = (out / "MODEL_CARD.md").read_text()
    assert "4 steps of" in card
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4


def test_evaluation_of_the_shipped_model(tmp_path):
    out = tmp_path / "out"
    options = "num_targets=2 num_samples=2 steps=8".split()
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={out}"]
    assert main.main([*argv, *(f"--config.{option}" for option in options)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["targets"]) == 2
    mean = metrics["mean"]
    assert mean["best_error"] <= mean["mean_error"]
    # A guess that ignores the target is off by more than 15 % of the range.
    assert mean["mean_error"] < 0.15
