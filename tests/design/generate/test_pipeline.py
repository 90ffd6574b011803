"""`mmdiff.generate`: its settings and refusals, on known fields."""

import functools
import runpy
from pathlib import Path

import field_helpers
import jax
import numpy as np
import pytest
from design_helpers import block, fields

import mmdiff as mm
from mmdiff.design.generate import apart, pipeline, sampler
from mmdiff.errors import InputError
from mmdiff.fem import accuracy
from mmdiff.models.weights import Model
from mmdiff.run import workers
from mmdiff.topopt import move

CONFIG = Path(__file__).parents[3] / "configs/generate.py"
META = {
    "octant": 8,
    "base": {"nu": 0.3},
    "training": {"labels": [[0.2, 0.08, 0.06, 0.5]], "coverage": 0.01},
}
MODEL = Model({}, META)
TARGET = "C11=0.3,C12=0.12,C44=0.09"
ANY = {"min_wall": 0.0, "min_gap": 0.0, "drainable": False}


@pytest.fixture
def drawn(monkeypatch):
    """Known fields in place of samples; returns the settings of the sampler."""
    settings = {}

    def make_sampler(params, meta, **options):
        settings.update(options)
        count = options["num_samples"]

        def draw(key, target, first=0, total=0):
            if max(count, total) == 1:
                return block()[None]
            return fields(total or count)[first : first + count]

        return draw

    monkeypatch.setattr(sampler, "make_sampler", make_sampler)
    field_helpers.patch(monkeypatch)
    return settings


def test_the_defaults_and_ranges_are_those_of_the_command_line():
    module = runpy.run_path(str(CONFIG))
    config = module["get_config"]("tiny")
    values = {**config, **config.solver, "min_wall": 0.03, "min_gap": 0.03, "nu": 0.3}
    assert config.base.nu == 0.3
    assert pipeline.settings_of(values) == pipeline.Settings()
    assert pipeline.NAMES == tuple(n for n in pipeline.NAMES if n in values)
    ranges = {name.split(".")[-1]: text for name, text in module["RANGES"].items()}
    ranges["num_cells"] = ranges["num_best"]
    own = {k: v for k, v in pipeline.RANGES.items() if k not in ("min_wall", "min_gap")}
    assert own.items() <= ranges.items()


def test_limits_in_millimetres_are_shares_of_the_edge():
    values = {"min_wall_mm": 0.8, "min_gap_mm": 0.0, "cell_size_mm": 20.0}
    settings = pipeline.settings_of(values)
    assert settings.min_wall == 0.04 and settings.min_gap == 0.03
    with pytest.raises(InputError, match="min_wall_mm=9 is half of the cell's edge of"):
        pipeline.settings_of(values | {"min_wall_mm": 9.0, "cell_size_mm": 18.0})


def test_cells_for_a_text(drawn):
    options = {"steps": 5, "guidance": 2.0, "polish_steps": 4, "resolution": 64}
    cells = mm.generate(TARGET, MODEL, num_cells=2, num_samples=3, **options, **ANY)
    assert len(cells) == 2 and cells[0].voxels.shape == (64, 64, 64)
    errors = [cell.error for cell in cells]
    assert errors == sorted(errors) and all(len(c.history) > 1 for c in cells)
    # The constants of the binary cell are those of its own share.
    share = [c.as_voxels[0] / (field_helpers.VOXELS * 0.4) for c in cells]
    np.testing.assert_allclose(share, [c.volume for c in cells], atol=1e-2)
    expected = {"num_samples": 3, "steps": 5, "weight": 2.0, "newton": 2, "nu": 0.3}
    assert drawn == expected | {"guide": "homogenizer", "drainable": False}


def test_workers_give_the_cells_of_one_process(drawn, monkeypatch):
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    monkeypatch.setattr(apart, "load_model", lambda checkpoint: MODEL)
    settings = pipeline.Settings(polish_steps=4, resolution=64, **ANY)
    count = {"num_cells": 2, "num_samples": 5}
    target, key = mm.target(TARGET), jax.random.key(0)
    one, told, _ = pipeline.make_generate(MODEL, settings, **count)(target, key)
    prepare = functools.partial(apart.make_unit, "", settings)
    with workers.opened(prepare) as run:
        make = apart.make_generate(run, MODEL, settings, **count)
        for _ in range(2):  # the second time all is ready
            other, said, _ = make(target, key)
            assert said == told and len(other) == 2
            for cell, like in zip(other, one, strict=True):
                np.testing.assert_array_equal(cell.constants, like.constants)
                assert cell.voxels.shape == (64, 64, 64)
                assert np.isfinite(cell.as_voxels).all()


def test_cells_as_sampled(drawn):
    settings = pipeline.Settings(polish_steps=0)
    raw = mm.generate(mm.target(TARGET), MODEL, num_samples=3, settings=settings)
    assert len(raw) == 3 and all(len(cell.history) == 1 for cell in raw)
    # Both grids speak, though nothing is moved.
    assert all((cell.uncertainty > 0).all() for cell in raw)
    assert raw[0].voxels.shape == (128, 128, 128)


def test_a_time_limit_gives_a_cell_all_the_same(drawn, capsys):
    options = {"polish_steps": 1, "time_limit_s": 1e-9}
    cells = mm.generate(TARGET, MODEL, num_cells=2, num_samples=2, **options, **ANY)
    assert len(cells) == 1 and len(cells[0].history) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "outside the region this checkpoint was trained on (nearest training" in said


@pytest.mark.parametrize(
    ("options", "kind", "part"),
    [
        ({"polish": 3}, TypeError, "no option 'polish'. Use some of steps, guidance"),
        ({"steps": 1}, InputError, "steps=1 is too small. Set `steps` to 2 or more."),
        ({"num_samples": 0}, InputError, "Set `num_samples` to 1 or more."),
        ({"min_wall": np.nan}, InputError, "min_wall=nan is not a finite"),
        ({"resolution": 100}, InputError, "resolution=100 is not one of"),
        ({"num_samples": 1}, InputError, "none of 4 samples gave a connected, load-"),
        (
            {"min_wall": 0.499, "min_gap": 0.499, "num_samples": 2, "polish_steps": 1},
            InputError,
            "can be printed: 6 duplicate, 2 [tn].*. Ask for more",
        ),
        ({"target": "K=0.2,V=0.3"}, InputError, "exceeds the Hashin-Shtrikman limit"),
    ],
)
def test_refusals(drawn, options, kind, part):
    options = {"target": TARGET, "model": MODEL} | options
    with pytest.raises(kind, match=part):
        mm.generate(**options)


def test_poissons_ratio_of_the_base_material(drawn, monkeypatch):
    solved = []
    for module, name in ((move, "make_evaluate"), (accuracy, "estimate")):
        function = getattr(module, name)

        def noted(*args, function=function, **options):
            solved.append(options["nu"])
            return function(*args, **options)

        monkeypatch.setattr(module, name, noted)
    options = {"num_cells": 1, "num_samples": 2, "polish_steps": 4, "nu": 0.4}
    with pytest.raises(InputError, match="Hashin-Shtrikman limit"):
        mm.generate("K=0.13,V=0.3", MODEL, num_samples=2, **ANY)
    mm.generate("K=0.13,V=0.3", MODEL, **options, **ANY)  # below that of this one
    assert drawn["nu"] == 0.4 and len(solved) >= 2 and set(solved) == {0.4}
    with pytest.raises(InputError, match=r"nu=0\.6 is .*0\.45"):
        mm.generate(TARGET, MODEL, nu=0.6)


def test_what_exceeds_a_bound_can_be_asked_all_the_same(drawn):
    options = {"num_samples": 2, "polish_steps": 0, "allow_infeasible": True}
    assert len(mm.generate("K=0.2,V=0.3", MODEL, **options)) == 2
