"""Records of an evaluation: first samples and refined cells of a target, resumed."""

import numpy as np
import pytest
from design_helpers import fields
from field_helpers import VOXELS, patch

from mmdiff.cells.voxels import pack
from mmdiff.design.evaluate import metrics, runs
from mmdiff.design.generate import sampler
from mmdiff.design.generate.pipeline import Settings
from mmdiff.models import weights
from mmdiff.models.weights import Model
from mmdiff.run import workdir, workers
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
    model = Model({}, {"octant": 8})
    monkeypatch.setattr(weights, "load_model", lambda checkpoint: model)
    measure = runs.make_measure("", settings, 3, 0)
    record, octants = measure(5, parse("C11=0.3"))
    assert record["target"] == 5 and len(octants) == 3
    assert {octant.shape for octant in octants} == {(8, 8, 8)}
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


def test_records_of_other_targets_are_made_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workers, "on_cpu", lambda: False)
    asked, made = [parse("C11=0.3"), parse("E=0.1,nu=0.2", volume=0.3)], []
    octant = np.zeros((8, 8, 8), np.uint8)
    octant[:2] = 1

    def measure(i, target):
        made.append(target)
        cells = [{"error": 0.01}] if len(made) == 1 else []
        record = {"target": i, **metrics.request(target), "cells": cells}
        return record | {"seconds": 1.0}, [octant] * len(cells)

    def run(folder, targets):
        return runs.run(folder, targets, lambda: measure, KNOWN)

    first = run(tmp_path, asked)
    assert first[0]["cells"] == [{"error": 0.01, "nearest": 0.25}]
    assert "target 0: 1.00 %, 1.0 s\ntarget 1: no valid" in capsys.readouterr().out
    assert run(tmp_path, asked) == first and made == asked
    asked[1] = parse("E=0.1,nu=0.3", volume=0.3)
    assert list(runs.stored(tmp_path, asked)) == [0]
    again = run(tmp_path, asked)
    assert again[0] == first[0] and made[2:] == asked[1:]
    assert again[1]["asked"] == {"E": 0.1, "nu": 0.3}
    # A shorter list, and a line that a killed run left torn.
    assert run(tmp_path, asked[:1]) == first[:1]
    workdir.append_metrics(tmp_path, {"target": 0, "asked": {}})
    assert run(tmp_path, asked) == again and len(made) == 3
    # A record that was changed since.
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"error": 0.01', '"error": 0.02'))
    assert run(tmp_path, asked[:1])[0]["cells"] == [] and len(made) == 4
    assert "They are made again." in capsys.readouterr().out
