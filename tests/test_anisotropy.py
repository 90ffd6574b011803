"""Averages and engineering constants against textbook formulas."""

import numpy as np
import pytest

from mmdiff import anisotropy, elasticity


def test_averages_of_copper():
    # C11 168.4, C12 121.4, C44 75.4 GPa; the cubic formulas for the shear averages.
    c11, c12, c44 = 168.4, 121.4, 75.4
    got = anisotropy.averages(elasticity.cubic_to_voigt(np.array([c11, c12, c44])))
    averages = got["averages"]
    for name in ("Voigt", "Reuss", "Hill"):
        assert averages[name]["K"] == pytest.approx((c11 + 2 * c12) / 3)
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert averages["Voigt"]["G"] == pytest.approx(voigt)
    assert averages["Reuss"]["G"] == pytest.approx(reuss)
    assert averages["Hill"]["G"] == pytest.approx((voigt + reuss) / 2)
    assert got["universal_anisotropy"] == pytest.approx(5 * (voigt / reuss - 1))
    isotropic = anisotropy.averages(elasticity.cubic_to_voigt(elasticity.isotropic()))
    for values in isotropic["averages"].values():
        assert values["E"] == pytest.approx(1) and values["nu"] == pytest.approx(0.3)
    assert abs(isotropic["universal_anisotropy"]) < 1e-12  # rounding of float64


def test_averages_do_not_depend_on_the_axes():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    tensor = root @ root.T
    order = [2, 0, 1, 5, 3, 4]  # x y z -> z x y
    turned = anisotropy.averages(tensor[np.ix_(order, order)])
    assert turned["averages"]["Reuss"] == pytest.approx(
        anisotropy.averages(tensor)["averages"]["Reuss"]
    )


def test_engineering_constants_come_back():
    # Wood: E1 > E2 > E3, with nu_ij / E_i = nu_ji / E_j.
    young, shear = np.array([10.0, 1.0, 0.5]), [0.1, 0.6, 0.7]
    s = np.diag([*1 / young, *1 / np.array(shear)])
    s[0, 1] = s[1, 0] = -0.4 / young[0]
    s[0, 2] = s[2, 0] = -0.5 / young[0]
    s[1, 2] = s[2, 1] = -0.3 / young[1]
    got = anisotropy.engineering(np.linalg.inv(s))
    expected = {
        "E_11": 10.0, "E_22": 1.0, "E_33": 0.5, "G_23": 0.1, "G_13": 0.6, "G_12": 0.7,
        "nu_12": 0.4, "nu_13": 0.5, "nu_23": 0.3, "nu_21": 0.04, "nu_31": 0.025,
        "nu_32": 0.15,
    }  # fmt: skip
    assert got == pytest.approx(expected)
    np.testing.assert_allclose(anisotropy.inverse(np.linalg.inv(s)), s, atol=1e-9)
