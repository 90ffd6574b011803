"""Shards: deterministic, idempotent, resumable, and true to their records."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import strut_octant

from mmdiff import bounds, elasticity
from mmdiff.cells import connectivity, distance, surface, symmetry
from mmdiff.cells.printable import printability
from mmdiff.data import given, select, shard, store
from mmdiff.data.dataset import load_dataset
from mmdiff.data.recipe import Given, Optimized, Perturbed, Recipe
from mmdiff.errors import DataError, InputError
from mmdiff.fem import accuracy

RECIPE = Recipe(
    n=8,
    shard_size=4,
    wall=0.1,
    gap=0.1,
    optimized=Optimized(4, 0, 0, 0, 0, 0, 0, 4, 0, steps=6, radius=1.5),
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
    _, constants, volume, info = dataset
    low, high = RECIPE.volume_range
    for psi, share in zip(dataset.fields(), volume, strict=True):
        assert symmetry.is_cubic(psi)
        assert connectivity.is_load_bearing(surface.voxels(psi, 8))
        assert share == pytest.approx(surface.volume(psi), abs=0.02)
        assert low - 0.02 <= share <= high + 0.02
    for psi, record in zip(dataset.fields(), info["records"], strict=True):
        found = printability(psi)
        assert found.pieces == 1
        assert record["wall"] == pytest.approx(min(found.wall, 1), abs=1e-4)
        assert record["gap"] == pytest.approx(min(found.gap, 1), abs=1e-4)
        assert min(record["wall"], record["gap"]) >= shard.KEPT * 0.1
        assert record["trapped"] == pytest.approx(found.trapped, abs=1e-4)
        assert not (record["asked_drainable"] and record["trapped"])
    margins = elasticity.stability_margins(constants)
    assert all((margin > 1e-4).all() for margin in margins.values())
    bound = bounds.hashin_shtrikman(volume)[0]
    # Extrapolated from few elements, within what is said to be uncertain.
    doubt = info["uncertainty"][:, 0] + 2 * info["uncertainty"][:, 1]
    assert (elasticity.moduli(constants)["K"] < bound + doubt / 3).all()


def test_tensors_are_those_of_the_stored_surfaces(dataset):
    _, constants, _, info = dataset
    for i in range(0, len(constants), 3):
        found = accuracy.estimate(dataset.fields(i))  # on elements half as large
        doubt = np.asarray(info["uncertainty"][i]) + found.uncertainty
        assert (abs(found.constants - constants[i]) <= doubt).all()


def test_records_tell_where_a_cell_comes_from(dataset):
    records = dataset[3]["records"]
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    for record in records:
        # A solve ends where the tensor has settled, long before its residual is small.
        assert 0 <= record["residual"] <= 1e-2
        assert record["elements"] == 16
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
        "packed": np.zeros((count, 120), np.int8),
        "constants": np.zeros((count, 3)),
        "volume": np.zeros(count),
        "records": [{"id": i, "trapped": 0.0} for i in range(count)],
    }


def _reasons(root, monkeypatch, fields, recipe=RECIPE, number=0):
    """Return how many candidates a shard accepts and why it refuses the others."""
    shard.create(recipe, root)
    made = fields, [{} for _ in fields]
    monkeypatch.setattr(shard, "_candidates", lambda *_: made)
    shard.run_shard(recipe, number, root)
    (manifest,) = store.read_manifests(root, [number])
    return manifest["count"], manifest["rejected"]


def test_every_refusal_is_counted_by_its_reason(tmp_path, monkeypatch):
    block = np.zeros((8, 8, 8), np.uint8)
    block[2:6, 2:6, 2:6] = 1  # eight islands in the cell
    middle = np.zeros((8, 8, 8), np.uint8)
    middle[4:, 4:, 4:] = 1  # one island
    octants = [strut_octant(8, 4), block, middle, strut_octant(8, 2)]
    fields = [surface.from_voxels(octant) for octant in octants]
    # A design without a part that bears load.
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, [*fields, None])
    refused = {"disconnected": 1, "not load bearing": 2, "volume out of range": 1}
    assert reasons == (1, refused)


def test_what_cannot_be_mended_is_refused(tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, wall=0.45, gap=0.7)
    fields = [surface.from_voxels(strut_octant(8, 4))]
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, fields, recipe)
    assert reasons == (0, {"not mended": 1})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"converged": False}, "unconverged"),
        ({"constants": np.array([0.1, 0.1, 0.1])}, "not load bearing"),
        ({"uncertainty": np.array([0.3, 0.1, 0.1])}, "uncertain"),
        ({"uncertainty": np.array([0.01, 0.03, 0.08])}, "uncertain"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path, monkeypatch, changes, reason):
    constants = np.array([0.2, 0.1, 0.1])
    doubt, fields = np.full(3, 1e-3), jnp.zeros((1, 3, 9, 9, 9))
    good = accuracy.Estimate(
        constants, doubt, constants, constants, 0.5, 1e-6, True, fields
    )
    labels = iter([good._replace(**changes), good])
    monkeypatch.setattr(shard, "label", lambda recipe, psi: next(labels))
    fields = [surface.from_voxels(strut_octant(8, edge)) for edge in (4, 5)]
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, fields)
    assert reasons == (1, {reason: 1})


def test_labels_of_doubt_come_from_finer_elements(monkeypatch):
    psi, recipe = surface.from_voxels(strut_octant(16, 8)), Recipe(n=16)
    coarse = shard.label(recipe, psi)
    monkeypatch.setattr(shard, "UNSURE", (0.0, 0.0))
    fine = shard.label(recipe, psi)
    assert (fine.uncertainty < coarse.uncertainty).all()
    np.testing.assert_allclose(fine.coarse, coarse.fine)


def test_repeated_cells_are_refused(tmp_path, monkeypatch, root):
    # Once within the shard, once because an earlier round has it.
    other = surface.from_voxels(strut_octant(8, 4))
    data = load_dataset(root)
    # Few samples are not quite the same after they were redistanced once more.
    monkeypatch.setattr(distance, "redistance", lambda psi: psi)
    complies = [
        min(record["wall"], record["gap"]) > 0.1 and not record["trapped"]
        for record in data.info["records"]
    ]
    known = data.fields(complies.index(True))
    copy = shutil.copytree(root, tmp_path / "data.zarr")
    store.forget(copy, SHARDS - 1)
    fields = [other, other, known]
    reasons = _reasons(copy, monkeypatch, fields, number=SHARDS - 1)
    assert reasons == (1, {"duplicate": 2})


def test_alike_cells_of_other_properties_are_kept(tmp_path, monkeypatch):
    # Equal in 95 % of the voxels, but stiffer.
    fields = [surface.from_voxels(strut_octant(8, edge)) for edge in (4, 5)]
    recipe = dataclasses.replace(RECIPE, similarity=0.5)
    reasons = _reasons(tmp_path / "data.zarr", monkeypatch, fields, recipe)
    assert reasons == (2, {})


def test_base_states_what_the_tensors_are_for(dataset):
    base = dataset[3]["base"]
    assert base == {"E": 1.0, "nu": 0.3, "void": 1e-6, "penal": 1.0, "tol": 1e-4}
    with_other_void = dataclasses.replace(RECIPE, void=1e-4)
    assert with_other_void.base()["void"] == 1e-4


def test_dataset_of_another_recipe_is_not_overwritten(root):
    with pytest.raises(DataError, match="Choose another --workdir"):
        shard.create(dataclasses.replace(RECIPE, tol=1e-3), root)


def test_a_dataset_goes_on_from_an_earlier_one(root, tmp_path):
    none = dict.fromkeys(Optimized().counts(), 0)
    recipe = dataclasses.replace(
        RECIPE, optimized=Optimized(**none), given=Given(count=6, path=str(root))
    )
    data = load_dataset(root)
    plan = recipe.plan()
    parts = [given.candidates(recipe, i, plan[i]) for i in (0, 1)]
    records = [record for _, part in parts for record in part]
    earlier = {record["id"]: record for record in data.info["records"]}
    assert len({record["given"] for record in records}) == 6
    for record in records:  # families stay apart from those of this dataset
        family = earlier[record["given"]]["family"]
        assert record["family"] == given.FIRST_FAMILY - abs(family)
    other = tmp_path / "data.zarr"
    shard.create(recipe, other)
    assert shard.run_shard(recipe, 0, other)
    (manifest,) = store.read_manifests(other, [0])
    assert manifest["count"] >= 2 and "given" in manifest["records"][0]


@pytest.mark.parametrize(
    ("count", "n", "message"),
    [
        (99, 8, r"given\.count=99: that dataset has \d+ cells"),
        (2, 16, "have 8 samples along the octant, this one has n=16"),
    ],
)
def test_cells_that_are_not_there_are_refused(root, count, n, message):
    recipe = dataclasses.replace(
        RECIPE, n=n, shard_size=100, given=Given(count=count, path=str(root))
    )
    with pytest.raises(InputError, match=message):
        given.check(recipe)
