"""Closing a dataset: repeated cells, the subset, and test targets."""

import dataclasses

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.data import finish, select, space, store
from mmdiff.data.recipe import Optimized, Perturbed, Recipe
from mmdiff.errors import DataError

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


# Test targets on their own.
LIMITS = (0.15, 0.85)
COUNT = 400


def _crowded(seed=0, bins=60):
    """Return constants and volumes: one bin full of cells, many with few."""
    rng = np.random.default_rng(seed)
    reachable = space.reachable_bins(*LIMITS)
    index = rng.choice(reachable, bins, replace=False)
    index = np.concatenate([np.repeat(index[:1], 300), np.repeat(index, 2)])
    points = space.draw_in_bins(rng, index, LIMITS)
    return points[:, :3], points[:, 3]


CONSTANTS, VOLUME = _crowded()
TRAINING = np.arange(len(VOLUME)) % 3 > 0


def _draw(seed=1, count=COUNT):
    rng = np.random.default_rng(seed)
    return finish.draw_targets(rng, count, CONSTANTS, VOLUME, TRAINING, LIMITS)


def _points(found):
    points = np.array([[row[name] for name in finish.COLUMNS[:4]] for row in found])
    return points[:, :3], points[:, 3]


@pytest.fixture(scope="module")
def found():
    return _draw()


def test_count_and_columns(found):
    assert len(found) == COUNT
    for row in found:
        assert tuple(row) == finish.COLUMNS
        assert all(type(row[name]) in (int, float) for name in row)
        assert row["inside"] in (0, 1)
    assert _draw(count=0) == []
    nothing = CONSTANTS, VOLUME, np.zeros_like(TRAINING), LIMITS
    with pytest.raises(DataError, match="420 cells, 0 of them.*`num_targets=0`"):
        finish.draw_targets(np.random.default_rng(0), 5, *nothing)


def test_values_are_rounded(found):
    for row in found:
        for name in ("C11", "C12", "C44", "V"):
            assert row[name] == round(row[name], 5)


def test_rounding_leaves_targets_possible_and_in_their_bins():
    # The thinnest bins, where 1e-5 counts.
    cells = space.from_coordinates(np.array([[0.25, 0.05, 0.05, 0.05]]))
    constants, volume = cells[:, :3], cells[:, 3]
    rng = np.random.default_rng(0)
    found = finish.draw_targets(
        rng, 2000, constants, volume, np.array([True]), (0.2, 0.85)
    )
    constants, volume = _points(found)
    margins = elasticity.stability_margins(constants)
    assert all((margin > 0).all() for margin in margins.values())
    assert bounds.is_reachable(constants, volume).all()
    index = space.bin_index(constants, volume)
    inside = np.array([row["inside"] for row in found])
    np.testing.assert_array_equal(index == 2000, inside)


def test_targets_are_possible(found):
    constants, volume = _points(found)
    assert bounds.is_reachable(constants, volume).all()
    assert (volume >= LIMITS[0]).all() and (volume <= LIMITS[1]).all()


def test_inside_means_that_the_bin_holds_a_cell(found):
    index = space.bin_index(*_points(found))
    filled = np.isin(index, space.bin_index(CONSTANTS, VOLUME))
    inside = np.array([row["inside"] for row in found])
    np.testing.assert_array_equal(inside, filled)
    beside = np.isin(index, space.frontier(CONSTANTS, VOLUME, LIMITS))
    np.testing.assert_array_equal(inside, ~beside)


def test_distance_is_that_to_the_nearest_training_cell(found):
    points = np.column_stack(_points(found))
    known = np.column_stack([CONSTANTS, VOLUME])
    distance = np.array([row["distance"] for row in found])
    want = select.property_distance(points, known[TRAINING])
    # Rounded to 1e-6.
    np.testing.assert_allclose(distance, want, rtol=0, atol=5.1e-7)
    assert (distance > select.property_distance(points, known) + 1e-6).any()


def test_quarter_lies_outside(found):
    outside = sum(1 - row["inside"] for row in found)
    # Binomial with 400 draws: four standard deviations are 35.
    assert abs(outside - 100) < 35


def test_every_filled_bin_is_as_likely(found):
    index = space.bin_index(*_points(found))
    crowded = space.bin_index(CONSTANTS, VOLUME)[0]
    inside = sum(row["inside"] for row in found)
    # That bin holds 300 of 420 cells and is one of 60: some 5 targets of 300. Poisson
    # with mean 5 exceeds 20 with a probability of 1e-7.
    assert inside > 200 and (index == crowded).sum() <= 20
    # 60 bins drawn 265 times or more: one stays empty with a probability of 1 %, three
    # do with less than 1e-6.
    drawn = {i for i, row in zip(index, found, strict=True) if row["inside"]}
    assert len(drawn) > 57


def test_order_is_random(found):
    flags = np.array([row["inside"] for row in found])
    # The mean number of alternations is 2 p (1 - p) N = 150 with a deviation below 10.
    assert 100 < (np.diff(flags) != 0).sum() < 200


def test_same_generator_same_targets(found):
    assert _draw() == found
    other = _draw(seed=2)
    assert all(a != b for a, b in zip(found, other, strict=True))


def test_without_empty_neighbours_all_targets_are_inside():
    index = space.reachable_bins(*LIMITS)
    points = space.draw_in_bins(np.random.default_rng(0), index, LIMITS)
    training = np.arange(len(points)) % 40 == 0
    rng = np.random.default_rng(0)
    found = finish.draw_targets(rng, 50, points[:, :3], points[:, 3], training, LIMITS)
    assert len(found) == 50 and all(row["inside"] for row in found)
