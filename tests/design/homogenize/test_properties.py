"""What is said of a cell, from a tensor that is given, and solved for."""

import json

import numpy as np
import pytest
from homogenize_helpers import rods, summary

from mmdiff import elasticity
from mmdiff.design.homogenize import remarks, report
from mmdiff.design.homogenize.solution import Material


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
