"""The ablation study: three networks from one budget, measured alike, resumable."""

import importlib.util
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import store

pytestmark = pytest.mark.slow
PATH = Path(__file__).resolve().parents[2] / "docs/ablation_study.py"


@pytest.fixture
def study(monkeypatch):
    spec = importlib.util.spec_from_file_location("ablation_study", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = {"TARGETS": 1, "SAMPLES": 2, "HELD_OUT": 4, "NEWTON": (0,)}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    label, config, _ = module.main.load_config("configs/train.py:cpu")
    config.model.update(width=8, multipliers=(1,), attention=(), middle=1)
    monkeypatch.setattr(module.main, "load_config", lambda name: (label, config))
    with jax.numpy_rank_promotion("allow"):
        yield module


@pytest.fixture
def dataset(tmp_path):
    """Cells made of noise: what is measured here does not depend on them."""
    root, rng, count = tmp_path / "data/data.zarr", np.random.default_rng(0), 32
    shares = rng.uniform(0.2, 0.8, count)
    octants = [threshold_to_volume(rng.random((8, 8, 8)), v) for v in shares]
    octants = np.stack(octants)
    constants = octants.mean((1, 2, 3))[:, None] * np.array([1.0, 0.4, 0.3])
    records = [{"id": i, "split": int(i > 26)} for i in range(count)]
    base = {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}
    store.create(root, n=8, shards=1, shard_size=count, base=base, recipe={})
    store.write_shard(
        root, 0, octants=octants, constants=constants, records=records, rejected={}
    )
    store.write_selection(root, {"duplicates": [], "selected": [0]})
    return root


def test_three_networks_are_trained_and_measured(study, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    rows = study.study(out, 2, dataset)
    assert [row["variant"] for row in rows] == list(study.variants(8))
    errors = np.array([row["held out"] for row in rows])
    assert errors.shape == (3, 4) and (np.diff(errors, axis=1) > 0).all()
    # Six times less noise at most voxels: an easier question at the same time.
    assert (errors[2] < errors[0]).all()
    assert all(0 <= row["newton 0"]["valid"] <= 100 for row in rows)
    assert capsys.readouterr().out.count("| averaged noise |") == 1
    # What is there is not made again.
    path = out / "default/result.json"
    path.write_text(json.dumps(rows[0] | {"steps": 7}))
    assert study.study(out, 2, dataset)[0]["steps"] == 7


def test_a_stopped_study_measures_nothing(study, dataset, tmp_path, monkeypatch):
    train = study.denoising.train

    def stopped(*args, on_metrics, **options):
        def stop(metrics):
            if "loss" in metrics:
                os.kill(os.getpid(), signal.SIGTERM)

        return train(*args, on_metrics=stop, **options | {"log_every": 1})

    monkeypatch.setattr(study.denoising, "train", stopped)
    with pytest.raises(SystemExit, match="goes on"):
        study.study(tmp_path / "out", 5, dataset)
    assert not list((tmp_path / "out").rglob("result.json"))
