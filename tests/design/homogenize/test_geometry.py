"""When the finer mesh is solved, and which octants are fit for a surface."""

import numpy as np
import pytest
from homogenize_helpers import schwarz

from mmdiff.cells.prepare import Grid
from mmdiff.cells.symmetry import cell_to_octant
from mmdiff.design.homogenize import geometry


@pytest.mark.parametrize(
    "symmetry, edge", [("cubic", 64), ("orthotropic", 44), ("periodic", 44)]
)
def test_refined_up_to_a_number_of_unknowns(symmetry, edge):
    largest = Grid(np.ones((edge,) * 3), symmetry)
    assert geometry.refinable(largest, "auto", "a") == (True, ())
    assert geometry.refinable(largest, "never", "a") == (False, ())
    larger = Grid(np.ones((edge + 4,) * 3), symmetry)
    refine, (note,) = geometry.refinable(larger, "auto", "a")
    shape = " x ".join(3 * [str(2 * edge + 8)])
    assert not refine and f"which takes {shape} elements and " in note
    assert note.startswith("a: not solved on a mesh twice as fine")
    assert geometry.refinable(larger, "always", "a") == (True, ())


def test_densities_are_not_refined_unless_asked():
    grey = Grid(0.5 * np.ones((8, 8, 8)), "cubic")
    assert geometry.refinable(grey, "auto", "a") == (False, ())
    assert geometry.refinable(grey, "always", "a") == (True, ())


def test_the_octant_of_a_cell_however_it_is_solved():
    cell = schwarz().astype(np.float32)
    octant = cell_to_octant(cell)
    found = geometry.octant_of(Grid(cell, "periodic"))
    np.testing.assert_array_equal(found, octant)
    assert geometry.octant_of(Grid(octant, "cubic")) is octant
    assert geometry.octant_of(Grid(np.roll(cell, 3, 0), "periodic")) is None
    assert geometry.octant_of(Grid(0.5 * octant, "cubic")) is None
