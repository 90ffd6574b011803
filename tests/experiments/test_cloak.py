"""Cloaks through the command line, with a dataset of a few small cells."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import dataset_of_voxels

from mmdiff import main
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import dataset
from mmdiff.design.cloak import pool
from mmdiff.design.cloak.geometry import geometry, pulled
from mmdiff.fem import structure
from mmdiff.fem.homogenize import VOID
from mmdiff.io import render

N = 8


def _frame(volume):
    wave = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    return threshold_to_volume(wave[:, None, None] + wave[:, None] + wave, volume)


OCTANTS = np.stack([_frame(volume) for volume in np.linspace(0.1, 0.95, 24)])
VOLUME = OCTANTS.mean((1, 2, 3))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Frames from light to heavy; stiffness in proportion to the volume."""
    constants = VOLUME[:, None] * np.array([0.4, 0.16, 0.12])
    data = dataset_of_voxels(OCTANTS, constants)
    monkeypatch.setattr(dataset, "load_dataset", lambda path: data)


def _run(tmp_path, **options):
    argv = ["mmdiff", "--config=configs/cloak.py", f"--workdir={tmp_path / 'out'}"]
    usual = {"num_cells": 6, "steps": 30, "exchanges": 10, "columns": "cylinder"}
    usual |= {"references": "4", "stl_voxels": 4}
    usual |= {"cell_voxels": 2 * N, "check_voxels": 2 * N}
    argv += [f"--config.{key}={value}" for key, value in (usual | options).items()]
    return main.main(argv)


def _results(tmp_path):
    report = json.loads((tmp_path / "out" / "distortion.json").read_text())
    return report["cases"][0], report["checks"][0]


@pytest.mark.slow
def test_the_cells_written_hide_the_hole_as_reported(monkeypatch, tmp_path, capsys):
    picture = np.full((224, 224, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    assert _run(tmp_path, check_cells=6) == 0
    case, check = _results(tmp_path)
    # Real cells leave less than half of what the hole does.
    assert case["cells"][0] < case["before"][0] / 2
    out = tmp_path / "out"
    with np.load(out / "cells_index.npz") as found:
        index, octants = found["index_cylinder_4_pull"], found["octants_4"]
        number, constants = found["number_4"], found["constants_4"]
    assert number[-1] == -1 and (number < 24).all()
    # All have the faces of the body, and the constants that are reported.
    evaluate = pool.make_evaluate(VOID)
    for octant, own in zip(octants, constants, strict=True):
        np.testing.assert_array_equal(octant[0], OCTANTS[4][0])
        np.testing.assert_allclose(own, evaluate(octant)[0], rtol=1e-4)

    # The same from the files alone.
    shape = index.shape
    field = np.where((index == -1)[..., None], 0, constants[index])
    load_case = pulled(shape)
    displacement = structure.make_displacement(shape, load_case.fixed)
    body = np.broadcast_to(constants[-1], (*shape, 3))
    given = load_case.values, load_case.forces
    u, u0 = (displacement(f.astype(np.float32), *given)[0][0] for f in (field, body))
    outside = jnp.asarray(geometry(shape, "cylinder").outside)
    distortion = float(structure.distortion(u, u0, outside))
    assert distortion == pytest.approx(case["cells"][0], rel=1e-3)

    # A rerun that lost its files, but not its state, gives the same.
    (out / "run.json").unlink()
    assert _run(tmp_path, check_cells=6) == 0
    assert _results(tmp_path) == (case, check)
    text = capsys.readouterr().out
    assert text.count("fit the body") == 2  # at both resolutions
    assert text.count("slab of 6 x 6 cells at 16 voxels each") == 1

    # Cells of sixteen voxels, a hole of two cells: voxels keep what tensors promise.
    assert check["converged"]
    assert check["resolved"][0] == pytest.approx(check["promised"][0], rel=0.2)
    assert 0 < check["difference"][0] < 0.05
    assert 0 < check["difference"][1] < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": "triangle"}, "holds 'triangle'. Use cylinder, square"),
        ({"tests": "pull,push"}, "holds 'push'. Use pull, strains"),
        ({"references": "foam"}, "holds 'foam'. Use plates, isotropic, the number"),
        ({"references": ""}, "holds ''. Use plates, isotropic"),
        ({"num_cells": 4}, "num_cells=4 is too small. Set --config.num_cells to 5"),
        ({"stl_voxels": 6}, "stl_voxels=6 does not divide cell_voxels=16"),
        ({"cell_voxels": 12}, "12 does not divide the 16 voxels of a cell's edge. Set"),
        ({"check_voxels": 32}, "check_voxels=32 does not divide the 16 voxels"),
    ],
)
def test_bad_settings_are_named(tmp_path, capsys, options, words):
    assert _run(tmp_path, **options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
