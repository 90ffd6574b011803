"""What is said of a cell, from a tensor that is given, and solved for."""

import json
import types

import numpy as np
import pytest
from homogenize_helpers import rods, schwarz, summary

from mmdiff import elasticity
from mmdiff.cells.symmetry import cell_to_octant
from mmdiff.design.homogenize import properties, remarks, report
from mmdiff.design.homogenize.solution import Material
from mmdiff.fem import homogenize


def test_moduli_are_in_units_of_the_base_material():
    tensor = elasticity.cubic_to_voigt(100 * elasticity.isotropic())
    found = summary(np.ones((8, 8, 8), np.float32), tensor, Material(E=100.0))
    assert found["E"] == pytest.approx(100) and found["nu"] == pytest.approx(0.3)
    assert found["E_min"]["value"] == pytest.approx(100)
    assert set(found["E_along"]) >= {"[100]", "[110]", "[1-10]", "[111]", "[-111]"}
    # Solid is its own bound.
    np.testing.assert_allclose(list(found["HS"].values()), 1, rtol=1e-12)
    assert found["load_bearing"] and found["volume"] == 1


def test_numbers_that_do_not_exist_are_null():
    # C11 = C12: no resistance to one kind of shear, so no Zener ratio.
    tensor = elasticity.cubic_to_voigt(np.array([0.2, 0.2, 0.1]))
    found = summary(rods(), tensor)
    assert found["Zener"] is None and found["S"] is None
    json.dumps(found, allow_nan=False)
    assert len(remarks.remarks("a", found, tol=1e-5, maxiter=9)) == 1
    remarks.row("a.npy", found)
    report.flat(found | {"file": "a.npy"})


def test_characterize_solves_and_describes_an_array():
    cell = schwarz()
    found = properties.characterize(types.SimpleNamespace(voxels=cell), base_E=2000)
    octant = cell_to_octant(cell).astype(np.float32)
    tensor = np.asarray(homogenize.homogenize(octant)[0], np.float64)
    np.testing.assert_array_equal(found["C"], 2000 * tensor)
    assert found["symmetry"] == "cubic" and found["resolution"] == 16
    assert found["volume"] == pytest.approx(cell.mean())
    assert found["pieces"] == 1 and found["load_bearing"] and found["converged"]
    assert found["E_along"]["[100]"] == pytest.approx(found["E"])
    extremes = sorted([found["E_along"]["[100]"], found["E_along"]["[111]"]])
    assert [found["E_min"]["value"], found["E_max"]["value"]] == pytest.approx(extremes)
    # A shell lattice stays below the bound, and not by much.
    assert 0.7 < found["HS"]["K/K_HS"] < 1
    # A sheet of two to three voxels, oblique nearly everywhere.
    assert 1.5 < found["wall_voxels"]["minimum"] <= found["wall_voxels"]["mean"] < 4
    assert found["gap_voxels"]["minimum"] > 2 and found["notes"] == []
    json.dumps(found, allow_nan=False)


def test_a_solid_cell_has_the_tensor_of_the_base_material():
    found = properties.characterize(np.ones((16, 16, 16), bool))
    expected = elasticity.cubic_to_voigt(elasticity.isotropic())
    # A few roundings of float32.
    np.testing.assert_allclose(found["C"], expected, atol=1e-6)
    assert found["HS"]["K/K_HS"] == pytest.approx(1, abs=1e-6)
    assert found["load_bearing"] and found["singular_loads"] == []
    assert found["gap_voxels"]["minimum"] is None
    assert "cell is solid everywhere" in found["notes"][0]


def test_grey_cells_are_homogenized_as_they_are():
    found = properties.characterize(np.full((16, 16, 16), 0.6))
    # E = void + 0.6^3 (1 - void); a few roundings of float32.
    assert found["E"] == pytest.approx(1e-6 + 0.216 * (1 - 1e-6), abs=1e-6)
