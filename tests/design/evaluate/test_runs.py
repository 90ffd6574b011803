"""Records of an evaluation: first samples and refined cells of a target, resumed."""

import jax
import numpy as np
import pytest
from design_helpers import fields
from field_helpers import VOXELS, patch

from mmdiff.cells.voxels import pack
from mmdiff.design.evaluate import metrics, runs
from mmdiff.design.generate import sampler
from mmdiff.design.generate.pipeline import Settings
from mmdiff.models.weights import Model
from mmdiff.run import workdir
from mmdiff.targets.target import parse

KNOWN = pack(np.ones((1, 8, 8, 8), np.uint8))


@pytest.mark.parametrize("steps", [0, 2])
def test_first_samples_and_refined_cells_are_measured(monkeypatch, steps):
    drawn = []

    def make_sampler(params, meta, **options):
        def draw(key, target):
            drawn.append(key)
            return fields(3, seed=len(drawn))

        return draw

    monkeypatch.setattr(sampler, "make_sampler", make_sampler)
    patch(monkeypatch)
    settings = Settings(polish_steps=steps, spare=0, drainable=False)
    measure = runs.make_measure(Model({}, {"octant": 8}), settings, 3, KNOWN)
    record = measure(jax.random.key(0), parse("C11=0.3"))
    # The first samples are drawn once, for the raw measure and for the refined cells.
    assert len(drawn) == 1 and record["sampled"] == 3
    raw = sorted(cell["raw_error"] for cell in record["raw"])
    errors = [cell["error"] for cell in record["cells"]]
    assert len(raw) == len(errors) == 3 and record["seconds"] > 0
    # Raw ones are of the surface too, not of the coarse grid, and so are the voxels.
    for cell in record["raw"]:
        surface, voxels = (
            0.3 - 1.330768 * cell[f"raw_{name}"] for name in ("error", "voxel_error")
        )
        assert voxels / surface == pytest.approx(VOXELS, rel=0.01)
    if steps:
        assert max(errors) < min(raw) and record["cells"][0]["solves"] > 2
    else:
        assert errors == raw


def test_records_of_other_targets_are_made_again(tmp_path, capsys):
    asked, made = [parse("C11=0.3"), parse("E=0.1,nu=0.2", volume=0.3)], []

    def measure(key, target):
        made.append(target)
        cells = [{"error": 0.01}] if len(made) == 1 else []
        return {**metrics.request(target), "cells": cells, "seconds": 1.0}

    first = runs.run(tmp_path, asked, measure)
    assert "target 0: 1.00 %, 1.0 s\ntarget 1: no valid" in capsys.readouterr().out
    assert runs.run(tmp_path, asked, measure) == first and made == asked
    asked[1] = parse("E=0.1,nu=0.3", volume=0.3)
    assert list(runs.stored(tmp_path, asked)) == [0]
    again = runs.run(tmp_path, asked, measure)
    assert again[0] == first[0] and made[2:] == asked[1:]
    assert again[1]["asked"] == {"E": 0.1, "nu": 0.3}
    # A shorter list, and a line that a killed run left torn.
    assert runs.run(tmp_path, asked[:1], measure) == first[:1]
    workdir.append_metrics(tmp_path, {"target": 0, "asked": {}})
    assert runs.run(tmp_path, asked, measure) == again and len(made) == 3
