"""Whether the repeated solid runs on for ever along each axis."""

import numpy as np

from mmdiff.cells.voxels import spanning_axes, winding_axes


def empty():
    return np.zeros((8, 8, 8), bool)


def test_straight_rods_and_blocks():
    cell = empty()
    assert winding_axes(cell) == (False, False, False)
    cell[2:4, 2:4, 2:4] = True
    assert winding_axes(cell) == (False, False, False)
    cell[3, 3, :] = True
    assert winding_axes(cell) == (False, False, True)
    cell[3, :, 3] = cell[:, 3, 3] = True
    assert winding_axes(cell) == (True, True, True)
    assert winding_axes(~empty()) == (True, True, True)


def test_a_path_through_other_faces_counts():
    # A staircase that leaves through y twice before it has crossed x.
    cell = empty()
    for x in range(8):
        cell[x, [(2 * x) % 8, (2 * x + 1) % 8, (2 * x + 2) % 8], 4] = True
    assert winding_axes(cell) == (True, True, False)
    assert spanning_axes(cell)[0] is False


def test_touching_both_faces_is_not_enough():
    # A piece from face to face whose ends do not meet their images.
    cell = empty()
    cell[:, 2, 4] = True
    cell[0, 2, 4] = False
    cell[1, 2:6, 4] = True
    cell[0, 5, 4] = True
    assert spanning_axes(cell)[0] is True
    assert winding_axes(cell) == (False, False, False)
