"""Training of the regressor through the command line, at the smallest size."""

import contextlib
import json

import numpy as np
import pytest
from data_helpers import write_noise

from mmdiff import main
from mmdiff.data.dataset import load_dataset
from mmdiff.models.regressor import load_regressor
from mmdiff.run import runner

N = 8
OPTIONS = (
    *("batch_size=4", "warmup=1", "log_every=2", "checkpoint_every=2"),
    *("model.width=4", "model.multipliers=(1,)", "model.blocks=(0,)"),
    "model.embedding=4",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Sixteen cells made of noise."""
    splits = 12 * [0] + 2 * [1] + 2 * [2]
    folder = tmp_path_factory.mktemp("dataset")
    write_noise(folder / "data.zarr", splits, n=N, power=2)
    return folder


def _run(dataset, out, *options, config="configs/regressor.py"):
    argv = ["mmdiff", f"--config={config}", f"--workdir={out}"]
    options = (f"data={dataset}", *OPTIONS, *options)
    return main.main([*argv, *(f"--config.{option}" for option in options)])


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert _run(dataset, out, "steps=4") == 0
    return out


@pytest.mark.slow
def test_what_training_writes(trained, dataset):
    params, meta = load_regressor(trained / "regressor.npz")
    assert params and meta["octant"] == N and meta["base"]["nu"] == 0.3
    assert meta["training"]["steps"] == 4
    split = load_dataset(dataset)[-1]["split"]
    assert meta["training"]["cells"] == (split == 0).sum()
    card = (trained / "MODEL_CARD.md").read_text()
    for name, number in (("validation", 1), ("test", 2)):
        assert f"| {name} | {(split == number).sum()} |" in card
    assert (trained / "r2.png").read_bytes()[:4] == b"\x89PNG"
    rows = [json.loads(x) for x in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4 and np.isfinite(rows[-1]["validation range error"])


@pytest.mark.slow
def test_resumed_run_equals_the_uninterrupted_one(
    trained, dataset, tmp_path, monkeypatch, capsys
):
    @contextlib.contextmanager
    def interrupted(deadline):
        yield lambda: "signal"

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("mmdiff.train.stop.watch", interrupted)
        assert _run(dataset, out, "steps=4") == runner.STOPPED
    assert load_regressor(out / "regressor.npz")[1]["training"]["steps"] == 1
    assert "run the same command again" in capsys.readouterr().out
    assert _run(dataset, out, "steps=4") == 0
    for name in ("regressor.npz", "regressor.npz.sha256"):
        assert (out / name).read_bytes() == (trained / name).read_bytes()
    capsys.readouterr()
    assert _run(dataset, out, "steps=4") == 0
    assert "already done" in capsys.readouterr().out
    # What is damaged afterwards is written anew from the last checkpoint.
    (out / "regressor.npz").write_bytes(b"damaged")
    assert _run(dataset, out, "steps=4") == 0
    assert load_regressor(out / "regressor.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # A tuple that is given twice is joined.
        (["model.blocks=(1,)"], "1 levels and blocks has 2. Give --config.model.mult"),
        (["model.patch=3"], "octants of 8^3 voxels do not divide"),
        (["model.dtype=float8"], "no compute type 'float8'"),
        (["batch_size=20"], "batch size 20 does not fit"),
    ],
)
def test_bad_settings(options, message, dataset, tmp_path, capsys):
    assert _run(dataset, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err


def test_missing_dataset(tmp_path, capsys):
    assert _run(tmp_path / "none", tmp_path / "out") == 3
    assert "no dataset at" in capsys.readouterr().err
