"""Evaluation on lists of any quantities, with a model and solver that cost nothing."""

import json

import numpy as np
import pytest
from design_helpers import dataset_of_voxels

from mmdiff import main
from mmdiff.data import dataset


@pytest.fixture
def known(monkeypatch):
    """Two training cells in place of the shipped ones."""
    labels = np.array([[0.2, 0.08, 0.06], [0.3, 0.1, 0.1]]), np.array([0.5, 0.6])
    stored = dataset_of_voxels(np.ones((2, 8, 8, 8)), *labels)
    monkeypatch.setattr(dataset, "load_dataset", lambda path, skip_bad: stored)


def _main(folder, *options):
    argv = ["mmdiff", "--config=configs/evaluate.py", f"--workdir={folder}"]
    argv += ["--config.polish_steps=0", "--config.num_samples=2", *options]
    return main.main(argv)


def _run(tmp_path, text, count, *options):
    path = tmp_path / "targets.csv"
    path.write_text(text)
    options = [f"--config.num_targets={count}", *options]
    return _main(tmp_path / "out", f"--config.targets={path}", *options)


def test_parts_of_tensors_are_measured_by_what_is_asked(quick, known, tmp_path, capsys):
    text = (
        "C11,C12,C44,K,nu,V,known\n0.2,0.08,0.06,,,,1\n,,,0.1,0.2,,0\n,,,0.21,,0.3,\n"
    )
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
    assert [r["known"] for r in (whole, part, beyond)] == [True, False, None]
    assert metrics["summary"]["infeasible"] == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 targets cannot be reached by any cell, the first in line 4" in said
    assert "Lower C or raise the volume" in said and "To try anyway" not in said
    assert "3 targets x 2 samples" in said and "refused on the way: none" in said
    for name in ("error_hist.png", "novelty.png", "coverage.png", "parity.png"):
        assert (out / name).is_file()
    table = (out / "table.md").read_text()
    assert "| mmdiff, raw |" in table and "polished" not in table
    assert "| a cell is known | 1 |" in table and "| none is known | 1 |" in table


def test_an_evaluation_goes_on_with_what_is_missing(
    quick, known, no_plots, tmp_path, capsys
):
    assert _run(tmp_path, "K,V\n0.1,\n0.12,\n", 2) == 0
    out = tmp_path / "out"
    first = json.loads((out / "metrics.json").read_text())["targets"]
    assert _run(tmp_path, "K,V\n0.1,\n0.12,\n", 2) == 0
    assert "already done" in capsys.readouterr().out and len(quick) == 2
    # A line of the list was changed, then the run was stopped before it was whole.
    assert _run(tmp_path, "K,V\n0.1,\n0.13,\n", 2) == 0
    assert [dict(target.asked) for target in quick[2:]] == [{"K": 0.13}]
    again = json.loads((out / "metrics.json").read_text())["targets"]
    assert again[0] == first[0] and again[1]["asked"] == {"K": 0.13}
    for name in ("metrics.json", "run.json"):
        (out / name).unlink()
    assert _run(tmp_path, "K,V\n0.1,\n0.12,\n", 2) == 0
    # The record of before is of this very target.
    assert len(quick) == 3
    kept = json.loads((out / "metrics.json").read_text())["targets"]
    assert kept == first
    (tmp_path / "targets.csv").unlink()
    path = tmp_path / "targets.csv"
    options = (f"--config.targets={path}", "--config.num_targets=2")
    assert _main(out, *options) == 0
    assert "already done" in capsys.readouterr().out


def test_targets_are_those_of_the_test_cells(quick, no_plots, monkeypatch, tmp_path):
    constants = np.array([0.2, 0.08, 0.06]) * np.arange(1, 7)[:, None] / 6
    volume = np.linspace(0.3, 0.8, 6)
    octants, split = np.ones((6, 8, 8, 8)), np.array([0, 0, 1, 2, 2, 2])
    stored = dataset_of_voxels(octants, constants, volume, split)
    monkeypatch.setattr(dataset, "load_dataset", lambda path, skip_bad: stored)
    options = ("--config.held_out=True", "--config.num_targets=3")
    assert _main(tmp_path, *options) == 0
    asked = json.loads((tmp_path / "metrics.json").read_text())["targets"]
    got = sorted((r["C11"], r["C12"], r["C44"], r["V"]) for r in asked)
    np.testing.assert_allclose(got, np.c_[constants, volume][3:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--config.num_targets=1"], "the dataset has 0 test cells"),
        (["--config.targets=list.csv"], "held_out=True and targets=list.csv"),
        (["--config.num_samples=0"], "Set --config.num_samples to 1 or more"),
        (["--config.min_gap=0.5"], "min_gap=0.5 is too large"),
        (["--config.guidance=nan"], "guidance=nan is not a finite number"),
    ],
)
def test_bad_settings_of_an_evaluation(quick, known, options, said, tmp_path, capsys):
    assert _main(tmp_path, "--config.held_out=True", *options) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C11,C12,C44,V\n0.1,0.04,high,0.3\n", "line 2 of"),
        ("C11,C12,C44,V\n", "has 0 targets. Set --config.num_targets to one of 1"),
    ],
)
def test_bad_lists_of_targets(text, said, tmp_path, capsys):
    assert _run(tmp_path, text, 1) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_records_do_not_depend_on_the_number_of_workers(tmp_path):
    quick = ["--config.newton=0", "--config.steps=4", "--config.drainable=False"]
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        assert (
            _main(
                folder, "--config.num_targets=3", *quick, f"--config.workers={workers}"
            )
            == 0
        )
        records = json.loads((folder / "metrics.json").read_text())["targets"]
        found.append([{**record, "seconds": None} for record in records])
    assert found[0] == found[1] and sum(len(record["raw"]) for record in found[0])
