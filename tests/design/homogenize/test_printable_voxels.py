"""Printability of voxels: against counts by hand, and the field where there is one."""

import numpy as np
import pytest

from mmdiff.cells import surface
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.homogenize.printable_voxels import (
    faithful_field,
    printability_of_voxels,
    samples,
)


def test_pieces_meet_through_the_faces_of_the_cell():
    cell = np.zeros((12, 12, 12))
    cell[:, 3:9, 3:9] = 1  # a rod along x,
    cell[[0, 1, 10, 11], 0, 0] = 1  # a block of 4 voxels through the face,
    cell[5:7, 5:7, 5:7] = 0  # and a pore of 8 in the rod
    found = printability_of_voxels(cell)
    solid = 12 * 36 - 8 + 4
    assert found.pieces == 2 and found.loose == pytest.approx(4 / solid)
    assert found.void_pieces == 2
    assert found.trapped == pytest.approx(8 / (12**3 - solid))


def test_void_that_winds_through_other_cells_is_open():
    # A diagonal channel leaves through one face and comes back through another.
    cell = np.ones((8, 8, 8))
    for i in range(8):
        cell[i, i, 2:5] = cell[(i + 1) % 8, i, 2:5] = 0
    found = printability_of_voxels(cell)
    assert found.void_pieces == 1 and found.trapped == 0
    cell[0, :] = 1  # a wall across
    assert printability_of_voxels(cell).trapped == 1


def test_walls_gaps_and_overhangs_of_a_plate():
    cell = np.zeros((16, 16, 16))
    cell[:, :, 2:5] = 1
    found = printability_of_voxels(cell)
    assert (found.wall, found.gap) == (3 / 16, 13 / 16)
    assert found.overhang == pytest.approx(0.5)  # its lower face
    assert printability_of_voxels(cell.swapaxes(0, 2)).overhang == 0
    # Walls of 35 degrees to the horizontal are overhangs, of 55 degrees not.
    y, z = np.indices((32, 32, 32))[1:]
    flat = printability_of_voxels((3 * z - 2 * y) % 32 < 16)
    steep = printability_of_voxels((2 * z - 3 * y) % 32 < 16)
    assert flat.overhang == pytest.approx(0.5, abs=0.03) and steep.overhang < 0.03


def test_all_solid_and_all_void():
    solid = printability_of_voxels(np.ones((8, 8, 8)))
    assert (solid.pieces, solid.void_pieces, solid.trapped) == (1, 0, 0)
    assert solid.wall == np.inf and solid.overhang == 0
    void = printability_of_voxels(np.zeros((8, 8, 8)))
    assert (void.pieces, void.loose, void.trapped) == (0, 0, 0)


def test_a_smooth_cell_is_measured_alike_by_field_and_voxels():
    x, y, z = np.indices((16, 16, 16)) + 0.5
    octant = 10 - np.sqrt(x**2 + y**2 + z**2) < 0  # a ball of void, radius 10
    psi = faithful_field(octant)
    np.testing.assert_array_equal(psi, surface.from_voxels(octant))
    of_field, of_voxels = (
        printability(psi),
        printability_of_voxels(octant_to_cell(octant)),
    )
    assert (of_field.pieces, of_field.void_pieces) == (1, 1)
    assert (of_voxels.pieces, of_voxels.void_pieces) == (1, 1)
    assert of_field.trapped == of_voxels.trapped == 1
    # 12 voxels of solid between two balls, a voxel more or less.
    assert 32 * of_field.wall == pytest.approx(12, abs=0.5)
    assert 32 * of_voxels.wall == pytest.approx(12, abs=1.1)
    assert of_voxels.overhang == pytest.approx(of_field.overhang, abs=0.02)


def test_no_field_where_smoothing_cuts_a_strut():
    octant = np.zeros((12, 12, 12))
    octant[5:, 5:, 5:] = 1
    assert faithful_field(octant) is not None
    octant[:, 8, 8] = 1
    assert faithful_field(octant) is None
    assert faithful_field(np.ones((8, 8, 8))) is None


def test_large_octants_have_fields_of_fewer_samples():
    assert [samples(m) for m in (8, 20, 64, 96, 128, 134)] == [8, 20, 64, 48, 64, 134]
