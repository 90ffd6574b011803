"""`mmdiff.generate`: its settings and refusals, on known fields."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from design_helpers import block, fields, proportional

import mmdiff as mm
from mmdiff.design.generate import pipeline, sampler
from mmdiff.errors import InputError
from mmdiff.models.weights import Model
from mmdiff.topopt import interface

CONFIG = Path(__file__).parents[3] / "configs/generate.py"
META = {"octant": 8, "training": {"labels": [[0.2, 0.08, 0.06, 0.5]], "coverage": 0.01}}
MODEL = Model({}, META)
TARGET = "C11=0.3,C12=0.12,C44=0.09"


@pytest.fixture
def drawn(monkeypatch):
    """Known fields in place of samples; returns the settings of the sampler."""
    settings = {}

    def make_sampler(params, meta, **options):
        settings.update(options)
        count = options["num_samples"]
        return lambda key, target: fields(count) if count > 1 else block()[None]

    monkeypatch.setattr(sampler, "make_sampler", make_sampler)
    monkeypatch.setattr(interface, "make_evaluate", lambda n, **rest: proportional)
    return settings


def test_the_defaults_and_ranges_are_those_of_the_command_line():
    module = runpy.run_path(str(CONFIG))
    config = module["get_config"]("tiny")
    values = {**config, **config.solver}
    assert pipeline.settings_of(values) == pipeline.Settings()
    assert pipeline.NAMES == tuple(n for n in pipeline.NAMES if n in values)
    ranges = {name.split(".")[-1]: text for name, text in module["RANGES"].items()}
    ranges["num_cells"] = ranges["num_best"]
    assert pipeline.RANGES.items() <= ranges.items()


def test_cells_for_a_text(drawn):
    options = {"steps": 5, "guidance": 2.0, "polish_steps": 2, "rework": 0}
    cells = mm.generate(TARGET, MODEL, num_cells=2, num_samples=3, **options)
    assert len(cells) == 2 and cells[0].voxels.shape == (16, 16, 16)
    errors = [cell.error for cell in cells]
    assert errors == sorted(errors) and all(len(c.history) > 1 for c in cells)
    expected = {"num_samples": 3, "steps": 5, "weight": 2.0, "newton": 2}
    assert drawn == expected | {"guide": "homogenizer"}
    settings = pipeline.Settings(polish_steps=0)
    raw = mm.generate(mm.target(TARGET), MODEL, num_samples=3, settings=settings)
    assert len(raw) == 3 and all(len(cell.history) == 1 for cell in raw)


@pytest.mark.parametrize("limit", [0.0, 1e-9])
def test_cells_of_twice_the_resolution(drawn, limit, capsys):
    options = {"polish_steps": 1, "rework": 0, "double": True, "time_limit_s": limit}
    (cell,) = mm.generate(TARGET, MODEL, num_cells=1, num_samples=2, **options)
    assert cell.voxels.shape == (32, 32, 32)
    said = " ".join(capsys.readouterr().out.split())
    assert "outside the region this checkpoint was trained on (nearest training" in said


def test_a_cell_that_cannot_be_doubled_is_left_out(drawn, monkeypatch, capsys):
    double = pipeline.refine.double
    calls = []

    def fail_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise ValueError("the doubled cell is disconnected")
        return double(*args)

    monkeypatch.setattr(pipeline.refine, "double", fail_once)
    cells = mm.generate(TARGET, MODEL, num_samples=3, polish_steps=0, double=True)
    assert len(cells) == 2
    assert "cell 0 is left out at twice the resolution: the" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "kind", "part"),
    [
        ({"polish": 3}, TypeError, "no option 'polish'. Use some of steps, guidance"),
        ({"steps": 1}, InputError, "steps=1 is too small. Set `steps` to 2 or more."),
        ({"num_samples": 0}, InputError, "Set `num_samples` to 1 or more."),
        ({"volume_price": np.nan}, InputError, "volume_price=nan is not a finite"),
        ({"num_samples": 1}, InputError, "none of 4 samples was a connected, load-"),
        ({"target": "K=0.2,V=0.3"}, InputError, "exceeds the Hashin-Shtrikman limit"),
    ],
)
def test_refusals(drawn, options, kind, part):
    options = {"target": TARGET, "model": MODEL} | options
    with pytest.raises(kind, match=part):
        mm.generate(**options)


def test_what_exceeds_a_bound_can_be_asked_all_the_same(drawn):
    options = {"num_samples": 2, "polish_steps": 0, "allow_infeasible": True}
    assert len(mm.generate("K=0.2,V=0.3", MODEL, **options)) == 2
