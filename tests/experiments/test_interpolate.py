"""Families and paths through the command line, with a model that costs nothing."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import dataset_of, dataset_of_voxels

from mmdiff import main
from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import dataset
from mmdiff.design.interpolate import pairs
from mmdiff.diffusion.conditions import fit_conditions
from mmdiff.diffusion.schedule import ExponentialSchedule
from mmdiff.io import render
from mmdiff.models import noise_codec

N = 8
VOLUMES = (0.2, 0.3, 0.31, 0.5, 0.6)
SCHEDULE = ExponentialSchedule()


def _frame(volume):
    wave = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    return threshold_to_volume(wave[:, None, None] + wave[:, None] + wave, volume)


@pytest.fixture
def known(quick, monkeypatch):
    """Five cells, a closed-form denoiser, and pairs that are counted, not solved."""
    fields = [surface.from_voxels(_frame(volume)) for volume in VOLUMES]
    volume = np.array([surface.volume(psi) for psi in fields])
    # What `quick` calls their stiffness.
    constants = volume[:, None] * np.array([0.4, 0.16, 0.12])
    data = dataset_of(fields, constants, volume)
    monkeypatch.setattr(dataset, "load_dataset", lambda path: data)

    def denoise(x, t, x0_prev, cond):
        """Return the mean of x0 if it were standard normal."""
        return jnp.sqrt(SCHEDULE.gamma(t))[:, None, None, None] * x

    names = ("C11", "C12", "C44", "V")
    scaling = fit_conditions(names, np.column_stack([constants, volume]))

    def load_noise_codec(params, meta, **settings):
        return noise_codec.make_noise_codec(denoise, SCHEDULE, **settings), scaling

    solved = []

    def pair_stiffness(first, second):
        solved.append((first.volume, second.volume))
        return 0.75

    picture = np.full((224, 224, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    monkeypatch.setattr(noise_codec, "load_noise_codec", load_noise_codec)
    monkeypatch.setattr(pairs, "pair_stiffness", pair_stiffness)
    return solved


def _run(tmp_path, **options):
    argv = ["mmdiff", "--config=configs/interpolate.py"]
    argv.append(f"--workdir={tmp_path / 'out'}")
    usual = {"low": 0.2, "high": 0.6, "floor": 0.4, "polish_steps": 0, "newton": 0}
    options = usual | {"conditions": "none", "family": "ladder"} | options
    argv += [f"--config.{key}={value}" for key, value in options.items()]
    return main.main(argv)


def _report(tmp_path):
    return json.loads((tmp_path / "out" / "family.json").read_text())


def test_the_path_ends_at_the_cells_and_the_gaps_are_filled(known, tmp_path, capsys):
    light = tmp_path / "light.npy"
    np.save(light, octant_to_cell(_frame(0.3)))
    gaps = {"tolerance": 0.06, "rounds": 3}
    assert _run(tmp_path, first=light, second=4, resolution=64, **gaps) == 0
    report = _report(tmp_path)
    numbers, cells = report["summary"], report["cells"]
    # Beside the surface a sign may be lost to the few steps.
    assert min(numbers["returned"]) > 0.95
    assert numbers["widest_gap"] <= 0.06 < 0.18 < numbers["widest_gap_begun"]
    count = numbers["path"]
    assert count + numbers["family"] == len(cells)
    np.testing.assert_allclose([cells[0]["V"], cells[count - 1]["V"]], [0.3, 0.6], 0.02)
    assert count + numbers["refused"] == 5
    # The family begins with cells of the dataset and is sorted by volume.
    volumes = [cell["V"] for cell in cells[count:]]
    assert volumes == sorted(volumes)
    assert {"dataset", "round 1", "round 2"} <= {cell["kind"] for cell in cells[count:]}
    assert known and cells[count:][0]["C11 pair / series"] in (None, 0.75)
    for i, name in ((0, "path_00"), (count, "family_00")):
        voxels = np.load(tmp_path / "out" / "cells" / f"{name}.npy")
        assert voxels.shape == (64, 64, 64)
        assert voxels.mean() == pytest.approx(cells[i]["V"], abs=5e-3)
        assert (tmp_path / "out" / "cells" / f"{name}.stl").stat().st_size
    for name in ("family.csv", "family.npz", "strip.png", "path.png", "index.html"):
        assert (tmp_path / "out" / name).stat().st_size
    assert "widest gap in V" in capsys.readouterr().out


CHAIN = {"family": "chain", "low": 0.3, "high": 0.5, "tolerance": 0.1}
CHAIN |= {"seed_cell": "P network", "chain_steps": 1, "strip_cells": 1}


def test_a_chain_grows_from_a_lattice_and_a_strip_is_graded(known, tmp_path, capsys):
    options = CHAIN | {"num_path": 1, "steps": 4, "resolution": 64}
    assert _run(tmp_path, **options) == 0
    report = _report(tmp_path)
    numbers, cells = report["summary"], report["cells"]
    count, family = numbers["path"], cells[numbers["path"] :]
    assert numbers["family"] == len(family) == 4
    assert {cell["kind"] for cell in family} == {"chain"}
    volumes = [cell["V"] for cell in family]
    np.testing.assert_allclose(volumes, np.linspace(0.3, 0.5, 4), atol=5e-4)
    assert numbers["widest_gap"] <= 0.1 and "widest_gap_begun" not in numbers
    # As all that is printable: one piece, drained, no wall or gap below 3 %.
    for cell in family:
        assert cell["trapped"] == 0 and min(cell["wall"], cell["gap"]) >= 0.3
    # The path is that between the members of the usual volumes.
    ends = cells[0]["V"], cells[count - 1]["V"]
    np.testing.assert_allclose(ends, [volumes[0], volumes[-1]])
    # One pair of neighbours is computed.
    assert len(known) == 1 and known[0] in itertools.pairwise(volumes)
    out = tmp_path / "out"
    strip = np.load(out / "graded.npy")
    assert strip.shape == (16, 16, 16) and strip[:8].mean() < strip[8:].mean()
    for kind in ("stl", "3mf", "glb", "png"):
        assert (out / f"graded.{kind}").stat().st_size
    assert "graded.stl" in (out / "index.html").read_text()
    assert "faces of neighbours agree" in capsys.readouterr().out


def test_a_chain_without_a_strip_grows_from_a_cell_of_the_dataset(known, tmp_path):
    options = {"seed_cell": 2, "strip_cells": 0, "num_path": 0, "tolerance": 0.25}
    assert _run(tmp_path, **CHAIN | options) == 0
    cells = _report(tmp_path)["cells"]
    assert [cell["kind"] for cell in cells] == ["chain", "chain"]
    assert not list((tmp_path / "out").glob("graded.*"))


def test_conditions_of_the_ends_give_the_volume_between(known, tmp_path):
    options = {"family": "none", "first": 1, "second": 4, "num_path": 1}
    assert _run(tmp_path, conditions="ends", **options) == 0
    first, middle, second = (cell["V"] for cell in _report(tmp_path)["cells"])
    # To half an orbit of six voxels, and what the clean-up takes away.
    assert middle == pytest.approx((first + second) / 2, abs=2 * 6 / N**3)
    assert len(known) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first": "gone.npy"}, "Pass --config.first=cell.npy or --config.first=0"),
        ({"conditions": "all"}, "conditions='all' is unknown. Use none or ends"),
        ({"low": 0.6}, "low=0.6 and high=0.6 are no range of volume"),
        ({"floor": 0.99}, "0 cells of the dataset have K/K_HS of 0.99 or more"),
        ({"tolerance": 0}, "tolerance=0.0 is too small"),
        ({"tolerance": 1.0}, "tolerance=1.0 is too large"),
        ({"num_cells": 1}, "num_cells=1 is too small. Set --config.num_cells to 2"),
        ({"family": "tree"}, "family='tree' is unknown. Use chain, ladder or none"),
        ({"family": "none", "num_path": 0}, "leave nothing to do"),
        ({"family": "none"}, "first is empty, and with family=none"),
        ({"family": "chain", "low": 0.7}, "low=0.7 and high=0.6 are no range of vol"),
        ({"family": "chain", "seed_cell": "cube"}, "Use one of P sheet, P network"),
        ({"family": "chain", "seed_cell": 5}, "Pass --config.seed_cell=0 to 4"),
        ({"chain_steps": -1}, "chain_steps=-1 is too small"),
        ({"strip_cells": 65}, "strip_cells=65 is too large"),
        ({"min_wall_mm": 6.0}, "min_wall_mm=6 is half of the cell's edge of 10 mm"),
        ({"resolution": 100}, "resolution=100 is not one of (64, 128, 256)"),
        ({"steps": 0}, "steps=0 is too small. Set --config.steps to 1"),
    ],
    ids=str,
)
def test_bad_input_exits_with_2(known, tmp_path, capsys, options, words):
    assert _run(tmp_path, **options) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_another_grid_than_the_network_has(known, tmp_path, capsys, monkeypatch):
    cell = np.zeros((1, 4, 4, 4), np.uint8)
    data = dataset_of_voxels(cell, np.ones((1, 3)))
    monkeypatch.setattr(dataset, "load_dataset", lambda path: data)
    assert _run(tmp_path) == 2
    words = "have 8 samples an edge and those of the network 16"
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_model_brings_both_ends_back(tmp_path, capsys):
    argv = [
        "mmdiff",
        "--config=configs/interpolate.py",
        f"--workdir={tmp_path / 'out'}",
    ]
    argv += ["--config.family=none", "--config.first=100", "--config.second=1500"]
    assert main.main([*argv, "--config.num_path=1", "--config.num_pairs=0"]) == 0
    assert min(_report(tmp_path)["summary"]["returned"]) >= 0.98
    assert main.main([*argv, "--config.num_path=1", "--config.num_pairs=0"]) == 0
    assert "already done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_a_path_guided_by_the_regressor_keeps_nearer_to_the_line(tmp_path):
    errors = []
    for number, options in enumerate(
        ({"conditions": "none"}, {"conditions": "ends", "newton": 3})
    ):
        out = tmp_path / str(number)
        options |= {"guide": "regressor", "steps": 8, "family": "none", "num_path": 1}
        assert _run(out, first=240, second=1744, **options) == 0
        numbers = _report(out)["summary"]
        assert numbers["path"] == 3 and min(numbers["returned"]) > 0.99
        errors.append(numbers["off_line_mean"])
    assert errors[1] < errors[0] / 2
