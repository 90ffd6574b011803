"""Cells are told as they come back, and a file has the settings of the page."""

import dataclasses

import numpy as np
import pytest
import serve_helpers
from design_helpers import frame, proportional, wave

from mmdiff.design.generate import pipeline
from mmdiff.design.generate.cell import make_cell
from mmdiff.design.serve import runs, settings
from mmdiff.design.serve.state import State
from mmdiff.fem.accuracy import of_coarse
from mmdiff.targets import target as targets

ASKED = targets.of_constants((0.5, 0.2, 0.15), 0.5)


def make(psi):
    result = of_coarse(proportional(psi), 0.5, 1e-5)
    return make_cell(psi, result, ASKED)


@pytest.fixture
def heard(tmp_path, monkeypatch):
    state = State(tmp_path / "jobs", most_waiting=4)
    values = serve_helpers.known()["generate"].values
    job = state.submit("generate", "a", values, {})
    events = []
    monkeypatch.setattr(state, "tell", lambda kind, value: events.append((kind, value)))
    free = pipeline.Settings(min_wall=0.0, min_gap=0.0, drainable=False)
    return job, events, runs.make_listener(state, job, ASKED, free)


def test_a_verified_cell_is_told_before_the_others_are_done(heard):
    job, events, hear = heard
    cell = make(wave(8))
    hear(("check", cell.psi), 1, 2, cell)
    hear(("check", cell.psi), 2, 2, None)
    assert [kind for kind, _ in events].count("sample") == 1
    hear(("refine", cell, ASKED), 1, 3, cell)
    kinds = [kind for kind, _ in events]
    assert kinds.count("cell") == 1 and len(job.cells) == 1
    (told,) = [value["cell"] for kind, value in events if kind == "cell"]
    assert told["C11"] == pytest.approx(cell.constants[0])
    assert told["view"]["shape"] == [16, 16, 16] and told["C_voxels"]["C11"] is None
    assert 0.45 < job.progress["share"] < 0.88 and "1 of 3" in job.progress["text"]


def test_a_cell_that_cannot_be_printed_is_not_told(heard, tmp_path):
    job, _, _ = heard
    strict = pipeline.Settings(min_wall=0.0, min_gap=0.0, drainable=True)
    closed = make(frame(8))  # plates around pores
    assert strict.printing.flaw(closed)
    state = State(tmp_path / "others", most_waiting=4)
    runs.make_listener(state, job, ASKED, strict)(("refine",), 1, 1, closed)
    assert job.cells == []


def test_progress_never_goes_back(heard):
    job, _, hear = heard
    cell = make(wave(8))
    shares = []
    for unit, done, total in [
        (("ready",), 1, 3),
        (("draw",), 1, 2),
        (("draw",), 2, 2),
        (("check",), 1, 1),
        (("finish",), 1, 1),
        (("refine",), 1, 4),
        (("files",), 1, 2),
    ]:
        hear(unit, done, total, cell if unit[0] in ("check", "refine") else None)
        shares.append(job.progress["share"])
    assert shares == sorted(shares)


def test_units_begin_when_they_are_given_and_each_result_is_heard():
    begun, heard = [], []

    def run(units):
        begun.append(len(units))
        return iter([(1, "b"), (0, "a")])

    results = runs.watched(run, lambda *told: heard.append(told), [("x",), ("y",)])
    assert begun == [2] and heard == []
    assert list(results) == [(1, "b"), (0, "a")]
    assert heard == [(("y",), 1, 2, "b"), (("x",), 2, 2, "a")]


def test_a_file_is_read_and_solved_as_the_page_says():
    known = serve_helpers.known()["homogenize"]
    given = {"scale": 255.0, "input_is": "octant", "mesh_voxels": 32, "base.nu": 0.4}
    values = settings.of_request("homogenize", given, known)
    found = runs._file_settings(values)
    assert found.options.scale == 255 and found.options.input_is == "octant"
    assert found.raw == {"voxels": 32} and found.material.nu == 0.4 and found.meshes
    assert dataclasses.asdict(found.solver)["tol"] == known.values["solver"]["tol"]


def test_of_cell_has_the_units_of_the_base(heard):
    values = serve_helpers.known()["generate"].values
    values = {**values, "base": {"E": 1000.0, "nu": 0.3}}
    cell = make(wave(8))
    found = runs.of_cell(ASKED, cell, values)
    np.testing.assert_allclose(found["C11"], 1000 * cell.constants[0])
