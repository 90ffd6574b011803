"""The report of an evaluation."""

import json

import numpy as np
import pytest
from design_helpers import octant, wave
from field_helpers import estimate

from mmdiff.cells.voxels import pack
from mmdiff.design.evaluate import metrics
from mmdiff.design.evaluate.report import report
from mmdiff.design.generate.cell import make_cell
from mmdiff.io.report import write
from mmdiff.targets.target import parse

KNOWN = (
    np.array([[0.2, 0.1, 0.05], [0.3, 0.1, 0.1], [0.1, 0.05, 0.02]]),
    np.array([0.4, 0.5, 0.3]),
)
PACKED = pack(np.stack([octant(seed=seed) for seed in range(3)]))


def _record(text, count):
    goal = parse(text)
    cells = count * [make_cell(wave(), estimate(wave()), goal)]
    record = metrics.measure(goal, cells, cells, 1, lambda cell: "")
    for cell, found in zip(cells, record["cells"], strict=True):
        found["nearest"] = metrics.nearest(cell.octant, PACKED)
    refused = {"thin walls": 2, "disconnected": count}
    return record | {
        "refused": refused,
        "seconds": 3.0,
        "infeasible": not count,
        "known": None,
    }


@pytest.mark.parametrize("count", [2, 0])
def test_a_report_has_metrics_tables_and_pictures(count, tmp_path):
    records = [_record("0.4,0.2,0.1,", count), _record("E=0.2,V=0.4", 0)]
    found = report(records, *KNOWN)
    summary = found.values["summary"]
    assert summary["infeasible"] == 2 - bool(count)
    assert summary["answered"] == 0.5 * bool(count)
    assert summary["refused"] == {"thin walls": 4, "disconnected": count}
    published, groups = found.tables.values()
    assert published[-2][""] == "mmdiff, polished" and groups[-1]["number"] == "2"
    assert ("parity.png" in found.files) == bool(count)
    said = " ".join(found.notes)
    share = f"{50 if count else 0} % of targets got a valid cell"
    assert share in said and f"on the way: 4 thin walls, {count} disconnected" in said
    assert write(tmp_path, found) == []
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert [r["asked"] for r in stored["targets"]] == [r["asked"] for r in records]
    assert (tmp_path / "table.md").read_text().count("\n|---") == 2
    for name in found.files:
        assert (tmp_path / name).stat().st_size
