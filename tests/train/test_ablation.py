"""The ablation study: three networks from one budget, measured alike, resumable."""

import dataclasses
import importlib.util
import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import train_helpers as helpers
from data_helpers import write_noise

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
    loaded = module.main.load_config("configs/train.py:cpu")
    loaded.config.model.update(width=8, multipliers=(1,), attention=(), middle=1)
    monkeypatch.setattr(module.main, "load_config", lambda name: loaded)
    with jax.numpy_rank_promotion("allow"):
        yield module


@pytest.fixture
def dataset(tmp_path):
    """Cells made of noise."""
    splits = 27 * [0] + 5 * [1]
    return write_noise(tmp_path / "data/data.zarr", splits, selected=[0])


@pytest.mark.long
def test_three_networks_are_trained_and_measured(study, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    rows = study.study(out, steps=2, root=dataset)
    assert [row["variant"] for row in rows] == list(study.variants(8))
    errors = np.array([row["held out"] for row in rows])
    assert errors.shape == (3, 5) and (np.diff(errors[:, :3], axis=1) > 0).all()
    # Six times less noise at most voxels: an easier question at the same time, unless
    # hardly anything is left of the field.
    assert (errors[2, :3] < errors[0, :3]).all()
    assert all(0 <= row["newton 0"]["valid"] <= 100 for row in rows)
    assert capsys.readouterr().out.count("| averaged noise |") == 1
    # What is there is not made again.
    path = out / "default/result.json"
    path.write_text(json.dumps(rows[0] | {"steps": 7}))
    assert study.study(out, steps=2, root=dataset)[0]["steps"] == 7


def test_a_stopped_study_measures_nothing(study, dataset, tmp_path, monkeypatch):
    train = study.denoising.train

    def stopped(*args, settings, hooks, **options):
        settings = dataclasses.replace(settings, log_every=1)
        hooks = helpers.kill_at(1, signal.SIGTERM)
        return train(*args, settings=settings, hooks=hooks, **options)

    monkeypatch.setattr(study.denoising, "train", stopped)
    with pytest.raises(SystemExit, match="goes on"):
        study.study(tmp_path / "out", steps=5, root=dataset)
    assert not list((tmp_path / "out").rglob("result.json"))
