"""The report of a dataset: what is announced, the card, and the files."""

import csv
import json
import re
import types

import numpy as np
import pytest
from data_helpers import write_noise

from mmdiff.data import report, shard, store, tables
from mmdiff.data.recipe import Recipe
from mmdiff.data.spot_checks import SpotChecks
from mmdiff.errors import InputError

CHECKS = SpotChecks(
    ids=[0, 9],
    stored=np.array([[0.5, 0.2, 0.1], [0.3, 0.1, 0.1]]),
    uncertainty=np.full((2, 3), 0.01),
    fine=np.array([[0.52, 0.2, 0.1], [0.3, 0.1, 0.1]]),
    thin=np.array([0.002, 0.003]),
    seconds=1.5,
)
MACHINE = {"machine": "a {small} machine", "size_bytes": 12_340_000}


@pytest.fixture(scope="module")
def text(contents):
    return report.card(contents, **MACHINE, checks=CHECKS)


def _section(text, title):
    """Return the rows of the tables below a heading, headers first, lists of words."""
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def test_card_leaves_no_placeholder(text):
    outside = re.sub(r"```json\n.*?```", "", text, flags=re.DOTALL)
    assert "on a {small} machine." in " ".join(outside.split())
    assert not set("{}") & set(outside.replace("{small}", ""))
    assert "None" not in outside and "nan" not in outside.split()


def test_card_counts_cells_and_splits(text, contents):
    words = " ".join(text.split())
    assert "--- # Dataset card 15 unit cells with cubic symmetry" in words
    assert words.startswith("--- license: apache-2.0 pretty_name: mmdiff unit cells")
    assert "on 8^3 samples of the octant, of which the 120 independent" in words
    assert "surfaces (12.3 MB): 8 by topology optimization" in words
    # Number 6 of round 0 is left out.
    assert "5 by smooth random deformation" in words
    assert "2 proposed by a trained model" in words and "mended and" not in words
    assert "shards were not finished" not in words
    assert "largest of the stored cells 7.0e-06" in words
    pairs = zip(contents.labels.records, contents.kept, strict=True)
    kept = [record for record, kept in pairs if kept]
    families = len({record["family"] for record in kept})
    counts = [sum(record["split"] == i for record in kept) for i in range(3)]
    assert f"{families} families): {counts[0]} train, {counts[1]} validation" in words
    assert f"{counts[2]} test. 3 training cells form" in words


def test_card_states_the_range_of_every_property(text, contents):
    header, *rows = _section(text, "Properties")
    assert header == ["property", "min", "median", "max"]
    labels, kept = contents.labels, contents.kept
    values = tables.columns(labels.constants[kept], labels.volume[kept])
    assert [row[0] for row in rows] == list(values)
    for (_, *numbers), value in zip(rows, values.values(), strict=True):
        want = [value.min(), np.median(value), value.max()]
        # Four digits.
        np.testing.assert_allclose([float(x) for x in numbers], want, rtol=6e-4)


def test_card_states_what_printers_ask(text, contents):
    drainable = contents.labels.drainable[contents.kept]
    assert f"{100 * drainable.mean():.1f} % are drainable" in text
    _, *rows = _section(text, "Walls and gaps")
    want = [[row["walls"], row["gaps"]] for row in tables.thickness(contents)]
    assert [[int(row[2]), int(row[3])] for row in rows] == want


def test_card_states_how_far_labels_may_be_off_and_are(text, contents):
    rows = _section(text, "Labels")
    stated = [row for row in rows[1:3]]
    want = tables.spread(tables.uncertainties(contents))
    for row, values in zip(stated, want, strict=True):
        assert row[0] == values["measure"]
        numbers = [values[name] for name in ("median", "90 %", "most")]
        # Four digits.
        np.testing.assert_allclose([float(x) for x in row[1:]], numbers, rtol=6e-4)
    # One constant of six is off, by 0.02 of 1.33.
    assert "2 cells, evenly chosen, were homogenized once more on 8 and 16" in text
    assert float(rows[4][3]) == pytest.approx(100 * 0.02 / 1.330768 / 3, rel=1e-3)
    assert "83.3 % of the constants are within" in text
    assert "each sample, 0.25 % are in features one voxel thick" in text


def test_card_without_checks_says_nothing_of_them(contents):
    text = report.card(contents, **MACHINE)
    assert "evenly chosen" not in text and len(_section(text, "Labels")) == 3


def test_card_of_what_is_finished_and_of_cells_of_an_earlier_dataset(contents):
    labels = contents.labels
    records = [dict(record, aim="given") for record in labels.records[:4]]
    few = store.Labels(
        labels.root,
        labels.n,
        labels.rows[:4],
        records,
        labels.constants[:4],
        labels.volume[:4],
    )
    begun = contents._replace(
        labels=few,
        timings={0: contents.timings[0]},
        manifests=contents.manifests[:1],
        kept=contents.kept[:4],
        selected=contents.selected[:4],
    )
    words = " ".join(report.card(begun, **MACHINE).split())
    assert "4 of an earlier dataset, mended and labelled anew. Each is" in words
    assert "6 shards were not finished." in words


def test_card_of_a_part_says_what_is_there(contents, tmp_path):
    root = write_noise(tmp_path / "data.zarr", [0, 0, 1, 2, 0])
    part = store.read_labels(root)
    text = report.card(contents, **MACHINE, extract=part)
    words = " ".join(text.split())
    assert "**This folder holds 5 of them** (12.3 MB): 3 training cells" in words
    assert "1 of validation and 1 of test" in words
    assert f"`{store.dataset_hash(store.read_manifests(root))}`" in text
    assert f"`{store.dataset_hash(contents.manifests)}`" in text


def test_card_counts_rounds_and_rejections(text):
    rows = _section(text, "Rounds")
    rounds = [row for row in rows if len(row) == 8][1:]
    assert [row[:4] for row in rounds] == [
        ["0", "optimized", "10", "8"],
        ["1", "everywhere", "7", "5"],
        ["2", "poisson", "4", "0"],
        ["3", "proposed", "3", "2"],
    ]
    assert [row[4] for row in rounds] == ["50.0 %", "60.0 %", "", "50.0 %"]
    assert all(row[i].endswith(" %") for row in rounds for i in (5, 6))
    header, *rejected = [row for row in rows if len(row) == 2]
    assert header[0].startswith("of 24 candidates")
    # Four when the shards were made, one when the dataset was closed.
    counts = {"disconnected": 2, "duplicate": 5, "not mended": 1, "not spanning": 1}
    assert {name: int(count) for name, count in rejected} == counts
    assert 24 - sum(counts.values()) == 15


def test_card_states_times(text, contents):
    seconds = sum(t[s] for t in contents.timings.values() for s in shard.STAGES)
    assert f"{seconds / 3600:.2f} core hours" in text
    _, *rows = _section(text, "Time")
    kinds = ["bulk_shear", "plates", "everywhere", "poisson", "proposed"]
    assert [row[1] for row in rows] == kinds
    assert rows[0][2:] == ["15", "0.1", "1.4", "0.15", "189", "2 %"]
    assert [row[-1] for row in rows] == ["2 %", "", "17 %", "10 %", ""]


def test_card_names_content_and_recipe(text, contents):
    assert f"`{store.dataset_hash(contents.manifests)}`" in text
    assert f"Recipe {contents.recipe.digest()}:" in text
    settings = text.split("```json\n")[1].split("```")[0]
    assert Recipe.from_dict(json.loads(settings)) == contents.recipe


def test_full_disk_is_said_before_anything_is_made(tmp_path, monkeypatch, capsys):
    full = types.SimpleNamespace(free=1000)
    monkeypatch.setattr(report.shutil, "disk_usage", lambda _: full)
    recipe = Recipe(n=8, shard_size=4)
    with pytest.raises(InputError, match="has 0.001 MB free and this dataset may take"):
        report.announce(recipe, tmp_path / "data.zarr", [0], 0.1, 2)
    out = capsys.readouterr().out
    (row,) = tables.forecast(recipe, [0], 0.1, 2)
    hours = f"{row['hours']:.2g} h with 2 workers"
    assert f"4 candidates of 16^3 samples in 1 shards: about {hours}" in out


def test_files_of_a_dataset(contents, tmp_path, no_matplotlib):
    root = write_noise(tmp_path / "data.zarr", [0] * 7)
    # Fields of another dataset: those of the first cells are enough for pictures.
    labels, some = contents.labels, slice(0, 7)
    labels = store.Labels(
        root,
        8,
        np.arange(7),
        labels.records[some],
        labels.constants[some],
        labels.volume[some],
    )
    few = contents._replace(
        labels=labels, kept=contents.kept[some], selected=contents.selected[some]
    )
    target = {"C11": 0.1, "C12": 0.05, "C44": 0.02, "V": 0.3}
    assert report.write(tmp_path, few, [target], CHECKS) == [report.NO_PLOTS]
    with (tmp_path / "labels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert (
        tmp_path / "targets.csv"
    ).read_text() == "C11,C12,C44,V\n0.1,0.05,0.02,0.3\n"
    assert json.loads((tmp_path / "splits.json").read_text()) == tables.splits(few)
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) / 1e6
    assert f"({size:.1f} MB)" in (tmp_path / "DATASET_CARD.md").read_text()
    # Pictures alone need no matplotlib.
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "sheet.png",
        "auxetic.png",
    }
