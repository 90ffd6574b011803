"""Periodic pieces, load paths and clean-up of binary cells."""

import numpy as np
import pytest
from fem_helpers import random_octant, strut_octant

from mmdiff.cells import connectivity, symmetry, voxels


def _pieces_by_flooding(cell):
    """Number of periodic pieces, voxel by voxel."""
    n, left, pieces = cell.shape[0], set(map(tuple, np.argwhere(cell))), 0
    while left:
        pieces += 1
        stack = [left.pop()]
        while stack:
            voxel = stack.pop()
            for axis in range(3):
                for step in (-1, 1):
                    other = list(voxel)
                    other[axis] = (other[axis] + step) % n
                    if tuple(other) in left:
                        left.remove(tuple(other))
                        stack.append(tuple(other))
    return pieces


@pytest.mark.parametrize("share", [0.05, 0.2, 0.3, 0.6])
def test_periodic_pieces_against_flooding(share):
    rng = np.random.default_rng(0)
    for _ in range(5):
        cell = (rng.random((6, 6, 6)) < share).astype(np.uint8)
        labels, count = connectivity.periodic_pieces(cell)
        assert count == _pieces_by_flooding(cell)
        assert set(np.unique(labels)) - {0} == set(range(1, count + 1))
        np.testing.assert_array_equal(labels > 0, cell == 1)


def test_pieces_that_meet_through_opposite_faces_are_one():
    cell = np.zeros((4, 4, 4), np.uint8)
    cell[0, 1, 1] = cell[3, 1, 1] = 1
    assert connectivity.periodic_pieces(cell)[1] == 1
    cell[3, 1, 1], cell[3, 2, 1] = 0, 1  # now they meet along an edge only
    assert connectivity.periodic_pieces(cell)[1] == 2
    assert connectivity.periodic_pieces(np.zeros((4, 4, 4), np.uint8))[1] == 0


def test_keep_largest():
    cell = np.zeros((6, 6, 6), np.uint8)
    cell[0, 0, :] = 1
    cell[3, 3, 3] = 1
    cell[3, 3, 1] = 1
    kept, count, share = connectivity.keep_largest(cell)
    assert count == 3 and share == 6 / 8 and kept.dtype == np.uint8
    assert kept.sum() == 6 and kept[0, 0].all()
    empty, count, share = connectivity.keep_largest(np.zeros_like(cell))
    assert count == 0 and share == 0 and not empty.any()


def test_spanning_axes_of_a_rod():
    cell = np.zeros((6, 6, 6), np.uint8)
    cell[:, 2, 2] = 1
    assert connectivity.spanning_axes(cell) == (True, False, False)
    cell[3] = 0
    assert connectivity.spanning_axes(cell) == (False, False, False)


def test_spanning_needs_one_piece_on_both_faces():
    cell = np.zeros((6, 6, 6), np.uint8)
    cell[:3, 0, 0] = cell[3:, 2, 2] = 1
    assert connectivity.spanning_axes(cell) == (False, False, False)


def test_clean_octant_removes_islands():
    octant = strut_octant(8, 2)
    island = octant.copy()
    island[5:7, 5:7, 5:7] = 1
    cleaned, count, share = connectivity.clean_octant(island)
    np.testing.assert_array_equal(cleaned, octant)
    # Eight mirror images of the island and the frame.
    assert count == 9
    assert share == pytest.approx(octant.sum() / island.sum())


def test_clean_octant_empties_a_cell_of_equal_pieces():
    octant = np.zeros((8, 8, 8), np.uint8)
    octant[3:5, 3:5, 3:5] = 1
    cleaned, count, share = connectivity.clean_octant(octant)
    assert count == 8 and share == 0 and not cleaned.any()


def test_load_bearing():
    frame = strut_octant(6, 2)
    assert connectivity.is_load_bearing(frame)
    island = frame.copy()
    island[5, 5, 5] = 1
    assert not connectivity.is_load_bearing(island)
    ball = np.zeros_like(frame)
    ball[3:, 3:, 3:] = 1
    assert connectivity.periodic_pieces(symmetry.octant_to_cell(ball))[1] == 1
    assert not connectivity.is_load_bearing(ball)


def test_spanning_of_octant_and_cell_agree():
    rng = np.random.default_rng(0)
    for volume in rng.uniform(0.2, 0.8, 20):
        octant = voxels.threshold_to_volume(random_octant(4, int(1e6 * volume)), volume)
        # Only a connected octant: paths fold back into it, pieces do not.
        octant = connectivity.clean_octant(octant)[0]
        cell = symmetry.octant_to_cell(octant)
        assert connectivity.spanning_axes(octant) == connectivity.spanning_axes(cell)


def empty():
    return np.zeros((8, 8, 8), bool)


def test_straight_rods_and_blocks():
    cell = empty()
    assert connectivity.winding_axes(cell) == (False, False, False)
    cell[2:4, 2:4, 2:4] = True
    assert connectivity.winding_axes(cell) == (False, False, False)
    cell[3, 3, :] = True
    assert connectivity.winding_axes(cell) == (False, False, True)
    cell[3, :, 3] = cell[:, 3, 3] = True
    assert connectivity.winding_axes(cell) == (True, True, True)
    assert connectivity.winding_axes(~empty()) == (True, True, True)


def test_a_path_through_other_faces_counts():
    # A staircase that leaves through y twice before it has crossed x.
    cell = empty()
    for x in range(8):
        cell[x, [(2 * x) % 8, (2 * x + 1) % 8, (2 * x + 2) % 8], 4] = True
    assert connectivity.winding_axes(cell) == (True, True, False)
    assert connectivity.spanning_axes(cell)[0] is False


def test_touching_both_faces_is_not_enough():
    # A piece from face to face whose ends do not meet their images.
    cell = empty()
    cell[:, 2, 4] = True
    cell[0, 2, 4] = False
    cell[1, 2:6, 4] = True
    cell[0, 5, 4] = True
    assert connectivity.spanning_axes(cell)[0] is True
    assert connectivity.winding_axes(cell) == (False, False, False)


def test_octants_are_judged_as_their_cells():
    rng = np.random.default_rng(1)
    bearing = 0
    for share in np.linspace(0.2, 0.8, 60):
        octant = symmetry.spread(rng.random(35) < share, 5)
        cell = symmetry.octant_to_cell(octant)
        whole = connectivity.periodic_pieces(cell)[1] == 1
        expected = whole and all(connectivity.spanning_axes(cell))
        assert connectivity.is_load_bearing(octant) == expected
        bearing += expected
        kept, count, part = connectivity.clean_octant(octant)
        largest, pieces, held = connectivity.keep_largest(cell)
        assert count == pieces
        if kept.any() and held > 0.5:  # no other piece is as large
            np.testing.assert_array_equal(symmetry.octant_to_cell(kept), largest)
            assert part == pytest.approx(held)
    assert 5 < bearing < 55
