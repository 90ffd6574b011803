"""Shards: deterministic, idempotent, resumable, and true to their records."""

import dataclasses

import jax
import numpy as np
import pytest
from fem_helpers import solve

from mmdiff import elasticity, symmetry, voxels
from mmdiff.data import generate, select, store
from mmdiff.errors import DataError
from mmdiff.fem import homogenize

RECIPE = generate.Recipe(
    n=8,
    shard_size=4,
    optimized_shards=1,
    perturbed_rounds=(1, 1),
    volume_range=(0.25, 0.8),
    steps=4,
    radius=1.5,
    amplitude=(0.3, 0.8),
    length=(1.5, 3.0),
    seed=3,
)


def _make(root, recipe=RECIPE):
    generate.create(recipe, root)
    return [generate.run_shard(recipe, shard, root) for shard in range(recipe.shards)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("generate") / "data.zarr"
    # As in the tests themselves, or everything would be compiled twice.
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert _make(path) == [True, True, True]
    return path


@pytest.fixture(scope="module")
def dataset(root):
    return store.read_dataset(root)


def _hashes(root):
    return [manifest["sha256"] for manifest in store.read_manifests(root)]


def test_rounds_and_shards():
    recipe = generate.Recipe(optimized_shards=2, perturbed_rounds=(3, 4))
    assert recipe.shards == 9
    assert [list(r) for r in recipe.rounds()] == [[0, 1], [2, 3, 4], [5, 6, 7, 8]]
    assert [recipe.round_of(s) for s in (0, 1, 2, 4, 5, 8)] == [0, 0, 1, 1, 2, 2]


def test_every_round_yields_cells(dataset):
    rounds = [record["round"] for record in dataset[3]["records"]]
    assert set(rounds) == {0, 1, 2}
    assert len(rounds) >= 6


def test_candidates_are_accepted_or_counted_as_rejected(root):
    for manifest in store.read_manifests(root):
        rejected = sum(manifest["rejected"].values())
        assert manifest["count"] + rejected == RECIPE.shard_size
        assert len(manifest["records"]) == manifest["count"]


def test_cells_are_what_the_recipe_asks(dataset):
    octants, constants, volume, _ = dataset
    low, high = RECIPE.volume_range
    for octant, share in zip(octants, volume, strict=True):
        assert symmetry.is_cubic(octant) and set(np.unique(octant)) <= {0, 1}
        assert voxels.is_load_bearing(octant)
        assert share == octant.mean() and low <= share <= high
    margins = elasticity.stability_margins(constants)
    assert all((margin > 1e-4).all() for margin in margins.values())
    bound = elasticity.hashin_shtrikman(volume)[0]
    # Coarse elements are too stiff: 16^3 voxels stand a few per cent above the bound.
    assert (elasticity.moduli(constants)["K"] < 1.05 * bound).all()


def test_tensors_are_those_of_the_stored_cells(x64, dataset):
    octants, constants, _, info = dataset
    for octant, stored in zip(octants, constants, strict=True):
        stiff = homogenize.modulus(octant.astype(float), info["base"]["void"])
        tensor, _, _ = solve(stiff)
        # Labels are made in float32 with a residual of 1e-5.
        np.testing.assert_allclose(
            elasticity.voigt_to_cubic(tensor), stored, rtol=0, atol=1e-6
        )


def test_records_tell_where_a_cell_comes_from(dataset):
    records = dataset[3]["records"]
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    for record in records:
        assert 0 <= record["residual"] <= RECIPE.tol
        split = select.split_by_family(
            np.array([record["family"]]), RECIPE.validation, RECIPE.test
        )
        assert record["split"] == split[0]
        shard, number = divmod(record["id"], RECIPE.shard_size)
        assert RECIPE.round_of(shard) == record["round"]
        if record["round"] == 0:
            assert record["parent"] is None and record["family"] == record["id"]
            assert sum(record["objective"]) == pytest.approx(1, abs=2e-6)
        else:
            parent = by_id[record["parent"]]
            assert parent["round"] < record["round"]
            assert parent["family"] == record["family"] and record["objective"] is None
            low, high = RECIPE.amplitude
            assert low <= record["amplitude"] <= high
            low, high = RECIPE.length
            assert low <= record["length"] <= high


def test_objectives_are_bulk_shear_and_mixtures(dataset):
    objectives = {
        record["id"]: record["objective"]
        for record in dataset[3]["records"]
        if record["round"] == 0
    }
    assert objectives.get(0, [1, 0, 0]) == [1, 0, 0]
    assert objectives.get(1, [0, 1, 0]) == [0, 1, 0]


def test_finished_shards_are_left_alone(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert _make(root) == [False, False, False]
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_same_recipe_makes_the_same_cells(root, tmp_path):
    other = tmp_path / "data.zarr"
    assert _make(other) == [True, True, True]
    assert _hashes(other) == _hashes(root)
    _, _, _, info = store.read_dataset(other)
    assert info["records"] == store.read_dataset(root)[3]["records"]
    # A run that lost one shard makes it again, parents read back from disk.
    for shard in (0, 2):
        store.manifest_path(other, shard).unlink()
        assert generate.run_shard(RECIPE, shard, other)
        assert _hashes(other) == _hashes(root)


def test_seed_makes_other_cells(root, tmp_path):
    recipe = dataclasses.replace(RECIPE, seed=4, perturbed_rounds=())
    other = tmp_path / "data.zarr"
    assert _make(other, recipe) == [True]
    assert _hashes(other)[0] != _hashes(root)[0]


def test_later_round_needs_the_earlier_ones(tmp_path):
    generate.create(RECIPE, tmp_path / "data.zarr")
    with pytest.raises(DataError, match="shard_00000.json is missing"):
        generate.run_shard(RECIPE, 1, tmp_path / "data.zarr")


def test_nothing_to_perturb_is_an_error(tmp_path):
    root = tmp_path / "data.zarr"
    generate.create(RECIPE, root)
    empty = np.zeros((0, 8, 8, 8), np.uint8), np.zeros((0, 3))
    store.write_shard(
        root, 0, octants=empty[0], constants=empty[1], records=[], rejected={}
    )
    with pytest.raises(
        DataError, match="no accepted cell in the rounds before shard 1"
    ):
        generate.run_shard(RECIPE, 1, root)


def test_base_states_what_the_tensors_are_for(dataset):
    base = dataset[3]["base"]
    assert base == {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}
    with_other_void = dataclasses.replace(RECIPE, void=1e-4)
    assert with_other_void.base()["void"] == 1e-4


def test_dataset_of_another_recipe_is_not_overwritten(root):
    with pytest.raises(DataError, match="Choose another --workdir"):
        generate.create(dataclasses.replace(RECIPE, tol=1e-3), root)
