"""Shards: deterministic, idempotent, resumable, and true to their records."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from fem_helpers import solve, strut_octant

from mmdiff import bounds, elasticity
from mmdiff.cells import connectivity, symmetry
from mmdiff.data import select, shard, store
from mmdiff.data.dataset import load_dataset
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import DataError
from mmdiff.fem import homogenize

RECIPE = Recipe(
    n=8,
    shard_size=4,
    optimized=Optimized(4, 0, 0, 0, 0, 4, steps=6, radius=1.5),
    perturbed=Perturbed(
        everywhere=4,
        poisson=(4,),
        joint=(6,),
        amplitude=(0.3, 0.8),
        length=(1.5, 3.0),
    ),
    volume_range=(0.25, 0.8),
    seed=3,
)
SHARDS = len(RECIPE.plan())


def _make(root, recipe=RECIPE):
    shard.create(recipe, root)
    return [shard.run_shard(recipe, i, root) for i in range(len(recipe.plan()))]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("generate") / "data.zarr"
    # As in the tests themselves, or everything would be compiled twice.
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert all(_make(path))
    return path


@pytest.fixture(scope="module")
def dataset(root):
    return load_dataset(root)


def _hashes(root):
    return [manifest["sha256"] for manifest in store.read_manifests(root)]


def test_every_round_yields_cells(dataset):
    rounds = [record["round"] for record in dataset[3]["records"]]
    assert set(rounds) == {0, 1, 2, 3}
    assert len(rounds) >= 12


def test_candidates_are_accepted_or_counted_as_rejected(root):
    for manifest in store.read_manifests(root):
        rejected = sum(manifest["rejected"].values())
        count = RECIPE.plan()[manifest["shard"]].count
        assert manifest["count"] + rejected == count
        assert len(manifest["records"]) == manifest["count"]


def test_cells_are_what_the_recipe_asks(dataset):
    octants, constants, volume, _ = dataset
    low, high = RECIPE.volume_range
    for octant, share in zip(octants, volume, strict=True):
        assert symmetry.is_cubic(octant) and set(np.unique(octant)) <= {0, 1}
        assert connectivity.is_load_bearing(octant)
        assert share == octant.mean() and low <= share <= high
    margins = elasticity.stability_margins(constants)
    assert all((margin > 1e-4).all() for margin in margins.values())
    bound = bounds.hashin_shtrikman(volume)[0]
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
        # The residual is that of the rounded fields; a label may end a little above.
        assert 0 <= record["residual"] <= 3 * RECIPE.tol
        split = select.split_by_family(
            np.array([record["family"]]), RECIPE.validation, RECIPE.test
        )
        assert record["split"] == split[0]
        plan = RECIPE.plan()[record["id"] // RECIPE.shard_size]
        assert (plan.round, plan.aim) == (record["round"], record["aim"])
        if record["round"] == 0:
            assert record["parent"] is None
            assert record["objective"]["kind"] == plan.kind
            plates = plan.kind == "plates"
            assert record["family"] < 0 if plates else record["family"] == record["id"]
        else:
            parent = by_id[record["parent"]]
            assert parent["round"] < record["round"]
            assert parent["family"] == record["family"]
            low, high = RECIPE.perturbed.amplitude
            assert low <= record["amplitude"] <= high
            low, high = RECIPE.perturbed.length
            assert low <= record["length"] <= high
            assert 1 <= record["times"] <= RECIPE.perturbed.times


def test_timings_count_candidates_and_labels(root):
    timings, manifests = store.read_timings(root), store.read_manifests(root)
    assert list(timings) == list(range(SHARDS))
    for manifest in manifests:
        timing = timings[manifest["shard"]]
        assert manifest["count"] <= timing["labels"] <= timing["candidates"]
        assert all(timing[stage] >= 0 for stage in shard.STAGES)


def test_finished_shards_are_left_alone(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert not any(_make(root))
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_same_recipe_makes_the_same_cells(root, tmp_path):
    other = tmp_path / "data.zarr"
    assert all(_make(other))
    assert _hashes(other) == _hashes(root)
    _, _, _, info = load_dataset(other)
    assert info["records"] == load_dataset(root)[3]["records"]
    # A run that lost one shard makes it again, parents read back from disk.
    for number in (0, 1, SHARDS - 1):
        store.manifest_path(other, number).unlink()
        assert shard.run_shard(RECIPE, number, other)
        assert _hashes(other) == _hashes(root)


def test_seed_makes_other_cells(root, tmp_path):
    recipe = dataclasses.replace(RECIPE, seed=4)
    other = tmp_path / "data.zarr"
    shard.create(recipe, other)
    assert shard.run_shard(recipe, 0, other)
    assert _hashes(other)[0] != _hashes(root)[0]


def test_later_round_needs_the_earlier_ones(tmp_path):
    shard.create(RECIPE, tmp_path / "data.zarr")
    with pytest.raises(DataError, match="shard_00000.json is missing"):
        shard.run_shard(RECIPE, SHARDS - 1, tmp_path / "data.zarr")


def test_nothing_to_perturb_is_an_error(tmp_path):
    root = tmp_path / "data.zarr"
    shard.create(RECIPE, root)
    for number in (0, 1):
        store.write_shard(root, number, **_cells([]), rejected={})
    with pytest.raises(
        DataError, match="no accepted cell in the rounds before shard 2"
    ):
        shard.run_shard(RECIPE, 2, root)


def _cells(octants):
    count = len(octants)
    return {
        "octants": np.asarray(octants, np.uint8).reshape(count, 8, 8, 8),
        "constants": np.zeros((count, 3)),
        "records": [{"id": i} for i in range(count)],
    }


def _reasons(root, monkeypatch, octants, recipe=RECIPE, number=0):
    """Return how many candidates a shard accepts and why it refuses the others."""
    shard.create(recipe, root)
    made = np.asarray(octants, np.uint8), [{} for _ in octants]
    monkeypatch.setattr(shard, "_candidates", lambda *_: made)
    shard.run_shard(recipe, number, root)
    (manifest,) = store.read_manifests(root, [number])
    return manifest["count"], manifest["rejected"]


def test_every_refusal_is_counted_by_its_reason(tmp_path, monkeypatch):
    whole = strut_octant(8, 4)
    block = np.zeros((8, 8, 8), np.uint8)
    block[2:6, 2:6, 2:6] = 1  # eight islands in the cell
    middle = np.zeros((8, 8, 8), np.uint8)
    middle[4:, 4:, 4:] = 1  # one island
    thin = strut_octant(8, 1)
    octants = [whole, block, middle, thin]
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, octants)
    assert reasons == (
        1,
        {"disconnected": 1, "not spanning": 1, "volume out of range": 1},
    )


def test_unconverged_labels_are_refused(tmp_path, monkeypatch):
    labels = np.array([[0.2, 0.1, 0.1]] * 2), np.ones(2), np.array([False, True])
    monkeypatch.setattr(shard, "_label", lambda recipe, octants: labels)
    octants = [strut_octant(8, 4), strut_octant(8, 5)]
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, octants)
    assert reasons == (1, {"unconverged": 1})


def test_repeated_cells_are_refused(tmp_path, monkeypatch, root):
    # Once within the shard, once because an earlier round has it.
    other = strut_octant(8, 4)
    known = load_dataset(root)[0][0]
    copy = shutil.copytree(root, tmp_path / "data.zarr")
    store.forget(copy, SHARDS - 1)
    octants = [other, other, known]
    reasons = _reasons(copy, monkeypatch, octants, number=SHARDS - 1)
    assert reasons == (1, {"duplicate": 2})


def test_alike_cells_of_other_properties_are_kept(tmp_path, monkeypatch):
    # Equal in 95 % of the voxels, but stiffer.
    octants = [strut_octant(8, 4), strut_octant(8, 5)]
    recipe = dataclasses.replace(RECIPE, similarity=0.5)
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, octants, recipe)
    assert reasons == (2, {})


def test_base_states_what_the_tensors_are_for(dataset):
    base = dataset[3]["base"]
    assert base == {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 3.0, "tol": 1e-5}
    with_other_void = dataclasses.replace(RECIPE, void=1e-4)
    assert with_other_void.base()["void"] == 1e-4


def test_dataset_of_another_recipe_is_not_overwritten(root):
    with pytest.raises(DataError, match="Choose another --workdir"):
        shard.create(dataclasses.replace(RECIPE, tol=1e-3), root)
