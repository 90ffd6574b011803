"""Training and evaluation through the command line, at the smallest size."""

import json
import os
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from data_helpers import write_noise

from mmdiff import main
from mmdiff.data.dataset import load_dataset
from mmdiff.diffusion.conditions import NAMES
from mmdiff.models.denoiser import prior_of
from mmdiff.models.weights import load_weights, save_weights
from mmdiff.run import workdir

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Sixteen cells made of noise."""
    folder = tmp_path_factory.mktemp("dataset")
    splits = 13 * [0] + 3 * [1]
    write_noise(folder / "data.zarr", splits, selected=[0, 1, 2, 3, 4, 5])
    return folder


# The smallest network there is.
NETWORK = (
    "batch_size=4 warmup=1 model.width=8 model.patch=2 model.embedding=8 "
    "model.multipliers=(1,) model.attention=() model.middle=1"
).split()


def _argv(dataset, out, *options):
    """Return the command line of a training."""
    options = [*NETWORK, f"data={dataset}", *options]
    argv = ["mmdiff", "--config=configs/train.py", f"--workdir={out}"]
    return [*argv, *(f"--config.{option}" for option in options)]


def test_training_and_what_it_writes(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    options = "steps=4 checkpoint_every=2 sample_every=2 steps_per_dispatch=2".split()
    argv = _argv(dataset, out, *options)
    assert main.main(argv) == 0
    page = (out / "index.html").read_text()
    assert '<img loading="lazy" src="samples_000002.png"' in page
    assert (out / "samples_000004.png").is_file()
    params, meta = load_weights(out / "ema.npz")
    assert meta["octant"] == 8 and meta["training"]["steps"] == 4
    assert meta["base"]["nu"] == 0.3 and meta["base"]["penal"] == 3.0
    split = load_dataset(dataset).info["split"]
    assert np.shape(meta["training"]["labels"]) == ((split == 0).sum(), 4)
    assert meta["cond"]["names"] == [*NAMES] and meta["model"]["linear"]
    assert prior_of(meta).spectrum[0] > 0
    assert params
    assert meta["training"]["cells"] == 13
    card = (out / "MODEL_CARD.md").read_text()
    assert "4 steps of" in card
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4

    # Weights of a run that was to go on are no end of it.
    meta["training"]["planned"] = 9
    save_weights(out / "ema.npz", params, meta)
    capsys.readouterr()
    assert main.main(argv) == 0
    assert "is not whole: going on with it" in capsys.readouterr().out
    assert main.main(argv) == 0
    assert "already done" in capsys.readouterr().out


def test_a_training_that_stopped_early_says_so_by_its_exit_code(dataset, tmp_path):
    out = tmp_path / "out"
    assert main.main(_argv(dataset, out, "steps=3", "time_limit_s=1e-3")) == 5
    run = json.loads((out / "run.json").read_text())
    assert run["exit_reason"] == "time limit at step 1 of 3" and run["exit_code"] == 5
    assert (out / "ema.npz").is_file()
    assert main.main(_argv(dataset, out, "steps=3")) == 0
    # Each step had its checkpoint at the end of a run, and its validation.
    rows = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [1, 3]


def test_a_warm_start_has_the_weights_of_its_file(dataset, tmp_path, capsys):
    first = tmp_path / "first"
    argv = _argv(dataset, first, "steps=2", "half=False", "loss_weight=std")
    assert main.main(argv) == 0
    weights = first / "ema.npz"
    still = f"steps=1 learning_rate=1e-9 half=False init={weights}".split()
    assert main.main(_argv(dataset, tmp_path / "second", *still)) == 0
    (old, one), (new, other) = map(load_weights, (weights, tmp_path / "second/ema.npz"))
    assert one["cond"] == other["cond"] and one["prior"] == other["prior"]
    for a, b in zip(*map(jax.tree.leaves, (old, new)), strict=True):
        # One step of next to no length.
        np.testing.assert_allclose(a, b, atol=1e-6)
    capsys.readouterr()
    for option, message in (
        ("model.width=4", "has width=8 and the configured network has 4"),
        ("linear=False", "has linear=True and the configured network has False"),
    ):
        argv = _argv(dataset, tmp_path / "third", f"init={weights}", option)
        assert main.main(argv) == 2
        assert message in capsys.readouterr().err
    argv = _argv(dataset, tmp_path / "third", "loss_weight=time")
    assert main.main(argv) == 2
    assert "loss_weight='time' is unknown" in capsys.readouterr().err


def test_tensorboard_is_asked_for_and_absent(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main.main(_argv(dataset, tmp_path / "out", "tensorboard=true")) == 2
    assert "pip install 'mmdiff[tb]'" in capsys.readouterr().err


def _start(process, port, argv):
    """Start one of two processes as a task of a Slurm job would be started."""
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mmdiff.main", *argv],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_training_by_two_processes(dataset, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    options = "steps=4 log_every=2 half=false selected=true".split()
    assert main.main(_argv(dataset, alone, *options)) == 0
    _, *argv = _argv(dataset, out, *options)

    def both(*more):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        started = [_start(i, port, [*argv, "--distributed", *more]) for i in range(2)]
        ended = [process.communicate(timeout=600) for process in started]
        return [process.returncode for process in started], ended

    codes, ((said, errors), (other, other_errors)) = both()
    assert codes == [0, 0], errors + other_errors
    assert "2 cpu device(s)" in said and "all steps done" in said
    # Nothing but what the library beneath prints on its own.
    assert all(line.startswith("[Gloo]") for line in other.splitlines())
    params, meta = zip(
        *(load_weights(f / "ema.npz") for f in (alone, out)), strict=True
    )
    # The selected cells alone.
    assert [header["training"]["cells"] for header in meta] == [6, 6]
    for one, two in zip(*map(jax.tree.leaves, params), strict=True):
        # Half batches are summed in another order; Adam divides by the gradient's size.
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
    rows = [workdir.read_metrics(folder) for folder in (alone, out)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    # The leader alone looks at the workdir: nobody waits for a run that is not made.
    codes, ((said, _), _) = both()
    assert codes == [0, 0] and "already done" in said
    codes, ((_, errors), (_, other_errors)) = both("--config.seed=1")
    assert codes == [2, 0] and "holds another run: config.seed" in errors


def test_damaged_dataset_is_refused_or_skipped(dataset, tmp_path, capsys):
    broken = shutil.copytree(dataset, tmp_path / "broken")
    file = broken / "data.zarr/field/c/0/0"
    data = bytearray(file.read_bytes())
    data[50] ^= 1
    file.write_bytes(data)
    argv = _argv(broken, tmp_path / "out")
    assert main.main(argv) == 3
    error = capsys.readouterr().err
    assert "field/c/0/0 fails its checksum; 16 of 16 cells are unreadable" in error
    assert "--config.skip_bad=True" in error
    # Without its only shard nothing is left.
    assert main.main([*argv, "--config.skip_bad=true"]) == 3
    assert "holds no cells" in capsys.readouterr().err


@pytest.mark.long
def test_evaluation_of_the_shipped_model(tmp_path, capsys):
    out = tmp_path / "out"
    targets = tmp_path / "targets.csv"
    targets.write_text("C11,C12,C44,V\n0.146,0.052,0.044,0.3\n0.2,0.06,0.05,\n")
    options = f"num_targets=2 num_samples=2 steps=8 targets={targets}".split()
    options += ["polish_steps=6", "spare=0", "drainable=false", "newton=1"]
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={out}"]
    assert main.main([*argv, *(f"--config.{option}" for option in options)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert [record["V"] for record in metrics["targets"]] == [0.3, None]
    summary = metrics["summary"]
    assert summary["answered"] == 1.0
    assert summary["error_best"] <= summary["error_mean"] <= summary["raw_error_mean"]
    # A guess that ignores the target is off by more than 15 % of the range.
    assert summary["raw_error_mean"] < 0.1
    assert summary["error_best"] < 0.02
    assert "mmdiff, polished" in (out / "table.md").read_text()
    for name in ("error_hist", "novelty", "coverage", "parity"):
        assert (out / f"{name}.png").is_file()
    # Every target counts alone: a stopped run goes on after its last one.
    (out / "metrics.json").unlink()
    lines = (out / "metrics.jsonl").read_text().splitlines()
    (out / "metrics.jsonl").write_text(lines[0] + "\n")
    (out / "run.json").unlink()
    capsys.readouterr()
    assert main.main([*argv, *(f"--config.{option}" for option in options)]) == 0
    again = json.loads((out / "metrics.json").read_text())["targets"]
    said = capsys.readouterr().out
    assert "target 1:" in said and "target 0:" not in said
    cells = [record["cells"] for record in metrics["targets"]]
    assert [record["cells"] for record in again] == cells
