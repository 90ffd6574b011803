"""Tables and the card of a dataset, from labels and timings made by hand."""

import json
import pathlib
import re

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.data import card, report, space, store
from mmdiff.data.recipe import Optimized, Perturbed, Proposed, Recipe

EMPTY = dict.fromkeys(Optimized().counts(), 0)
RECIPE = Recipe(
    n=8,
    shard_size=4,
    optimized=Optimized(**{**EMPTY, "bulk_shear": 8, "plates": 2}),
    perturbed=Perturbed(everywhere=7, poisson=(4,), joint=()),
    proposed=Proposed(count=3),
    seed=5,
)
# Accepted cells and rejected candidates of each shard.
ACCEPTED = (4, 3, 2, 2, 3, 0, 2)
REJECTED = (
    {},
    {"duplicate": 1},
    {},
    {"disconnected": 1, "not spanning": 1},
    {},
    {"duplicate": 3, "disconnected": 1},
    {"unconverged": 1},
)
COUNT = sum(ACCEPTED)
KEPT = np.arange(COUNT) != 6
EVERY = np.ones(COUNT, bool)
SELECTED = np.isin(np.arange(COUNT), [0, 3, 9])


def _timing(make, clean, label, check, candidates):
    spent = {"make": make, "clean": clean, "label": label, "check": check}
    return {**spent, "candidates": candidates, "labels": candidates}


TIMINGS = {
    0: _timing(80.0, 0.4, 7.2, 0.4, 4),
    1: _timing(40.0, 0.4, 4.0, 0.8, 4),
    2: _timing(0.2, 0.2, 4.0, 0.2, 2),
    3: _timing(0.4, 0.2, 8.0, 0.2, 4),
    4: _timing(0.3, 0.3, 3.0, 0.3, 3),
    5: _timing(0.4, 0.4, 8.0, 0.0, 4),
    6: _timing(30.0, 0.3, 3.0, 0.3, 3),
}


@pytest.fixture(scope="module")
def manifests():
    found, plan = [], RECIPE.plan()
    for shard, count in enumerate(ACCEPTED):
        records = [
            {
                "id": 4 * shard + i,
                "round": plan[shard].round,
                "aim": plan[shard].aim,
                "parent": None if shard < 3 else i,
                "family": 4 * shard + i if shard < 3 else i,
                "split": (0, 1, 2, 0)[i],
                "residual": 1e-6 * (1 + shard),
            }
            for i in range(count)
        ]
        found.append(
            {
                "shard": shard,
                "count": count,
                "sha256": f"{shard:064d}",
                "rejected": REJECTED[shard],
                "records": records,
            }
        )
    found[0]["records"][1]["objective"] = [1.0, 0.0, 0.0]
    found[0]["records"][2]["target"] = [0.5, 0.2, 0.1]
    return found


@pytest.fixture(scope="module")
def labels(manifests):
    rng = np.random.default_rng(0)
    reachable = space.reachable_bins(*RECIPE.volume_range)
    index = rng.choice(reachable, COUNT, replace=False)
    points = space.draw_in_bins(rng, index, RECIPE.volume_range)
    rows = [4 * m["shard"] + i for m in manifests for i in range(m["count"])]
    records = [record for manifest in manifests for record in manifest["records"]]
    root = pathlib.Path("data.zarr")
    return store.Labels(root, np.array(rows), records, points[:, :3], points[:, 3])


@pytest.fixture(scope="module")
def text(labels, manifests):
    return card.card(
        labels,
        RECIPE,
        manifests,
        TIMINGS,
        KEPT,
        SELECTED,
        machine="a {small} machine",
        size_bytes=12_340_000,
    )


def _section(text, title):
    """Return the rows of numbers of the tables below a heading, as lists of words."""
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def test_plan_of_these_tests():
    counts = [shard.count for shard in RECIPE.plan()]
    assert counts == [4, 4, 2, 4, 3, 4, 3]
    rejected = [sum(found.values()) for found in REJECTED]
    assert [c - r for c, r in zip(counts, rejected, strict=True)] == list(ACCEPTED)


def test_label_rows_are_those_of_the_kept_cells(labels):
    rows = report.label_rows(labels, RECIPE, KEPT, SELECTED)
    assert [row["id"] for row in rows] == [
        record["id"] for record, kept in zip(labels.records, KEPT, strict=True) if kept
    ]
    moduli = elasticity.moduli(labels.constants)
    for row, i in zip(rows, np.flatnonzero(KEPT), strict=True):
        record = labels.records[i]
        for name in ("round", "aim", "parent", "family", "residual"):
            assert row[name] == record[name]
        assert row["row"] == labels.rows[i]
        assert row["split"] == ("train", "validation", "test")[record["split"]]
        assert row["selected"] == SELECTED[i]
        assert [row["C11"], row["C12"], row["C44"]] == labels.constants[i].tolist()
        assert row["V"] == labels.volume[i]
        assert {name: row[name] for name in moduli} == {
            name: value[i] for name, value in moduli.items()
        }
        assert row["recipe"] == RECIPE.digest()
        assert (row["seed"], row["tol"]) == (5, 1e-5)


def test_label_rows_can_be_written(labels):
    rows = report.label_rows(labels, RECIPE, KEPT, SELECTED)
    assert len({tuple(row) for row in rows}) == 1
    assert json.loads(json.dumps(rows)) == rows


def test_label_rows_say_what_was_asked(labels):
    asked = [row["asked"] for row in report.label_rows(labels, RECIPE, KEPT, SELECTED)]
    assert json.loads(asked[1]) == {"objective": [1.0, 0.0, 0.0]}
    assert json.loads(asked[2]) == {"target": [0.5, 0.2, 0.1]}
    assert set(asked[:1] + asked[3:]) == {""}


def test_splits_hold_every_kept_cell_once(labels):
    found = report.splits(labels, KEPT, SELECTED)
    ids = [record["id"] for record in labels.records]
    parts = [found[name] for name in report.SPLITS]
    assert sorted(sum(parts, [])) == np.array(ids)[KEPT].tolist()
    for number, part in enumerate(parts):
        own = {record["id"] for record in labels.records if record["split"] == number}
        assert part and set(part) <= own
    assert found["selected"] == [ids[0], ids[3], ids[9]]
    assert json.loads(json.dumps(found)) == found


def test_rounds_add_up(labels, manifests):
    rows = report.by_round(labels, RECIPE, manifests, EVERY)
    aims = ["optimized", "everywhere", "poisson", "proposed"]
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    assert [row["aim"] for row in rows] == aims
    assert [row["candidates"] for row in rows] == [10, 7, 4, 3]
    assert [row["accepted"] for row in rows] == [9, 5, 0, 2]
    assert [row["rejected"] for row in rows] == [
        {"duplicate": 1},
        {"disconnected": 1, "not spanning": 1},
        {"duplicate": 3, "disconnected": 1},
        {"unconverged": 1},
    ]


def test_repeated_cells_count_as_rejected(labels, manifests):
    rows = report.by_round(labels, RECIPE, manifests, KEPT)
    assert [row["accepted"] for row in rows] == [8, 5, 0, 2]
    assert rows[0]["rejected"] == {"duplicate": 2}
    reachable = len(space.reachable_bins(*RECIPE.volume_range))
    assert rows[-1]["coverage"] == pytest.approx(15 / reachable)


def test_coverage_and_least_nu_are_of_all_cells_so_far(labels, manifests):
    rows = report.by_round(labels, RECIPE, manifests, EVERY)
    reachable = len(space.reachable_bins(*RECIPE.volume_range))
    # Each of the cells has a bin of its own.
    want = np.array([9, 14, 14, 16]) / reachable
    np.testing.assert_allclose([row["coverage"] for row in rows], want)
    nu = elasticity.moduli(labels.constants)["nu"]
    want = [nu[:9].min(), nu[:14].min(), nu[:14].min(), nu.min()]
    np.testing.assert_array_equal([row["least nu"] for row in rows], want)


def test_coverage_never_falls(manifests):
    rng = np.random.default_rng(1)
    reachable = space.reachable_bins(*RECIPE.volume_range)
    records = [record for manifest in manifests for record in manifest["records"]]
    for _ in range(5):
        points = space.draw_in_bins(
            rng, rng.choice(reachable[:12], COUNT), RECIPE.volume_range
        )
        labels = store.Labels(
            pathlib.Path(), np.arange(COUNT), records, points[:, :3], points[:, 3]
        )
        rows = report.by_round(labels, RECIPE, manifests, EVERY)
        covered = np.array([row["coverage"] for row in rows])
        least = np.array([row["least nu"] for row in rows])
        assert (np.diff(covered) >= 0).all() and (np.diff(least) <= 0).all()
        assert covered[0] < len(records) / len(reachable)


def test_rounds_before_the_first_cell(labels, manifests):
    last = np.arange(COUNT)[-2:]
    few = store.Labels(
        labels.root,
        labels.rows[last],
        [labels.records[i] for i in last],
        labels.constants[last],
        labels.volume[last],
    )
    rows = report.by_round(few, RECIPE, manifests, np.ones(len(few.records), bool))
    assert [row["accepted"] for row in rows] == [0, 0, 0, 2]
    assert [row["coverage"] > 0 for row in rows] == [False, False, False, True]
    np.testing.assert_array_equal(
        np.isnan([row["least nu"] for row in rows]), [True, True, True, False]
    )


def test_throughput_is_per_candidate_and_a_median(manifests):
    rows = report.throughput(TIMINGS, manifests, RECIPE)
    assert [(row["aim"], row["kind"]) for row in rows] == [
        ("optimized", "bulk_shear"),
        ("optimized", "plates"),
        ("everywhere", "everywhere"),
        ("poisson", "poisson"),
        ("proposed", "proposed"),
    ]
    stiff = rows[0]
    got = [stiff[stage] for stage in report.STAGES]
    # Means of 20 and 10, 0.1 and 0.1, 1.8 and 1.0, 0.1 and 0.2 seconds.
    np.testing.assert_allclose(got, [15, 0.1, 1.4, 0.15])
    # 3.5 cells in half of 88 and 45.2 seconds.
    assert stiff["cells per hour and core"] == pytest.approx(3600 * 3.5 / 66.6)
    assert stiff["overhead"] == pytest.approx(0.25 / 16.4)


def test_overhead_is_what_is_beside_the_labels(manifests):
    plates, everywhere, poisson, proposed = report.throughput(
        TIMINGS, manifests, RECIPE
    )[1:]
    assert plates["overhead"] is None and proposed["overhead"] is None
    # Shards of 4 and 3 candidates: means of 0.1 and 0.1, 0.05 and 0.1, 2 and 1, ...
    assert everywhere["overhead"] == pytest.approx((0.1 + 0.075 + 0.075) / 1.5)
    assert poisson["overhead"] == pytest.approx(0.1)
    assert poisson["cells per hour and core"] == 0
    assert proposed["cells per hour and core"] == pytest.approx(3600 * 2 / 33.6)


def test_throughput_of_some_shards(manifests):
    some = {shard: TIMINGS[shard] for shard in (5, 1)}
    rows = report.throughput(some, manifests, RECIPE)
    assert [row["kind"] for row in rows] == ["bulk_shear", "poisson"]
    assert rows[0]["make"] == pytest.approx(10)
    assert report.throughput({}, manifests, RECIPE) == []


def test_card_leaves_no_placeholder(text):
    outside = re.sub(r"```json\n.*?```", "", text, flags=re.DOTALL)
    assert "on a {small} machine." in " ".join(outside.split())
    assert not set("{}") & set(outside.replace("{small}", ""))
    assert "None" not in outside and "nan" not in outside.split()


def test_card_counts_cells(text):
    words = " ".join(text.split())
    assert words.startswith("# Dataset card 15 binary unit cells of 16^3 voxels")
    assert "octants of 8^3 voxels" in words and "constants (12.3 MB)" in words
    # Number 6 of round 0 is left out.
    assert "8 by topology optimization" in words
    assert "5 by smooth random deformation" in words
    assert "2 proposed by a trained model" in words
    assert "largest of the stored cells 7.0e-06" in words


def test_card_counts_splits(text, labels):
    words = " ".join(text.split())
    kept = [record for record, k in zip(labels.records, KEPT, strict=True) if k]
    families = len({record["family"] for record in kept})
    counts = [sum(record["split"] == i for record in kept) for i in range(3)]
    assert f"{families} families): {counts[0]} train, {counts[1]} validation" in words
    assert f"{counts[2]} test. 3 training cells form" in words


def test_card_states_the_range_of_every_property(text, labels):
    rows = _section(text, "Properties")[1:]
    values = report.columns(labels.constants[KEPT], labels.volume[KEPT])
    assert [row[0] for row in rows] == list(values)
    for (_, *numbers), value in zip(rows, values.values(), strict=True):
        want = [value.min(), np.median(value), value.max()]
        # Four digits.
        np.testing.assert_allclose([float(x) for x in numbers], want, rtol=6e-4)


def test_card_counts_rounds_and_rejections(text):
    rows = _section(text, "Rounds")
    rounds = [row for row in rows if len(row) == 6][1:]
    assert [row[:4] for row in rounds] == [
        ["0", "optimized", "10", "8"],
        ["1", "everywhere", "7", "5"],
        ["2", "poisson", "4", "0"],
        ["3", "proposed", "3", "2"],
    ]
    header, *rejected = [row for row in rows if len(row) == 2]
    assert header[0].startswith("of 24 candidates")
    # Four when the shards were made, one when the dataset was closed.
    counts = {"disconnected": 2, "duplicate": 5, "not spanning": 1, "unconverged": 1}
    assert {name: int(count) for name, count in rejected} == counts
    assert 24 - sum(counts.values()) == KEPT.sum()


def test_card_states_times(text):
    seconds = sum(sum(t[s] for s in report.STAGES) for t in TIMINGS.values())
    assert f"{seconds / 3600:.2f} core hours" in text
    rows = _section(text, "Time")[1:]
    kinds = ["bulk_shear", "plates", "everywhere", "poisson", "proposed"]
    assert [row[1] for row in rows] == kinds
    assert rows[0][2:] == ["15", "0.1", "1.4", "0.15", "189", "2 %"]
    assert [row[-1] for row in rows] == ["2 %", "", "17 %", "10 %", ""]


def test_card_names_content_and_recipe(text, manifests):
    assert f"`{store.dataset_hash(manifests)}`" in text
    assert f"Recipe {RECIPE.digest()}:" in text
    settings = text.split("```json\n")[1].split("```")[0]
    assert Recipe.from_dict(json.loads(settings)) == RECIPE
