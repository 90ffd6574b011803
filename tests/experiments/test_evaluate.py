"""Evaluation on lists of any quantities, with a model and solver that cost nothing."""

import json

import numpy as np
import pytest

from mmdiff import main
from mmdiff.data import dataset


@pytest.fixture
def known(monkeypatch):
    """Two training cells in place of the shipped ones."""
    octants = np.ones((2, 8, 8, 8), np.uint8)
    labels = np.array([[0.2, 0.08, 0.06], [0.3, 0.1, 0.1]]), np.array([0.5, 0.6])
    info = {"split": np.zeros(2, int)}
    monkeypatch.setattr(
        dataset, "load_dataset", lambda path, skip_bad: (octants, *labels, info)
    )


def _run(tmp_path, text, count, *options):
    path = tmp_path / "targets.csv"
    path.write_text(text)
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={tmp_path / 'out'}"]
    argv += [f"--config.targets={path}", f"--config.num_targets={count}", *options]
    return main.main([*argv, "--config.polish_steps=0", "--config.num_samples=2"])


def test_parts_of_tensors_are_measured_by_what_is_asked(quick, known, tmp_path, capsys):
    text = "C11,C12,C44,K,nu,V\n0.2,0.08,0.06,,,\n,,,0.1,0.2,\n,,,0.21,,0.3\n"
    assert _run(tmp_path, text, 3) == 0
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    whole, part, beyond = metrics["targets"]
    assert part["asked"] == {"K": 0.1, "nu": 0.2}
    # K and nu give C11 and C12, C44 is free.
    assert part["C11"] == pytest.approx(0.2) and part["C44"] is None
    # K is 0.24 of the volume and nu is 2 / 7.
    for cell in part["cells"]:
        bulk = abs(0.24 * cell["volume"] - 0.1) / 0.888493
        assert cell["error"] == pytest.approx((bulk + 2 / 7 - 0.2) / 2, rel=1e-4)
    assert [r["infeasible"] for r in (whole, part, beyond)] == [False, False, True]
    assert metrics["summary"]["infeasible"] == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 targets cannot be reached by any cell, the first in line 4" in said
    assert "Lower C or raise vf" in said and "To try anyway" not in said
    for name in ("error_hist", "novelty", "coverage", "parity"):
        assert (out / f"{name}.png").is_file()


def test_a_stopped_evaluation_goes_on(quick, known, no_plots, tmp_path):
    text = "K,V\n0.1,\n0.12,\n"
    assert _run(tmp_path, text, 2) == 0
    out = tmp_path / "out"
    metrics = (out / "metrics.json").read_text()
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text(lines[0])
    for name in ("metrics.json", "run.json"):
        (out / name).unlink()
    count = len(quick)
    assert _run(tmp_path, text, 2) == 0
    assert len(quick) == count + 1
    first, again = json.loads(metrics), json.loads((out / "metrics.json").read_text())
    assert first["targets"][0] == again["targets"][0]


def _held_out(tmp_path, *options):
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={tmp_path}"]
    argv += ["--config.held_out=True", "--config.polish_steps=0", *options]
    return main.main([*argv, "--config.num_samples=2"])


def test_targets_are_those_of_the_test_cells(quick, no_plots, monkeypatch, tmp_path):
    octants = np.ones((6, 8, 8, 8), np.uint8)
    constants = np.array([0.2, 0.08, 0.06]) * np.arange(1, 7)[:, None] / 6
    volume = np.linspace(0.3, 0.8, 6)
    info = {"split": np.array([0, 0, 1, 2, 2, 2])}
    stored = octants, constants, volume, info
    monkeypatch.setattr(dataset, "load_dataset", lambda path, skip_bad: stored)
    out = tmp_path / "out"
    assert _held_out(out, "--config.num_targets=3") == 0
    asked = json.loads((out / "metrics.json").read_text())["targets"]
    got = sorted((r["C11"], r["C12"], r["C44"], r["V"]) for r in asked)
    np.testing.assert_allclose(got, np.c_[constants, volume][3:])
    assert _held_out(tmp_path / "two", "--config.num_targets=2") == 0
    fewer = json.loads((tmp_path / "two" / "metrics.json").read_text())["targets"]
    assert [r["V"] for r in fewer] == [r["V"] for r in asked[:2]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--config.num_targets=1"], "the dataset has 0 test cells"),
        (["--config.targets=list.csv"], "held_out=True and targets=list.csv"),
        (["--config.num_samples=0"], "num_samples=0 is too small"),
        (["--config.volume_price=-1"], "volume_price=-1.0 is too small"),
    ],
)
def test_bad_settings_of_an_evaluation(quick, known, options, said, tmp_path, capsys):
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={tmp_path / 'out'}"]
    assert main.main([*argv, "--config.held_out=True", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C11,C12,C44,V\n0.1,0.04,high,0.3\n", "line 2 of"),
        ("C11,C12,C44,V\n0.1,0.04,high,0.3\n", "C44 'high' is not a number."),
        ("V\n0.3\n", "has no column of a target, only V."),
        ("C11,C12,C44,V\n", "has 0 targets"),
        ("C11,C12,K\n0.1,0.04,0.2\n", "any two of them give the third"),
    ],
)
def test_bad_lists_of_targets(text, said, tmp_path, capsys):
    assert _run(tmp_path, text, 1) == 2
    assert said in capsys.readouterr().err
