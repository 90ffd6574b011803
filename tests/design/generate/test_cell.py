"""Fields to cells: what is cleaned, refused and told of a cell."""

import numpy as np
from design_helpers import block, frame, octant, proportional

from mmdiff import elasticity
from mmdiff.cells import specimens
from mmdiff.cells.connectivity import periodic_pieces
from mmdiff.cells.symmetry import octant_to_cell, symmetrize
from mmdiff.design.generate.cell import binarize, make_cell
from mmdiff.targets.target import of_constants

N = 8


def test_binarize_keeps_good_fields():
    octant, reason, pieces = binarize(frame(), None)
    assert reason == "" and pieces == 1
    assert octant.dtype == np.uint8 and set(np.unique(octant)) == {0, 1}


def test_binarize_meets_the_volume():
    n = 16
    octant, reason, _ = binarize(np.asarray(specimens.graded(n)), 0.35)
    # The largest orbit holds 6 of n^3 voxels, so half of that is the rounding.
    assert reason == ""
    assert abs(octant.mean() - 0.35) <= 3 / n**3 + 1e-12


def test_binarize_refuses_what_carries_no_load():
    assert binarize(block(), None)[1] == "not load bearing"
    assert binarize(-np.ones((N, N, N)), None)[1] == "disconnected"


def test_loose_pieces_are_removed_and_counted():
    field = frame(16, 3)
    field[4, 4, 4] = 1  # a speck in each of the eight octants
    octant, reason, pieces = binarize(field, None)
    assert reason == "" and pieces == 9
    assert periodic_pieces(octant_to_cell(octant))[1] == 1
    assert octant[4, 4, 4] == 0


def test_missing_volume_thickens_walls_instead_of_adding_dust():
    noise = symmetrize(np.random.default_rng(0).normal(size=(16, 16, 16)))
    field = np.tanh(4 * frame(16, 2) + 0.5 * noise)
    octant, reason, pieces = binarize(field, 0.45)
    # The sample itself holds 33 %.
    assert reason == "" and pieces == 1
    assert abs(octant.mean() - 0.45) < 1e-2


def test_a_cell_tells_its_numbers():
    part = octant(N)
    cell = make_cell(part, proportional(part), of_constants((0.4, 0.2, 0.1), 0.5), 3)
    assert cell.volume == part.mean() and cell.pieces == 1 and cell.pieces_found == 3
    d = abs(cell.constants - np.array([0.4, 0.2, 0.1]))
    error = np.mean(d / [1.330768, 0.667355, 0.383357])
    np.testing.assert_allclose(cell.error, error, rtol=1e-12)
    assert cell.history == (cell.error,) and cell.volumes == (cell.volume,)
    assert cell.voxels.shape == (2 * N,) * 3 and cell.voxels.dtype == np.uint8
    np.testing.assert_array_equal(cell.voxels[N:, N:, N:], part[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(
        elasticity.voigt_to_cubic(cell.tensor), cell.constants
    )
    expected = f"Cell(16^3 voxels, volume {cell.volume:.3f}, C11 {cell.volume:.4f}, C12"
    assert repr(cell).startswith(expected)
    assert repr(cell).endswith(f" {100 * error:.2f} % from the target)")
