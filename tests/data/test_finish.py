"""Closing a dataset: repeated cells, the subset, and test targets."""

import dataclasses

import numpy as np
import pytest
from data_helpers import RECORD

from mmdiff import bounds, elasticity
from mmdiff.cells.distance import agreement
from mmdiff.cells.symmetry import multiplicity
from mmdiff.data import finish, select, space, store, tables
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


SIX = np.flatnonzero(multiplicity(N) == 6)  # 56 orbits of six voxels of 512


def _cell(seed, volume=0.5, shares=(0.55, 0.45, 0.35)):
    """Return random samples, half of those in `SIX` solid, constants and the volume."""
    rng = np.random.default_rng(seed)
    packed = rng.choice([-40, 40], len(multiplicity(N))).astype(np.int8)
    packed[SIX] = rng.permutation(np.repeat([-40, 40], len(SIX) // 2))
    point = space.from_coordinates(np.array([[volume, *shares]]))
    return packed, point[0, :3], volume


def _swapped(packed, first, count=4):
    """Return the cell with `count` solid orbits of six voxels and empty ones swapped.

    They are those from number `first` on.
    """
    new = packed.copy()
    for sign in (-1, 1):
        places = SIX[np.sign(packed[SIX]) == sign]
        new[places[first : first + count]] *= -1
    return new


def _dataset(root, changes, shards=range(SHARDS)):
    """Write full shards of cells that all differ but for the changes, read the labels.

    Args:
      root: directory of the dataset.
      changes: cells (packed, constants, volume) by shard and place there.
      shards: those that are written.
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
    for shard in shards:
        cells = [
            _cell(
                100 * shard + i,
                0.375 + 0.047 * shard + 0.016 * i,
                rng.uniform(0.05, 0.55, 3),
            )
            for i in range(SIZE)
        ]
        for (where, i), cell in changes.items():
            if where == shard:
                cells[i] = cell
        records = [
            {
                **RECORD,
                "id": SIZE * shard + i,
                "round": int(shard >= FIRST),
                "aim": "optimized" if shard < FIRST else "everywhere",
                "parent": None if shard < FIRST else i,
                "family": i,
                "split": (0, 0, 0, 1)[i],
            }
            for i in range(SIZE)
        ]
        packed, constants, volume = map(np.stack, zip(*cells, strict=True))
        store.write_shard(
            root,
            shard,
            packed=packed,
            constants=constants,
            volume=volume,
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
    cell, other = _cell(7), _cell(8, 0.6)
    changes = {(0, 2): cell, (3, 1): cell, (1, 0): other, (1, 3): other}
    assert _dropped(_dataset(tmp_path, changes)) == []


def test_all_but_the_first_are_dropped(tmp_path):
    cell = _cell(7)
    changes = {(0, 3): cell, (1, 0): cell, (2, 2): cell, (1, 2): cell}
    assert _dropped(_dataset(tmp_path, changes)) == [4, 6, 10]


def test_both_voxels_and_properties_must_agree(tmp_path):
    packed, constants, volume = _cell(7)
    # Twice 48 of 512 voxels are too many, and 0.01 of C11 is 0.0019 in distance.
    near, far = constants + [0.01, 0, 0], constants + [0.012, 0, 0]
    pairs = {
        "same": ((packed, near), [4]),
        "far": ((packed, far), []),
        "some": ((_swapped(packed, 0), near), [4]),
        "too many": ((_swapped(packed, 0, 8), constants), []),
    }
    for name, (cell, want) in pairs.items():
        changes = {(0, 0): (packed, constants, volume), (1, 0): (*cell, volume)}
        assert _dropped(_dataset(tmp_path / name, changes)) == want, name


def test_limits_are_those_of_the_recipe(tmp_path):
    packed, constants, volume = _cell(7)
    second = _swapped(packed, 0), constants, volume
    changes = {(0, 0): (packed, constants, volume), (1, 0): second}
    labels = _dataset(tmp_path, changes)
    assert _dropped(labels) == [4]
    assert _dropped(labels, dataclasses.replace(RECIPE, similarity=0.95)) == []
    moved = {**changes, (1, 0): (packed, constants + [0.01, 0, 0], volume)}
    labels = _dataset(tmp_path / "moved", moved)
    assert _dropped(labels, dataclasses.replace(RECIPE, distance=0.001)) == []


def _alike(*cells):
    """Return changes: cells of one tensor and volume, each in a shard of its own."""
    _, constants, volume = _cell(7)
    return {(i, 0): (cell, constants, volume) for i, cell in enumerate(cells)}


def test_dropped_cell_drops_no_other(tmp_path):
    first, _, _ = _cell(7)
    second = _swapped(first, 0)
    third = _swapped(second, 16)
    near, far = agreement(third, np.stack([second, first]), N)
    assert near > 0.9 > far
    assert _dropped(_dataset(tmp_path, _alike(first, second, third))) == [4]


def test_dropped_cell_stays_dropped_beside_an_unlike_one(tmp_path):
    first, _, _ = _cell(7)
    unlike = _swapped(first, 0, 14)
    assert _dropped(_dataset(tmp_path, _alike(first, unlike, first))) == [8]


def test_pairs_are_compared_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "_PAIRS", 2)
    cell, other = _cell(7), _cell(8, 0.6)
    changes = {(0, 3): cell, (1, 0): cell, (2, 2): cell, (1, 2): cell}
    changes |= {(3, 0): other, (4, 1): other}
    assert _dropped(_dataset(tmp_path, changes)) == [4, 6, 10, 17]


def test_what_is_finished_is_closed(tmp_path):
    labels = _dataset(tmp_path, {(0, 2): _cell(7), (2, 1): _cell(7)}, (0, 2))
    contents, targets = finish.close_dataset(tmp_path, subset=3, num_targets=5)
    np.testing.assert_array_equal(contents.labels.rows, labels.rows)
    assert np.flatnonzero(~contents.kept).tolist() == [5]
    assert contents.selected.sum() == 3 and len(targets) == 5
    assert [manifest["shard"] for manifest in contents.manifests] == [0, 2]
    assert contents.recipe == RECIPE and contents.timings == {}
    assert targets == _close(labels, num_targets=5).targets


def test_extract_is_of_selected_cells_and_of_few_held_out(labels):
    kept, selected, _ = _close(labels, subset=10)
    contents = tables.Contents(labels, RECIPE, [], {}, kept, selected)
    chosen = finish.extract(contents, 9)
    assert (np.diff(chosen) > 0).all() and kept[chosen].all()
    training = chosen[labels.split[chosen] == select.TRAIN]
    # Seven for training, and no more than one for validation.
    assert len(training) == 7 and selected[training].all() and len(chosen) == 8
    # A smaller part is part of a larger one.
    assert set(finish.extract(contents, 5)) < set(chosen)
    assert len(finish.extract(contents, 10**6)) == 15


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
        assert row["inside"] in (0, 1) and row["known"] in (0, 1)
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


def test_known_are_targets_with_a_training_cell_near_in_the_tensor_alone(found):
    constants, _ = _points(found)
    off = abs(constants[:, None] - CONSTANTS[TRAINING]) / elasticity.PAPER_RANGES
    least = off.mean(-1).min(1)
    known = np.array([row["known"] for row in found])
    np.testing.assert_array_equal(known, least <= 0.01)
    assert 0 < known.sum() < COUNT
    # The volume can be further away.
    distance = np.array([row["distance"] for row in found])
    assert (distance[known == 1] > 0.01).any()


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
