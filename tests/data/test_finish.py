"""Closing a dataset of cells made by hand: what is repeated, selected, asked for."""

import dataclasses

import numpy as np
import pytest

from mmdiff.data import finish, select, space, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe

N, SIZE = 8, 4
EMPTY = dict.fromkeys(Optimized().counts(), 0)
RECIPE = Recipe(
    n=N,
    shard_size=SIZE,
    optimized=Optimized(**{**EMPTY, "bulk_shear": 3 * SIZE}),
    perturbed=Perturbed(everywhere=2 * SIZE, poisson=(), joint=()),
    similarity=0.9,
    distance=0.002,
)
SHARDS, FIRST = 5, 3  # shards of all rounds and of round 0


def _cell(seed, solid=N**3 // 2, shares=(0.55, 0.45, 0.35)):
    """Return a random octant with so many solid voxels, and constants it may have."""
    order = np.random.default_rng(seed).permutation(N**3)
    octant = (order < solid).astype(np.uint8).reshape(N, N, N)
    point = space.from_coordinates(np.array([[octant.mean(), *shares]]))
    return octant, point[0, :3]


def _swapped(octant, first, count=24):
    """Return the octant with `count` solid voxels and as many empty ones exchanged."""
    new = octant.copy().ravel()
    for value in (0, 1):
        places = np.flatnonzero(octant.ravel() == value)
        new[places[first : first + count]] = 1 - value
    return new.reshape(octant.shape)


def _dataset(root, changes):
    """Write full shards of cells that all differ but for the changes, read the labels.

    Args:
      root: directory of the dataset.
      changes: cells (octant, constants) by shard and place there.
    """
    store.create(
        root,
        n=N,
        shards=SHARDS,
        shard_size=SIZE,
        base=RECIPE.base(),
        recipe=RECIPE.to_dict(),
    )
    rng = np.random.default_rng(0)
    for shard in range(SHARDS):
        cells = [
            _cell(100 * shard + i, 192 + 24 * shard + 8 * i, rng.uniform(0.05, 0.55, 3))
            for i in range(SIZE)
        ]
        for (where, i), cell in changes.items():
            if where == shard:
                cells[i] = cell
        records = [
            {
                "id": SIZE * shard + i,
                "round": int(shard >= FIRST),
                "aim": "optimized" if shard < FIRST else "everywhere",
                "parent": None if shard < FIRST else i,
                "family": i,
                "split": (0, 0, 0, 1)[i],
                "residual": 1e-6,
            }
            for i in range(SIZE)
        ]
        octants, constants = map(np.stack, zip(*cells, strict=True))
        store.write_shard(
            root,
            shard,
            octants=octants,
            constants=constants,
            records=records,
            rejected={},
        )
    return store.read_labels(root)


def _close(labels, recipe=RECIPE, subset=6, num_targets=10):
    return finish.close(labels, recipe, subset=subset, num_targets=num_targets)


def _dropped(labels, recipe=RECIPE):
    return np.flatnonzero(~_close(labels, recipe).kept).tolist()


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A dataset without a repeated cell but for number 9, that of shard 0."""
    root = tmp_path_factory.mktemp("finish") / "data.zarr"
    return _dataset(root, {(0, 2): _cell(7), (2, 1): _cell(7)})


def test_later_of_two_equal_cells_of_a_round_is_dropped(labels):
    assert len(labels.records) == SHARDS * SIZE
    assert _dropped(labels) == [9]


def test_every_round_is_looked_at(tmp_path):
    cell = _cell(7)
    assert _dropped(_dataset(tmp_path, {(3, 3): cell, (4, 0): cell})) == [16]


def test_cells_of_other_rounds_and_of_the_same_shard_are_not_looked_at(tmp_path):
    cell, other = _cell(7), _cell(8, 320)
    changes = {(0, 2): cell, (3, 1): cell, (1, 0): other, (1, 3): other}
    assert _dropped(_dataset(tmp_path, changes)) == []


def test_all_but_the_first_are_dropped(tmp_path):
    cell = _cell(7)
    changes = {(0, 3): cell, (1, 0): cell, (2, 2): cell, (1, 2): cell}
    assert _dropped(_dataset(tmp_path, changes)) == [4, 6, 10]


def test_both_voxels_and_properties_must_agree(tmp_path):
    octant, constants = _cell(7)
    # Twice 48 of 512 voxels are too many, and 0.01 of C11 is 0.0019 in distance.
    near, far = constants + [0.01, 0, 0], constants + [0.012, 0, 0]
    pairs = {
        "same": ((octant, near), [4]),
        "far": ((octant, far), []),
        "some": ((_swapped(octant, 0), near), [4]),
        "too many": ((_swapped(octant, 0, 48), constants), []),
    }
    for name, (cell, want) in pairs.items():
        changes = {(0, 0): (octant, constants), (1, 0): cell}
        assert _dropped(_dataset(tmp_path / name, changes)) == want, name


def test_limits_are_those_of_the_recipe(tmp_path):
    octant, constants = _cell(7)
    changes = {(0, 0): (octant, constants), (1, 0): (_swapped(octant, 0), constants)}
    labels = _dataset(tmp_path, changes)
    assert _dropped(labels) == [4]
    assert _dropped(labels, dataclasses.replace(RECIPE, similarity=0.95)) == []
    moved = {**changes, (1, 0): (octant, constants + [0.01, 0, 0])}
    labels = _dataset(tmp_path / "moved", moved)
    assert _dropped(labels, dataclasses.replace(RECIPE, distance=0.001)) == []


def test_dropped_cell_drops_no_other(tmp_path):
    octant, constants = _cell(7)
    second, third = _swapped(octant, 0), _swapped(_swapped(octant, 0), 96)
    cells = {(0, 0): octant, (1, 0): second, (2, 0): third}
    changes = {place: (cell, constants) for place, cell in cells.items()}
    assert np.mean(second == third) > 0.9 > np.mean(octant == third)
    assert _dropped(_dataset(tmp_path, changes)) == [4]


def test_dropped_cell_stays_dropped_beside_an_unlike_one(tmp_path):
    octant, constants = _cell(7)
    unlike = _swapped(octant, 0, 96)
    changes = {(0, 0): octant, (1, 0): unlike, (2, 0): octant}
    changes = {place: (cell, constants) for place, cell in changes.items()}
    assert _dropped(_dataset(tmp_path, changes)) == [8]


def test_selected_are_kept_training_cells(labels):
    closing = _close(labels)
    split = np.array([record["split"] for record in labels.records])
    assert closing.selected.dtype == bool and closing.selected.sum() == 6
    assert closing.kept[closing.selected].all()
    assert (split[closing.selected] == select.TRAIN).all()


def test_subset_of_more_than_there_are_is_every_kept_training_cell(labels):
    closing = _close(labels, subset=100)
    split = np.array([record["split"] for record in labels.records])
    want = closing.kept & (split == select.TRAIN)
    np.testing.assert_array_equal(closing.selected, want)
    assert closing.selected.sum() == 14


def test_subset_is_even_over_the_bins(tmp_path):
    # Eleven training cells of one bin, all different, and four of bins of their own.
    crowd = {(shard, i): _cell(50 * shard + i) for shard in range(4) for i in range(3)}
    crowd.pop((3, 2))
    labels = _dataset(tmp_path, crowd)
    index = space.bin_index(labels.constants, labels.volume)
    chosen = _close(labels, subset=5).selected
    assert (index == index[0]).sum() >= 11
    assert len(set(index[chosen])) == 5


def test_targets_know_the_kept_training_cells_alone(labels):
    closing = _close(labels, num_targets=25)
    split = np.array([record["split"] for record in labels.records])
    known = np.column_stack([labels.constants, labels.volume])
    points = np.array(
        [[row[name] for name in ("C11", "C12", "C44", "V")] for row in closing.targets]
    )
    assert len(points) == 25
    want = select.property_distance(points, known[closing.kept & (split == 0)])
    # Rounded to 1e-6.
    np.testing.assert_allclose(
        [row["distance"] for row in closing.targets], want, rtol=0, atol=5.1e-7
    )
    low, high = RECIPE.volume_range
    assert (points[:, 3] >= low).all() and (points[:, 3] <= high).all()


def test_same_cells_same_closing(labels):
    first, again = _close(labels), _close(store.read_labels(labels.root))
    np.testing.assert_array_equal(first.kept, again.kept)
    np.testing.assert_array_equal(first.selected, again.selected)
    assert first.targets == again.targets


def test_subset_and_targets_do_not_depend_on_each_other(labels):
    first, more, fewer = (
        _close(labels),
        _close(labels, num_targets=11),
        _close(labels, subset=2),
    )
    np.testing.assert_array_equal(first.selected, more.selected)
    assert first.targets == fewer.targets


def test_seed_makes_another_choice_of_the_same_cells(labels):
    first, other = _close(labels), _close(labels, dataclasses.replace(RECIPE, seed=1))
    np.testing.assert_array_equal(first.kept, other.kept)
    assert (first.selected != other.selected).any() and first.targets != other.targets
