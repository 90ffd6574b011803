"""Samples to fields: what is cleaned, refused and told of a cell."""

import numpy as np
import pytest
from design_helpers import smooth_field
from field_helpers import estimate

from mmdiff import elasticity
from mmdiff.cells import surface
from mmdiff.cells.printable import printability
from mmdiff.design.generate.cell import make_cell
from mmdiff.targets.target import of_constants

N = 8


def test_a_cell_tells_its_numbers():
    psi = smooth_field(0.45)
    result = estimate(psi)
    goal = np.array([0.4, 0.2, 0.1])
    cell = make_cell(psi, result, of_constants(goal, 0.5))
    assert cell.volume == pytest.approx(0.45, abs=1e-4)
    np.testing.assert_array_equal(cell.constants, result.constants)
    error = np.mean(abs(cell.constants - goal) / [1.330768, 0.667355, 0.383357])
    np.testing.assert_allclose(cell.error, error, rtol=1e-12)
    assert cell.history == (cell.error,) and cell.volumes == (cell.volume,)
    assert cell.voxels.shape == (128,) * 3 and cell.voxels.dtype == np.uint8
    assert abs(cell.voxels.mean() - 0.45) < 5e-3
    part = cell.voxels[64:, 64:, 64:]
    np.testing.assert_array_equal(part[::-1, ::-1, ::-1], surface.voxels(psi, 64))
    np.testing.assert_array_equal(cell.octant, surface.voxels(psi, N))
    got = elasticity.voigt_to_cubic(cell.tensor)
    np.testing.assert_array_equal(got, cell.constants)
    assert cell.printability == printability(psi)
    c, d = cell.constants[0], cell.uncertainty[0]
    assert repr(cell).startswith(f"Cell(volume 0.450, C11 {c:.4f}({d:.4f}), C12 ")
    assert repr(cell).endswith(f" {100 * error:.3f} % from the target)")
    assert np.isnan(cell.as_voxels).all()
