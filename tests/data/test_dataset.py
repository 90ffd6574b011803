"""Datasets as arrays, and as what a voxel file may be."""

import numpy as np
import pytest

from mmdiff.data import dataset, store
from mmdiff.errors import DataError


def test_datasets_are_read_as_octants(tmp_path):
    octants = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 4)).astype(np.uint8)
    root = tmp_path / "run/data.zarr"
    store.create(root, n=4, shards=1, shard_size=2, base={}, recipe={})
    store.write_shard(
        root,
        0,
        octants=octants,
        constants=np.ones((2, 3)),
        records=[{"id": 0, "split": 0}, {"id": 1, "split": 1}],
        rejected={},
    )
    for path in (root, root.parent):
        assert dataset.is_dataset(path)
        array, info = dataset.read_voxels(path)
        np.testing.assert_array_equal(array, octants)
        assert info["format"] == "dataset"
    assert not dataset.is_dataset(tmp_path)
    store.manifest_path(root, 0).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        dataset.read_voxels(root)
