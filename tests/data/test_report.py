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
from mmdiff.errors import InputError


@pytest.fixture(scope="module")
def text(contents):
    return report.card(contents, machine="a {small} machine", size_bytes=12_340_000)


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
    assert words.startswith("# Dataset card 15 binary unit cells of 16^3 voxels")
    assert "octants of 8^3 voxels" in words and "constants (12.3 MB)" in words
    # Number 6 of round 0 is left out.
    assert "8 by topology optimization" in words
    assert "5 by smooth random deformation" in words
    assert "2 proposed by a trained model" in words
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


def test_card_counts_rounds_and_rejections(text):
    rows = _section(text, "Rounds")
    rounds = [row for row in rows if len(row) == 6][1:]
    assert [row[:4] for row in rounds] == [
        ["0", "optimized", "10", "8"],
        ["1", "everywhere", "7", "5"],
        ["2", "poisson", "4", "0"],
        ["3", "proposed", "3", "2"],
    ]
    assert all(row[4].endswith(" %") for row in rounds)
    header, *rejected = [row for row in rows if len(row) == 2]
    assert header[0].startswith("of 24 candidates")
    # Four when the shards were made, one when the dataset was closed.
    counts = {"disconnected": 2, "duplicate": 5, "not spanning": 1, "unconverged": 1}
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
    # 4 candidates of 1 + 0.3 * 48 and some homogenizations, two at a time.
    assert "4 candidates of 16^3 voxels in 1 shards: about 0.00087 h" in out


def test_files_of_a_dataset(contents, tmp_path, no_matplotlib):
    root = write_noise(tmp_path / "data.zarr", [0] * 7)
    # Octants of another dataset: those of the first cells are enough for pictures.
    labels, some = contents.labels, slice(0, 7)
    labels = store.Labels(
        root,
        np.arange(7),
        labels.records[some],
        labels.constants[some],
        labels.volume[some],
    )
    few = contents._replace(
        labels=labels, kept=contents.kept[some], selected=contents.selected[some]
    )
    target = {"C11": 0.1, "C12": 0.05, "C44": 0.02, "V": 0.3}
    assert report.write(tmp_path, few, [target]) == [report.NO_PLOTS]
    with (tmp_path / "labels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert (
        tmp_path / "targets.csv"
    ).read_text() == "C11,C12,C44,V\n0.1,0.05,0.02,0.3\n"
    assert json.loads((tmp_path / "splits.json").read_text()) == tables.splits(few)
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) / 1e6
    assert f"({size:.1f} MB)" in (tmp_path / "DATASET_CARD.md").read_text()
    # Pictures alone need no matplotlib.
    assert {path.name for path in tmp_path.glob("*.png")} == {"sheet.png"}
