"""Perturbed candidates: parents from the bins that a round aims at."""

import collections

import numpy as np
import pytest
from fem_helpers import strut_octant

from mmdiff.data import perturbed, store
from mmdiff.data.recipe import Perturbed, Recipe, Shard
from mmdiff.elasticity import from_k_g_zener

RECIPE = Recipe(
    n=8,
    shard_size=8,
    perturbed=Perturbed(amplitude=(0.3, 0.6), length=(1.5, 3.0), times=3),
    seed=2,
)
COUNT = 40


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """One auxetic cell, one stiff one and thirty soft ones that are all alike."""
    root = tmp_path_factory.mktemp("earlier") / "data.zarr"
    moduli = np.array([[0.002, 0.02, 1.0], [0.4, 0.2, 1.0], *[[0.05, 0.05, 1.0]] * 30])
    octants = np.stack([strut_octant(8, 3 if i == 1 else 2) for i in range(32)])
    records = [{"id": i, "family": 100 + i} for i in range(32)]
    store.create(root, n=8, shards=1, shard_size=32, base={}, recipe={})
    store.write_shard(
        root,
        0,
        octants=octants,
        constants=from_k_g_zener(*moduli.T),
        records=records,
        rejected={},
    )
    return store.read_labels(root)


def _parents(earlier, aim):
    shard = Shard(1, aim, aim, COUNT)
    octants, records = perturbed.candidates(RECIPE, 7, shard, earlier)
    assert octants.shape == (COUNT, 8, 8, 8)
    assert all(record["family"] == 100 + record["parent"] for record in records)
    assert {record["times"] for record in records} == {1, 2, 3}
    return collections.Counter(record["parent"] for record in records)


def test_everywhere_draws_all_cells_alike(earlier):
    parents = _parents(earlier, "everywhere")
    # Two of 32 cells: 2.5 expected of 40, four standard deviations above is 9.
    assert parents[0] + parents[1] < 9 and len(parents) > 15


def test_poisson_draws_its_bins_alike(earlier):
    parents = _parents(earlier, "poisson")
    # Three bins: 13.3 expected each, with a standard deviation of 3.
    assert 3 <= parents[0] <= 25 and 3 <= parents[1] <= 25


def test_joint_draws_bins_of_the_whole_space_alike(earlier):
    parents = _parents(earlier, "joint")
    # The stiff cell has a volume of its own, too.
    assert parents[0] >= 3 and parents[1] >= 3


def test_same_shard_same_candidates(earlier):
    shard = Shard(1, "joint", "joint", 4)
    first, again = (perturbed.candidates(RECIPE, 3, shard, earlier) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]
    other = perturbed.candidates(RECIPE, 4, shard, earlier)
    assert not np.array_equal(first[0], other[0])
