"""Datasets as arrays, what is trained on, and parts of them."""

import numpy as np
import pytest
from data_helpers import random_packed, write_cells, write_noise
from design_helpers import dataset_of_voxels

from mmdiff.data import dataset, store
from mmdiff.errors import DataError


def test_datasets_are_known_and_read_from_either_folder(tmp_path):
    root = tmp_path / "run/data.zarr"
    records = [{"id": 0, "split": 0}, {"id": 1, "split": 1}]
    packed = random_packed(4, 2)
    write_cells(root, packed, np.ones((2, 3)), records, n=4)
    for path in (root, root.parent):
        assert dataset.is_dataset(path)
        np.testing.assert_array_equal(dataset.load_dataset(path).packed, packed)
    assert not dataset.is_dataset(tmp_path)


def test_octants_are_those_of_the_fields(tmp_path):
    root = tmp_path / "run/data.zarr"
    records = [{"id": i, "split": 0} for i in range(5)]
    write_cells(root, random_packed(4, 5), np.ones((5, 3)), records, n=4)
    assert not dataset.is_dataset(tmp_path)
    for path in (root, root.parent):
        assert dataset.is_dataset(path)
        data = dataset.load_dataset(path)
    octants = data.octants()
    np.testing.assert_array_equal(octants, data.fields() > 0)
    np.testing.assert_array_equal(data.octants(3), octants[3])
    parts = list(dataset.octants_in_parts(data, size=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), octants)
    (some,) = dataset.octants_in_parts(data, np.array([4, 0]))
    np.testing.assert_array_equal(some, octants[[4, 0]])
    store.manifest_path(root, 0).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        dataset.load_dataset(root)


def test_training_cells_are_those_of_their_split(tmp_path):
    root = write_noise(tmp_path / "data.zarr", [0, 1, 0, 2], n=4, selected=[0, 1])
    data = dataset.load_dataset(root)
    np.testing.assert_array_equal(dataset.training_cells(data), [1, 0, 1, 0])
    only = dataset.training_cells(data, selected=True)
    np.testing.assert_array_equal(only, [1, 0, 0, 0])
    held_out = data._replace(info={**data.info, "split": np.ones(4, int)})
    with pytest.raises(DataError, match="no training cells among its 4 cells"):
        dataset.training_cells(held_out)


def test_compact_copies_some_cells_and_selects_those_for_training(tmp_path):
    source = write_noise(tmp_path / "data.zarr", [0, 1, 0, 2, 0], selected=[2])
    labels = store.read_labels(source)
    copy, chosen = tmp_path / "copy/data.zarr", np.array([0, 1, 3, 4])
    dataset.compact(labels, chosen, copy, shard_size=3)
    data, whole = dataset.load_dataset(copy.parent), dataset.load_dataset(source)
    assert [m["count"] for m in data.info["manifests"]] == [3, 1]
    for got, want in zip(data[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(got, want[chosen])
    assert [r["id"] for r in data.info["records"]] == chosen.tolist()
    np.testing.assert_array_equal(data.info["selected"], [1, 0, 0, 1])
    assert data.info["base"] == whole.info["base"] and data.n == 8
    assert store.missing(copy) == [] and store.damaged(copy) == {}


def test_distinct_cells_are_the_first_of_their_kind():
    rng = np.random.default_rng(0)
    first, other = (rng.integers(0, 2, 3 * (4,)) for _ in range(2))
    # Fields are cubic: of the octants one value counts for each orbit.
    inner = tuple(np.sort(np.indices((4, 4, 4)), axis=0))
    first, other = first[inner], other[inner]
    near = first.copy()
    near[0, 0, 0] ^= 1  # one of 64 voxels
    octants = np.stack([other, near, first, first[::-1, ::-1, ::-1], first])
    data = dataset_of_voxels(octants, np.ones((5, 3)))
    np.testing.assert_array_equal(data.octants(), octants)
    order = np.array([2, 4, 1, 3, 0])
    options = {"count": 5, "alike": 1.0}
    # The shift by half a period is the same material.
    assert dataset.distinct(data, order, **options) == [2, 1, 0]
    assert dataset.distinct(data, order, count=5, alike=63 / 64) == [2, 0]
    assert dataset.distinct(data, order[::-1], **options) == [0, 3, 1]
    assert dataset.distinct(data, order, count=2, alike=1.0) == [2, 1]
    assert dataset.distinct(data, order[:0], **options) == []
