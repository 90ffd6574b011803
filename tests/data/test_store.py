"""Dataset files: round trip, and every kind of damage is noticed and named."""

import json
import os
import shutil

import numpy as np
import pytest
from data_helpers import random_packed

from mmdiff import assets, checksums
from mmdiff.cells import distance
from mmdiff.cells.symmetry import num_independent
from mmdiff.data import dataset, store
from mmdiff.errors import DataError

N, SIZE, SHARDS = 4, 3, 4
M = num_independent(N)
RECIPE = {"seed": 5, "optimized": {"steps": 6}}
BASE = {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}


def _shard(number, count=SIZE):
    rng = np.random.default_rng(number)
    records = [
        {
            "id": SIZE * number + i,
            "split": i % 3,
            "uncertainty": [0.01 * i, 0.02, 0.03],
            "trapped": 0.25 * i,
        }
        for i in range(count)
    ]
    return {
        "packed": random_packed(N, count, number),
        "constants": rng.random((count, 3)),
        "volume": rng.random(count),
        "records": records,
    }


def _arrays(*parts):
    """Return fields, constants and volumes of shards one after the other."""
    names = ("packed", "constants", "volume")
    return [np.concatenate([part[name] for part in parts]) for name in names]


def _create(root, **changes):
    layout = {"n": N, "shards": SHARDS, "shard_size": SIZE, "base": BASE}
    store.create(root, **{**layout, "recipe": RECIPE, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A dataset with shard 1 not full, shard 2 empty and shard 3 not begun."""
    root = tmp_path_factory.mktemp("store") / "data.zarr"
    _create(root)
    for number, count in ((0, SIZE), (1, 2), (2, 0)):
        store.write_shard(
            root, number, **_shard(number, count), rejected={"duplicate": number}
        )
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written, tmp_path / "data.zarr")


def test_round_trip(written):
    data = dataset.load_dataset(written)
    parts = [_shard(0), _shard(1, 2)]
    assert data.packed.dtype == np.int8 and data.constants.dtype == np.float64
    for got, want in zip(data[:3], _arrays(*parts), strict=True):
        np.testing.assert_array_equal(got, want)
    info = data.info
    assert info["records"] == parts[0]["records"] + parts[1]["records"]
    np.testing.assert_array_equal(info["split"], [0, 1, 2, 0, 1])
    assert info["base"] == BASE and data.n == info["n"] == N
    assert [m["count"] for m in info["manifests"]] == [3, 2, 0]
    assert info["manifests"][1]["rejected"] == {"duplicate": 1}
    np.testing.assert_array_equal(info["uncertainty"][:, 0], [0, 0.01, 0.02, 0, 0.01])
    np.testing.assert_array_equal(data.drainable, [True, False, False, True, False])


def test_fields_and_octants_are_those_of_the_samples(written):
    data = dataset.load_dataset(written)
    fields, octants = data.fields(), data.octants()
    np.testing.assert_array_equal(fields, distance.unpack(data.packed, N))
    np.testing.assert_array_equal(octants, fields > 0)
    assert octants.dtype == np.uint8
    np.testing.assert_array_equal(data.fields([3, 1]), fields[[3, 1]])
    np.testing.assert_array_equal(data.octants(2), octants[2])


def test_directory_above_is_found(written):
    assert len(dataset.load_dataset(written.parent).packed) == 5
    assert len(dataset.load_dataset(str(written)).packed) == 5


def test_arrays_are_plain_zarr_with_one_file_per_shard(written):
    meta = json.loads((written / "field" / "zarr.json").read_text())
    assert meta["zarr_format"] == 3 and meta["shape"] == [SHARDS * SIZE, M]
    files = [p for p in written.glob("field/c/**/*") if p.is_file()]
    names = {str(p.relative_to(written / "field" / "c")) for p in files}
    # An empty shard may be stored or not; manifests tell what is there.
    assert {"0/0", "1/0"} <= names <= {f"{i}/0" for i in range(3)}


def test_selection_leaves_duplicates_out(root):
    store.write_selection(root, {"duplicates": [1, 4], "selected": [0, 3]})
    packed, constants, _, info = dataset.load_dataset(root)
    assert len(packed) == len(constants) == len(info["uncertainty"]) == 3
    assert [r["id"] for r in info["records"]] == [0, 2, 3]
    np.testing.assert_array_equal(info["selected"], [True, False, True])


def test_without_selection_every_cell_counts(written):
    assert dataset.load_dataset(written)[3]["selected"].all()


def test_create_twice_is_allowed_for_the_same_layout_only(root):
    before = sorted(root.rglob("*"))
    _create(root)
    assert sorted(root.rglob("*")) == before
    with pytest.raises(DataError, match="Choose another --workdir"):
        _create(root, n=8)
    with pytest.raises(DataError, match="this run has .*'void': 0.001"):
        _create(root, base={**BASE, "void": 1e-3})
    with pytest.raises(DataError, match="its recipe is .*Choose another --workdir"):
        _create(root, recipe={**RECIPE, "seed": 6})


def test_older_format_is_named(root):
    layout = json.loads((root / "layout.json").read_text())
    (root / "layout.json").write_text(json.dumps({**layout, "format": 1}))
    with pytest.raises(DataError, match="is of format 1, this version reads format 3"):
        dataset.load_dataset(root)


def test_labels_leave_the_fields_on_disk(root):
    labels = store.read_labels(root)
    data = dataset.load_dataset(root)
    np.testing.assert_array_equal(labels.constants, data.constants)
    np.testing.assert_array_equal(labels.volume, data.volume)
    assert labels.records == data.info["records"] and labels.n == N
    np.testing.assert_array_equal(labels.rows, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(labels.split, data.info["split"])
    np.testing.assert_array_equal(labels.drainable, data.drainable)
    some = [4, 0, 4]
    np.testing.assert_array_equal(labels.packed(some), data.packed[some])
    np.testing.assert_array_equal(labels.fields(some), data.fields(some))
    assert len(store.read_labels(root, [1]).records) == 2
    assert len(store.read_labels(root, []).records) == 0
    (file,) = _files(root, "field", 0)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="rows 0 to 4 fail their checksum"):
        store.read_labels(root).packed([0, 4])


def test_missing_and_damaged_shards(root):
    assert store.missing(root) == [3] and store.damaged(root) == {}
    (file,) = _files(root, "constants", 1)
    file.write_bytes(bytes(len(file.read_bytes())))
    assert list(store.damaged(root)) == [1]
    assert "shard constants/c/1/0 fails" in store.damaged(root)[1]
    # What is left without it can still be read.
    packed, _, _, info = dataset.load_dataset(root, skip_bad=True)
    np.testing.assert_array_equal(packed, _shard(0)["packed"])
    assert info["skipped"] == [store.damaged(root)[1]]
    store.forget(root, 1)
    assert store.missing(root) == [1, 3] and store.damaged(root) == {}
    assert not [p for p in root.glob("*/c/1/**/*") if p.is_file()]
    store.write_shard(root, 1, **_shard(1, 2), rejected={"duplicate": 1})
    assert len(dataset.load_dataset(root)[0]) == 5


def test_timings_stand_beside_the_manifests(root):
    before = store.dataset_hash(store.read_manifests(root))
    parts = _shard(0)
    store.write_shard(
        root, 0, **parts, rejected={"duplicate": 0}, timing={"label": 2.0}
    )
    assert store.read_timings(root) == {0: {"label": 2.0}}
    assert store.read_timings(root, [1]) == {}
    assert store.dataset_hash(store.read_manifests(root)) == before


def test_plain_zarr_reads_it(written):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(written), mode="r")
    np.testing.assert_array_equal(group["field"][:3], _shard(0)["packed"])
    np.testing.assert_array_equal(group["constants"][3:5], _shard(1, 2)["constants"])


def test_arrays_without_manifest_do_not_count(root):
    # What a writer leaves that was killed before its last step.
    store.manifest_path(root, 0).unlink()
    (root / "manifests" / "shard_00003.json.77.tmp").write_text('{"shard": 3')
    packed, _, _, info = dataset.load_dataset(root)
    np.testing.assert_array_equal(packed, _shard(1, 2)["packed"])
    assert [m["shard"] for m in info["manifests"]] == [1, 2]


def test_manifest_is_written_after_the_arrays(root, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write_shard(root, 3, **_shard(3), rejected={})
    assert not store.manifest_path(root, 3).exists()
    assert len(list(root.glob("field/c/3/*"))) == 1
    assert len(dataset.load_dataset(root)[0]) == 5


def _files(root, name, shard):
    return [p for p in root.glob(f"{name}/c/{shard}/**/*") if p.is_file()] or [
        root / name / "c" / str(shard)
    ]


@pytest.mark.parametrize("name", ["field", "constants", "volume"])
def test_flipped_byte_names_the_shard(root, name):
    (file,) = _files(root, name, 0)
    data = file.read_bytes()
    path = str(file.relative_to(root))
    # Chunks, their checksums and the index; every byte counts in a full shard.
    for position in np.linspace(0, len(data) - 1, 12).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 4
        file.write_bytes(damaged)
        with pytest.raises(
            DataError, match=f"shard {path} fails its checksum; 3 of 5 cells"
        ):
            dataset.load_dataset(root)
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="fails its checksum"):
        dataset.load_dataset(root)
    file.write_bytes(data)
    assert len(dataset.load_dataset(root)[0]) == 5


@pytest.mark.parametrize("name", ["field", "constants", "volume"])
def test_missing_shard_file_is_not_read_as_zeros(root, name):
    (file,) = _files(root, name, 1)
    file.unlink()
    with pytest.raises(DataError, match="shard 1 does not match the hash"):
        dataset.load_dataset(root)


def test_wrong_count_in_a_manifest_is_noticed(root):
    path = store.manifest_path(root, 1)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "count": 1}))
    with pytest.raises(DataError, match="shard_00001.json is damaged: it does not"):
        dataset.load_dataset(root)


JSON = ["layout.json", "selection.json", "manifests/shard_00001.json", store.CONTENT]


@pytest.fixture
def closed(root):
    store.write_selection(root, {"duplicates": [1], "selected": [0, 3]})
    return root


@pytest.mark.parametrize("name", JSON)
def test_every_flipped_bit_of_a_closed_dataset_is_noticed(closed, name):
    content = (closed / name).read_bytes()
    assert checksums.flaws(closed / store.CONTENT) == {}
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        (closed / name).write_bytes(damaged)
        assert checksums.flaws(closed / store.CONTENT), i
    for damaged in (b"", b"\xff", content[: len(content) // 2]):
        (closed / name).write_bytes(damaged)
        with pytest.raises(DataError, match="Rerun configs/dataset.py|--workdir"):
            dataset.load_dataset(closed)
    (closed / name).unlink()
    if name == store.CONTENT:  # as before it was closed
        assert len(dataset.load_dataset(closed).volume) == 4
    elif name == "layout.json":
        with pytest.raises(DataError, match="no dataset at"):
            dataset.load_dataset(closed)
    else:
        with pytest.raises(DataError, match=f"{name} is missing. Rerun"):
            dataset.load_dataset(closed)


def test_a_damaged_manifest_can_be_left_out_and_its_shard_made_again(closed):
    path = store.manifest_path(closed, 1)
    for content in (path.read_text().replace('"split": 0', '"split": 1'), "[]"):
        path.write_text(content)
        with pytest.raises(DataError, match="shard_00001.json is damaged"):
            dataset.load_dataset(closed)
        data = dataset.load_dataset(closed, skip_bad=True)
        assert [record["id"] for record in data.info["records"]] == [0, 2]
        assert [m["shard"] for m in data.info["manifests"]] == [0, 2]
        assert len(data.info["skipped"]) == 1
        # Before it is closed, too.
        assert list(store.damaged(closed)) == [1]
        with pytest.raises(DataError, match="shard_00001.json is damaged"):
            store.read_labels(closed)


def test_manifests_of_earlier_versions_are_read(root):
    before = store.read_manifests(root)
    path = store.manifest_path(root, 1)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "digest"}))
    assert store.read_manifests(root) == before


def test_the_shipped_cells_are_those_that_were_closed():
    root = assets.dataset_path() / "data.zarr"
    expected = checksums.listing(root, store.json_files(root))
    assert (root / store.CONTENT).read_text() == expected
    assert (root / store.CONTENT).stat().st_size < 2000


@pytest.mark.parametrize("name", ["layout.json", "manifests/shard_00001.json"])
def test_damaged_json_is_named(root, name):
    (root / name).write_text((root / name).read_text()[:20])
    with pytest.raises(DataError, match=f"{name} is damaged"):
        dataset.load_dataset(root)


def test_unfinished_shard_is_named(root):
    with pytest.raises(DataError, match="shard_00003.json is missing"):
        store.read_manifests(root, [0, 3])


def test_missing_array_is_named(root):
    shutil.rmtree(root / "constants")
    with pytest.raises(DataError, match="constants cannot be opened"):
        dataset.load_dataset(root)


def test_missing_dataset(tmp_path):
    with pytest.raises(DataError, match=f"no dataset at {tmp_path}.*`data` empty"):
        dataset.load_dataset(tmp_path)


def test_dataset_without_cells(tmp_path):
    _create(tmp_path / "data.zarr")
    with pytest.raises(DataError, match="holds no cells: 0 shards are finished"):
        dataset.load_dataset(tmp_path)


def test_content_hash_depends_on_cells_tensors_and_volumes():
    packed, constants, volume = _arrays(_shard(0))
    digest = store.content_hash(packed, constants, volume)
    assert digest == store.content_hash(packed.copy(), constants.copy(), volume)
    assert digest != store.content_hash(packed[::-1], constants, volume)
    assert digest != store.content_hash(packed, np.nextafter(constants, 1), volume)
    assert digest != store.content_hash(packed, constants, np.nextafter(volume, 1))
