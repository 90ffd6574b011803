"""Cloaks through the command line, with a dataset of a few small cells."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import dataset_of, smooth_field

from mmdiff import main
from mmdiff.cells import surface
from mmdiff.data import dataset
from mmdiff.design.cloak import pool
from mmdiff.design.cloak.geometry import geometry, pulled
from mmdiff.fem import structure
from mmdiff.io import render
from mmdiff.run import workers

FIELDS = [smooth_field(volume) for volume in np.linspace(0.3, 0.8, 24)]
VOLUME = np.array([surface.volume(psi) for psi in FIELDS])


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Cells from light to heavy; stiffness in proportion to the volume."""
    constants = VOLUME[:, None] * np.array([0.4, 0.16, 0.12])
    data = dataset_of(FIELDS, constants, VOLUME)
    monkeypatch.setattr(dataset, "load_dataset", lambda path: data)


def _run(tmp_path, **options):
    argv = ["mmdiff", "--config=configs/cloak.py", f"--workdir={tmp_path / 'out'}"]
    usual = {"num_cells": 6, "steps": 30, "exchanges": 10, "columns": "cylinder"}
    usual |= {"references": "4", "stl_samples": 4, "pool": 24, "own_cells": 2}
    usual |= {"slab_elements": 2, "check_elements": 8}
    argv += [f"--config.{key}={value}" for key, value in (usual | options).items()]
    return main.main(argv)


def _results(tmp_path):
    report = json.loads((tmp_path / "out" / "distortion.json").read_text())
    return report["cases"][0], report["checks"][0]


def _in_turn(prepare, units, *, workers, on_advance):
    return [(i, prepare()(*unit)) for i, unit in enumerate(units)]


@pytest.mark.slow
def test_the_cells_written_hide_the_hole_as_reported(monkeypatch, tmp_path, capsys):
    picture = np.full((224, 224, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    monkeypatch.setattr(workers, "run_units", _in_turn)
    assert _run(tmp_path, check_cells=6) == 0
    case, check = _results(tmp_path)
    # Real cells leave less than half of what the hole does.
    assert case["cells"][0] < case["before"][0] / 2
    out = tmp_path / "out"
    with np.load(out / "cells_index.npz") as found:
        index, fields, constants, number, moved = (
            found[f"{name}_cylinder_4_pull"]
            for name in ("index", "psi", "constants", "number", "moved")
        )
    assert number[-1] == -1 and (number < 24).all() and moved.sum() <= 2
    # All have the faces of the body, and the constants that are reported.
    body = dataset.load_dataset("").fields(4).astype(np.float32)
    for psi, own in zip(fields, constants, strict=True):
        np.testing.assert_array_equal(psi[0], body[0])
        psi = psi.astype(np.float64)
        np.testing.assert_allclose(own, pool.evaluate(psi).constants, rtol=2e-3)

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
    assert text.count("fit the body") == 1
    # Of the first design and of two corrections, once each.
    assert text.count("slab of 6 x 6 cells of 8 elements") == 3

    # A hole of two cells: what is resolved keeps what tensors promise.
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
        ({"stl_samples": 7}, "stl_samples=7 is odd, but half a cell has whole"),
        ({"check_elements": 9}, "check_elements=9 is no grid on which"),
        ({"check_cells": "12,x"}, "check_cells='12,x' holds 'x'. Use whole numbers"),
    ],
)
def test_bad_settings_are_named(tmp_path, capsys, options, words):
    assert _run(tmp_path, **options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
