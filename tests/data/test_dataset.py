"""Datasets as arrays, and as what a voxel file may be."""

import numpy as np
import pytest
from data_helpers import random_packed, write_cells, write_noise

from mmdiff.data import dataset, store
from mmdiff.errors import DataError


def test_datasets_are_read_as_octants(tmp_path):
    root = tmp_path / "run/data.zarr"
    records = [{"id": 0, "split": 0}, {"id": 1, "split": 1}]
    write_cells(root, random_packed(4, 2), np.ones((2, 3)), records, n=4)
    octants = dataset.load_dataset(root).octants()
    for path in (root, root.parent):
        assert dataset.is_dataset(path)
        array, info = dataset.read_voxels(path)
        np.testing.assert_array_equal(array, octants)
        assert info["format"] == "dataset"
    assert not dataset.is_dataset(tmp_path)
    store.manifest_path(root, 0).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        dataset.read_voxels(root)


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
