"""The benchmark on its smallest cells: files, sane numbers, peers that agree."""

import csv
import importlib.util
import json

import numpy as np
import pytest

from mmdiff import main

QUICK = (
    "--config.cubic=(16,)",
    "--config.num_random=1",
    "--config.num_samples=0",
    "--config.repeats=1",
)
ALONE = (
    "--config.fresh=False",
    "--config.batches=()",
    "--config.other_voids=()",
    "--config.num_starts=0",
    "--config.num_candidates=0",
)


def _run(tmp_path, *options):
    arguments = ["--config=configs/bench.py", f"--workdir={tmp_path / 'out'}"]
    return main.main(["mmdiff", *arguments, *QUICK, *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config.cubic=(6,)"], "cubic=(16, 6) is too small. Set --conf"),
        (["--config.batch_cubic=(4,)"], "batch_cubic=(4,) is too small. Set --conf"),
        (["--config.repeats=0"], "repeats=0 is too small. Set --config.repeats to 1"),
        (["--config.void=nan"], "void=nan is not a finite number"),
        (["--config=configs/bench.py:huge"], "has no variant 'huge'"),
    ],
)
def test_bad_options_exit_with_2(tmp_path, capsys, options, message):
    assert _run(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_no_cells_are_nothing_to_solve(tmp_path, capsys):
    arguments = ["--config=configs/bench.py", f"--workdir={tmp_path}"]
    assert main.main(["mmdiff", *arguments, "--config.cubic=()"]) == 2
    assert "there is nothing to solve" in capsys.readouterr().err


def test_files_and_numbers(tmp_path, capsys):
    assert _run(tmp_path, *ALONE, "--config.other_voids=(1e-3,)") == 0
    out = tmp_path / "out"
    with (out / "bench.csv").open() as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["schwarz_p", "plates", "graded", "network 0"]
    for row in rows.values():
        assert row["converged"] == "True" and 0 < int(row["iterations"]) < 100
        assert float(row["wall_s"]) > 0 and float(row["cpu_s"]) >= 0
        assert row["calls"] == "1"
    # Known from a direct solution; see tests/fem/test_homogenize.py.
    got = [float(rows["schwarz_p"][name]) for name in ("C11", "C12", "C44")]
    np.testing.assert_allclose(got, [0.118519, 0.011293, 0.019402], atol=2e-6)
    report = json.loads((out / "bench.json").read_text())
    assert report["cores"] >= 1 and report["versions"]["jax"]
    (group,) = report["groups"]
    # One program serves all densities and every void.
    assert group["recompiled"] == 0 and group["unconverged"] == 0
    assert group["reference_wall_s"] <= group["reference_wall_s_worst"]
    assert {row["void"] for row in report["other_voids"]} == {1e-3}
    assert (out / "bench.png").exists() == bool(importlib.util.find_spec("matplotlib"))
    said = capsys.readouterr().out
    assert "cubic 16^3 worst: network 0" in said and "cubic 16^3, void 0.001" in said


@pytest.mark.slow
@pytest.mark.long
def test_fresh_processes_batches_and_whole_cells(tmp_path, capsys):
    options = ("--config.periodic=(16,)", "--config.batch_cubic=(16,)")
    assert _run(tmp_path, *options, "--config.batches=(2,)") == 0
    report = json.loads((tmp_path / "out/bench.json").read_text())
    for group in report["groups"]:
        assert group["recompiled"] == 0
        assert group["compile_s"] > 0 and group["memory_MB"] >= group["compile_MB"] > 0
    (row,) = report["batches"]
    assert row["cells_per_s"] > 0 and row["one_by_one_per_s"] > 0
    for row in report["cells"]:
        if row["symmetry"] == "periodic":
            # Two float32 solves of one cell, each to 1e-5; the energy form squares it.
            assert row["off_cubic"] < 1e-6
            assert row["cubic_distance"] < 1e-4


@pytest.mark.slow
def test_peers_find_the_same_tensor(tmp_path, capsys):
    options = ("--config.peers=True", "--config.peer_sizes=(16,)")
    assert _run(tmp_path, *ALONE, *options) == 0
    report = json.loads((tmp_path / "out/bench.json").read_text())
    peers = {row["peer"] for row in report["peers"]}
    said = capsys.readouterr().out
    assert "scipy-jacobi" in peers
    for package in ("pyamg", "muGrid"):
        present = importlib.util.find_spec(package) is not None
        assert present == any(peer.startswith(package.lower()) for peer in peers)
        assert present or f"pip install {package}" in said
    for row in report["peers"]:
        assert row["status"] == "done" and row["cpu_s"] > row["setup_s"] > 0
        # The same elements and residual; muGrid's mean stress errs by the residual.
        assert row["deviation"] < 1e-5


@pytest.mark.slow
def test_peers_out_of_time_are_stopped(tmp_path, capsys):
    options = ("--config.peers=True", "--config.peer_sizes=(16,)")
    assert _run(tmp_path, *ALONE, *options, "--config.peer_seconds=0.01") == 0
    report = json.loads((tmp_path / "out/bench.json").read_text())
    assert {row["status"] for row in report["peers"]} == {"stopped"}
    assert "stopped" in capsys.readouterr().out
