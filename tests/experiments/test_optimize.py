"""Optimization through the command line: bad input fast, kill and resume, all files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from mmdiff import elasticity, main
from mmdiff.bounds import hashin_shtrikman_ratios
from mmdiff.cells.connectivity import periodic_pieces
from mmdiff.cells.symmetry import cell_to_octant
from mmdiff.data.dataset import load_dataset
from mmdiff.elasticity import voigt_to_cubic
from mmdiff.fem import accuracy
from mmdiff.fem.homogenize import homogenize
from mmdiff.run import workdir

ROOT = Path(main.__file__).resolve().parent.parent
CONFIG = "--config=configs/optimize.py"


def _run(tmp_path, *options):
    return main.main(["mmdiff", CONFIG, f"--workdir={tmp_path / 'out'}", *options])


def _options(**values):
    return [f"--config.{key.replace('__', '.')}={v}" for key, v in values.items()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "goals.py:vector"}, "returns an array of shape (3,)"),
        ({"vf_is": "about"}, "such as --config.vf_is=equal"),
        ({"min_E": 0.4}, "Lower --config.min_E or raise --config.vf. To try anyway:"),
        ({"min_E": 0.4}, "--config.allow_infeasible=True"),
        ({"objective": "target"}, "--config.target=0.110,0.045,0.040"),
        ({"design_resolution": 60}, "--config.design_resolution=64"),
        ({"resolution": 96}, "--config.resolution=128"),
        ({"steps": 2}, "Set --config.steps=50"),
        ({"steps": 5, "start": "dataset,random"}, "Set --config.steps=105"),
        ({"radius": 20}, "with --config.radius=2"),
        ({"start": "cells.npy"}, "Correct --config.start."),
        ({"start": "bar.npy"}, "Pass --config.symmetry=orthotropic"),
        ({"start": "mask.npy"}, "For a 0/255 mask pass --config.scale=255"),
        ({"start": "two.npy"}, "Choose one with --config.index=0"),
        ({"start": "generated"}, "start=generated needs a target for the model"),
    ],
    ids=lambda value: str(value)[:48],
)
def test_bad_input_exits_with_2(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goals.py").write_text("def vector(C):\n    return C[:3, 0]\n")
    bar = np.zeros((16, 16, 16), np.uint8)
    bar[:, 6:10, 6:10] = 1
    for name, array in {"bar": bar, "mask": 255 * bar, "two": [bar, bar]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert _run(tmp_path, *_options(**options)) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


JIT = jax.jit
SIZES = _options(design_resolution=16, resolution=64, refine_steps=6)
SMALL = SIZES + _options(vf=0.4, steps=12, start="random", num_starts=2, radius=1.2)


@pytest.fixture(scope="module")
def done(quick_programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimized")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        assert _run(folder, *SMALL, "--config.base.E=100") == 0
    return folder / "out"


@pytest.mark.slow
def test_the_numbers_are_those_of_the_written_fields(done):
    report = json.loads((done / "properties.json").read_text())
    values = [cell["value"] for cell in report["cells"]]
    assert len(values) == 2 and values == sorted(values, reverse=True)
    for cell in report["cells"]:
        voxels = np.load(done / cell["file"])
        assert voxels.shape == (64, 64, 64)
        assert periodic_pieces(voxels)[1] == cell["printability"]["pieces"] == 1
        # Plates of eight samples may lie between centres of voxels.
        assert abs(voxels.mean() - cell["volume"]) < 0.02
        octant = cell_to_octant(voxels).astype(np.float32)
        tensor, info = homogenize(octant, void=report["void"])
        # Voxels are solved until the constants settle (`accuracy.GAIN`).
        np.testing.assert_allclose(np.array(cell["C_voxels"]) / 100, tensor, atol=1e-4)
        assert bool(info.converged.all()) and cell["converged"]
        constants = voigt_to_cubic(np.array(cell["C"])) / 100
        share = hashin_shtrikman_ratios(constants, cell["volume"])["K"]
        np.testing.assert_allclose(cell["K/K_HS"], share, rtol=1e-9)
        assert cell["volume"] <= 0.4 * 1.003  # "at most", with the slack
    # Random starts begin below 0.2; 16 samples an edge cannot do much better than this.
    assert report["cells"][0]["K/K_HS"] > 0.8
    with np.load(done / "density.npz") as data:
        assert data["constants"][0] == report["cells"][0]["C11"]
        assert abs(data["density"].mean() - 0.4) < 0.02
    with np.load(done / "cells.npz") as data:
        for psi, constants in zip(data["psi"], data["constants"], strict=True):
            again = accuracy.estimate(psi).constants
            np.testing.assert_allclose(constants / 100, again, rtol=1e-3)


@pytest.mark.slow
def test_all_files_are_there(done):
    names = "density.npz history.csv history.png frames.png before_after.png cells.npz "
    names += "properties.json properties.csv bounds.png spheres.png index.html "
    names += "cell_00.npy cell_00.stl cell_00.3mf cell_00.vti cell_00.png cell_01.npy"
    missing = [name for name in names.split() if not (done / name).stat().st_size]
    assert not missing
    # The states of the design loop go with their starts; the small results stay.
    kept = sorted(path.name for path in (done / "state").iterdir())
    results = [f"result_{i:03d}.npz" for i in range(2)]
    assert kept == ["plates.npz", *results, "starts.npz"]


@pytest.mark.slow
def test_every_start_has_its_history_and_metrics(done):
    rows = (done / "history.csv").read_text().splitlines()[1:]
    steps = [tuple(map(int, row.split(",")[:2])) for row in rows]
    assert {start for start, _ in steps} == {0, 1}
    lines = workdir.read_metrics(done)
    assert {line["start"] for line in lines} == {0, 1}
    for start in range(2):
        last = max(step for i, step in steps if i == start)
        assert max(x["step"] for x in lines if x["start"] == start) == last <= 12


@pytest.mark.slow
def test_the_table_shows_plates_and_the_last_line_the_best(done):
    said = (done / "log.txt").read_text()
    assert "plates: sc + octet" in said and "E/E_solid" in said
    report = json.loads((done / "properties.json").read_text())
    assert report["summary"] in said
    assert set(report["plates"]) >= {"sc", "bcc", "octet"}


@pytest.mark.slow
def test_starts_without_a_good_cell_are_said_and_refused(tmp_path, capsys):
    # Below the Voigt limit, and above what cells have.
    assert _run(tmp_path, *SMALL, "--config.min_E=0.38") == 2
    captured = capsys.readouterr()
    assert "note: start 0 (random) is ranked last: Young's modulus" in captured.out
    assert "note: start 1 (random) is ranked last: Young's modulus" in captured.out
    assert "none of 2 starts gave the cell that was asked for" in captured.err
    assert "--config.num_starts" in captured.err
    # What happened can still be looked at.
    assert (tmp_path / "out" / "history.png").is_file()


@pytest.mark.slow
def test_killed_and_resumed_writes_the_same_bits(tmp_path):
    argv = [sys.executable, "-m", "mmdiff.main", CONFIG, *SMALL]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*argv, f"--workdir={whole}"], check=True, cwd=ROOT)
    for lines in (2, 4):  # in the first start, then in a later one
        process = subprocess.Popen([*argv, f"--workdir={killed}"], cwd=ROOT)
        while len(workdir.read_metrics(killed)) < lines:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = len(workdir.read_metrics(killed))
    subprocess.run([*argv, f"--workdir={killed}"], check=True, cwd=ROOT)
    for pattern in ("*.csv", "*.json", "*.stl", "*.npy"):
        for path in whole.glob(pattern):
            if path.name not in ("run.json", "config.json", ".manifest.json"):
                assert path.read_bytes() == (killed / path.name).read_bytes(), path
    for name in ("density.npz", "cells.npz"):
        with np.load(whole / name) as one, np.load(killed / name) as other:
            assert all(one[k].tobytes() == other[k].tobytes() for k in one.files)
    # A kill loses one chunk of each start at work at most, whose line was not written
    # or is there twice; and a worker may write one more before it sees that it is over.
    steps = [(x["start"], x["step"]) for x in workdir.read_metrics(killed)]
    undisturbed = [(x["start"], x["step"]) for x in workdir.read_metrics(whole)]
    assert sorted(set(steps)) == sorted(undisturbed)
    assert len(steps) <= len(undisturbed) + 2 * 2 * 2 and before >= 4


@pytest.mark.slow
def test_an_orthotropic_cell_from_a_file_for_a_goal_of_the_user(
    quick_programs, tmp_path
):
    goals = tmp_path / "goals.py"
    # All directions, so that the cell holds together, but one more than the others.
    goals.write_text("def mostly_x(C):\n    return C[:3, :3].sum() + 2 * C[0, 0]\n")
    # A closed box whose thinnest walls are those across x.
    octant = np.full((8, 8, 8), 0.1)
    octant[:1] = octant[:, :2] = octant[:, :, :2] = 1
    np.save(tmp_path / "start.npy", octant)
    options = _options(
        objective=f"{goals}:mostly_x",
        start=tmp_path / "start.npy",
        input_is="octant",
        symmetry="orthotropic",
        num_starts=1,
        steps=12,
        robust=0.1,
        vf=0.5,
    )
    assert _run(tmp_path, *SIZES, *options) == 0
    report = json.loads((tmp_path / "out" / "properties.json").read_text())
    (cell,) = report["cells"]
    tensor = np.array(cell["C"])
    # The direction that was asked for, and no other.
    assert tensor[0, 0] > 1.2 * tensor[1, 1] and cell["cubic_distance"] > 0.05
    value = tensor[:3, :3].sum() + 2 * tensor[0, 0]
    np.testing.assert_allclose(cell["mostly_x"], value, rtol=1e-5)  # float32
    with np.load(tmp_path / "out" / "cells.npz") as data:
        again = accuracy.estimate(data["psi"][0], symmetry="orthotropic")
    found = elasticity.voigt_to_orthotropic(tensor)
    np.testing.assert_allclose(found, again.constants, atol=1e-4)  # float32 sums


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("start", ["plates", "generated"])
def test_other_starts(tmp_path, monkeypatch, start):
    # The network's own jitted functions cannot take options of the compiler.
    monkeypatch.setattr(jax, "jit", JIT)
    options = _options(start=start, num_starts=1, target="0.110,0.045,0.040")
    options += _options(objective="target", steps=6, refine_steps=6)
    assert _run(tmp_path, *options) == 0
    report = json.loads((tmp_path / "out" / "properties.json").read_text())
    kinds = {cell["start_kind"] for cell in report["cells"]}
    assert (
        kinds <= {"generated"} if start == "generated" else {"sc + octet", "sc + bcc"}
    )
    best = report["cells"][0]
    # Six steps that leave walls as they must be: 1.5 % of 3.6 % for the plates.
    assert best["error"] < 0.02


@pytest.mark.slow
def test_known_cells_are_starts(quick_programs, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "FINER", 8)  # finer grids take minutes
    options = _options(start="dataset", num_starts=2, num_best=2, vf=0.4, recheck=True)
    assert _run(tmp_path, *SIZES, *options) == 0
    out = tmp_path / "out"
    report = json.loads((out / "properties.json").read_text())
    best, other = report["cells"]
    data = load_dataset()
    for cell in (best, other):
        row = int(cell["start_kind"].removeprefix("dataset "))
        assert cell["design_steps"] == 0 and abs(data.volume[row] - 0.4) < 0.05
        known = hashin_shtrikman_ratios(data.constants[row], data.volume[row])["K"]
        # Those with the most are taken; 16 samples an edge blunt their edges.
        assert known > 0.97 and cell["K/K_HS"] > 0.9
        assert cell["volume"] == pytest.approx(0.4, rel=3e-3)
    # Finer grids than these are the same ones here.
    assert best["on_finer_grids"]["K"] == pytest.approx(best["K"], rel=1e-3)
    assert "on_finer_grids" not in other
    assert "cell 00 at 256^3" in (out / "log.txt").read_text()
    assert not list(out.glob("history.*")) and (out / "frames.png").stat().st_size
    with np.load(out / "density.npz") as arrays:
        # No design: the solid shares of the start.
        np.testing.assert_array_equal(arrays["density"], arrays["start"])


@pytest.mark.slow
def test_the_default_run_from_a_plate_lattice(tmp_path, capsys):
    options = _options(num_starts=1, start="plates")
    assert _run(tmp_path, *options) == 0
    report = json.loads((tmp_path / "out" / "properties.json").read_text())
    assert report["cells"][0]["K/K_HS"] >= 0.95
    assert _run(tmp_path, *options) == 0
    said = capsys.readouterr().out
    assert "already done" in said and said.count(report["summary"]) == 2
