"""Tables of a dataset, from labels and timings made by hand."""

import json

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.data import shard, space, store, tables
from mmdiff.data.recipe import Optimized, Perturbed, Recipe

EMPTY = dict.fromkeys(Optimized().counts(), 0)


def _all_kept(contents):
    return contents._replace(kept=np.ones_like(contents.kept))


def test_label_rows_are_those_of_the_kept_cells(contents):
    rows, labels = tables.label_rows(contents), contents.labels
    moduli = elasticity.moduli(labels.constants)
    for row, i in zip(rows, np.flatnonzero(contents.kept), strict=True):
        record = labels.records[i]
        for name in ("id", "round", "aim", "parent", "family", "residual"):
            assert row[name] == record[name]
        assert row["row"] == labels.rows[i]
        assert row["split"] == ("train", "validation", "test")[record["split"]]
        assert row["selected"] == contents.selected[i]
        assert [row["C11"], row["C12"], row["C44"]] == labels.constants[i].tolist()
        assert row["V"] == labels.volume[i]
        assert {name: row[name] for name in moduli} == {
            name: value[i] for name, value in moduli.items()
        }
        off = [row[f"{name} uncertainty"] for name in ("C11", "C12", "C44")]
        assert off == record["uncertainty"]
        for name in ("trapped", "wall", "gap", "asked_drainable"):
            assert row[name] == record[name]
        assert row["recipe"] == contents.recipe.digest()
        assert (row["seed"], row["tol"]) == (5, contents.recipe.tol)
    # What was asked of a cell, where anything was.
    asked = [row["asked"] for row in rows]
    assert json.loads(asked[1]) == {"objective": [1.0, 0.0, 0.0]}
    assert json.loads(asked[2]) == {"target": [0.5, 0.2, 0.1]}
    assert set(asked[:1] + asked[3:]) == {""}
    # They can be written.
    assert len({tuple(row) for row in rows}) == 1
    assert json.loads(json.dumps(rows)) == rows


def test_splits_hold_every_kept_cell_once(contents):
    found, records = tables.splits(contents), contents.labels.records
    ids = np.array([record["id"] for record in records])
    parts = [found[name] for name in tables.SPLITS]
    assert sorted(sum(parts, [])) == ids[contents.kept].tolist()
    for number, part in enumerate(parts):
        own = {record["id"] for record in records if record["split"] == number}
        assert part and set(part) <= own
    assert found["selected"] == ids[[0, 3, 9]].tolist()
    assert json.loads(json.dumps(found)) == found


def test_rounds_add_up(contents):
    rows = tables.by_round(_all_kept(contents))
    aims = ["optimized", "everywhere", "poisson", "proposed"]
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    assert [row["aim"] for row in rows] == aims
    assert [row["candidates"] for row in rows] == [10, 7, 4, 3]
    assert [row["accepted"] for row in rows] == [9, 5, 0, 2]
    assert [row["rejected"] for row in rows] == [
        {"duplicate": 1},
        {"disconnected": 1, "not spanning": 1},
        {"duplicate": 3, "disconnected": 1},
        {"not mended": 1},
    ]
    # Every other cell of a shard is drainable: 2 + 2 + 1, 1 + 2 and 1.
    shares = [row["drainable"] for row in rows]
    np.testing.assert_allclose(shares, [5 / 9, 3 / 5, np.nan, 1 / 2])


def test_repeated_cells_count_as_rejected(contents):
    rows = tables.by_round(contents)
    assert [row["accepted"] for row in rows] == [8, 5, 0, 2]
    assert rows[0]["rejected"] == {"duplicate": 2}
    reachable = len(space.reachable_bins(*contents.recipe.volume_range))
    assert rows[-1]["coverage"] == pytest.approx(15 / reachable)


def test_coverage_and_least_nu_are_of_all_cells_so_far(contents):
    rows = tables.by_round(_all_kept(contents))
    reachable = len(space.reachable_bins(*contents.recipe.volume_range))
    # Each of the cells has a bin of its own.
    want = np.array([9, 14, 14, 16]) / reachable
    np.testing.assert_allclose([row["coverage"] for row in rows], want)
    want = np.array([5, 8, 8, 9]) / reachable
    np.testing.assert_allclose([row["drainable coverage"] for row in rows], want)
    nu = elasticity.moduli(contents.labels.constants)["nu"]
    want = [nu[:9].min(), nu[:14].min(), nu[:14].min(), nu.min()]
    np.testing.assert_array_equal([row["least nu"] for row in rows], want)


def _some(contents, index, manifests):
    """Return the contents of some cells and manifests alone, all cells kept."""
    labels = contents.labels
    few = store.Labels(
        labels.root,
        labels.n,
        labels.rows[index],
        [labels.records[i] for i in index],
        labels.constants[index],
        labels.volume[index],
    )
    kept = np.ones(len(index), bool)
    return contents._replace(labels=few, kept=kept, manifests=manifests)


def test_rounds_before_the_first_cell(contents):
    last = np.arange(len(contents.kept))[-2:]
    rows = tables.by_round(_some(contents, last, contents.manifests))
    assert [row["accepted"] for row in rows] == [0, 0, 0, 2]
    assert [row["coverage"] > 0 for row in rows] == [False, False, False, True]
    np.testing.assert_array_equal(
        np.isnan([row["least nu"] for row in rows]), [True, True, True, False]
    )


def test_rounds_that_are_not_finished(contents):
    # Shards 1 of round 0, 4 of round 1 and none of the others.
    found = np.flatnonzero(np.isin(contents.labels.rows // 4, [1, 4]))
    manifests = [contents.manifests[1], contents.manifests[4]]
    rows = tables.by_round(_some(contents, found, manifests))
    assert [(row["round"], row["aim"]) for row in rows] == [
        (0, "optimized"),
        (1, "everywhere"),
    ]
    assert [row["candidates"] for row in rows] == [4, 3]
    assert [row["accepted"] for row in rows] == [3, 3]
    assert [row["rejected"] for row in rows] == [{"duplicate": 1}, {}]
    assert tables.by_round(_some(contents, found[:0], [])) == []


def test_thickness_counts_every_kept_cell_once(contents):
    rows = tables.thickness(contents)
    assert sum(row["walls"] for row in rows) == contents.kept.sum()
    assert sum(row["gaps"] for row in rows) == contents.kept.sum()
    assert [row["from"] for row in rows[1:]] == [row["to"] for row in rows[:-1]]
    records = [contents.labels.records[i] for i in np.flatnonzero(contents.kept)]
    # There is none of the gaps of one cell.
    assert rows[-1]["gaps"] == sum(record["gap"] == 1.0 for record in records) == 1
    thin = [row for row in rows if row["from"] <= 0.045 < row["to"]]
    assert thin[0]["walls"] == sum(0.035 < r["wall"] < 0.05 for r in records)


def test_deviations_by_range_and_by_norm():
    constants = np.array([[0.3, 0.0, 0.4], [1.0, 0.0, 0.0]])
    off = np.array([[0.0, 0.0, -0.05], [0.0133, 0.0067, 0.0038]])
    found = tables.deviation(off, constants)
    np.testing.assert_allclose(found["% of the norm of C"][0], 10)
    np.testing.assert_allclose(found["% of range"][0], 100 * 0.05 / 0.383357 / 3)
    # A hundredth of each range, to three digits.
    np.testing.assert_allclose(found["% of range"][1], 1, rtol=5e-3)
    (row,) = tables.spread({"off": np.arange(11.0)})
    assert row == {"measure": "off", "median": 5.0, "90 %": 9.0, "most": 10.0}


def test_uncertainties_are_those_of_the_kept_cells(contents):
    found = tables.uncertainties(contents)["% of the norm of C"]
    constants, records = contents.labels.constants, contents.labels.records
    want = [
        100 * np.linalg.norm(records[i]["uncertainty"]) / np.linalg.norm(constants[i])
        for i in np.flatnonzero(contents.kept)
    ]
    np.testing.assert_allclose(found, want)


def _throughput(contents, numbers=range(7)):
    timings = {number: contents.timings[number] for number in numbers}
    return tables.throughput(timings, contents.manifests, contents.recipe)


def test_throughput_is_per_candidate_and_a_median(contents):
    rows = _throughput(contents)
    assert [(row["aim"], row["kind"]) for row in rows] == [
        ("optimized", "bulk_shear"),
        ("optimized", "plates"),
        ("everywhere", "everywhere"),
        ("poisson", "poisson"),
        ("proposed", "proposed"),
    ]
    stiff = rows[0]
    got = [stiff[stage] for stage in shard.STAGES]
    # Means of 20 and 10, 0.1 and 0.1, 1.8 and 1.0, 0.1 and 0.2 seconds.
    np.testing.assert_allclose(got, [15, 0.1, 1.4, 0.15])
    # 3.5 cells in half of 88 and 45.2 seconds.
    assert stiff["cells per hour and core"] == pytest.approx(3600 * 3.5 / 66.6)
    assert stiff["overhead"] == pytest.approx(0.25 / 16.4)


def test_overhead_is_what_is_beside_the_labels(contents):
    plates, everywhere, poisson, proposed = _throughput(contents)[1:]
    assert plates["overhead"] is None and proposed["overhead"] is None
    # Shards of 4 and 3 candidates: means of 0.1 and 0.1, 0.05 and 0.1, 2 and 1, ...
    assert everywhere["overhead"] == pytest.approx((0.1 + 0.075 + 0.075) / 1.5)
    assert poisson["overhead"] == pytest.approx(0.1)
    assert poisson["cells per hour and core"] == 0
    assert proposed["cells per hour and core"] == pytest.approx(3600 * 2 / 33.6)


def test_throughput_of_some_shards(contents):
    rows = _throughput(contents, (5, 1))
    assert [row["kind"] for row in rows] == ["bulk_shear", "poisson"]
    assert rows[0]["make"] == pytest.approx(10)
    assert _throughput(contents, ()) == []


def test_forecast_counts_what_is_missing():
    recipe = Recipe(
        n=32,
        shard_size=4,
        optimized=Optimized(**{**EMPTY, "bulk_shear": 8, "plates": 4}, steps=48),
        perturbed=Perturbed(4, (), ()),
    )
    rows = tables.forecast(recipe, [1, 3], pace=36.0, workers=2)
    names = ("round", "aim", "kind", "candidates")
    assert [[row[name] for name in names] for row in rows] == [
        [0, "optimized", "bulk_shear", 4],
        [1, "everywhere", "everywhere", 4],
    ]
    # Two workers, and a hundredth of an hour for each label.
    plan = recipe.plan()
    each = [shard.labels_worth(recipe, plan[i]) * 0.01 / 2 for i in (1, 3)]
    np.testing.assert_allclose([row["hours"] for row in rows], each)
