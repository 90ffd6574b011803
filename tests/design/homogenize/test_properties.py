"""What is reported about a cell, from a tensor that is given and not solved for."""

import json

import numpy as np
import pytest

from mmdiff import anisotropy, elasticity
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import properties, remarks, report
from mmdiff.errors import InputError

MATERIAL = properties.Material(E=100.0)


def facts_of(cell, tensor, **changes):
    loads = len(changes.get("residual", [0] * 6))
    solution = properties.Solution(
        tensor=tensor,
        loads=tuple(range(loads)),
        iterations=np.array(changes.get("iterations", [7] * loads)),
        residual=np.array(changes.get("residual", [1e-6] * loads)),
        converged=np.array(changes.get("converged", [True] * loads)),
        singular=np.array(changes.get("singular", [False] * loads)),
        fields={},
    )
    grid = Grid(cell, "periodic")
    return properties.report(grid, solution, MATERIAL)


def rods():
    """Three crossed rods and two loose blocks of 8 voxels."""
    cell = np.zeros((16, 16, 16), np.float32)
    cell[6:8, 6:8, :] = cell[6:8, :, 6:8] = cell[:, 6:8, 6:8] = 1
    cell[1:3, 1:3, 1:3] = cell[12:14, 12:14, 12:14] = 1
    return cell


def test_moduli_are_in_units_of_the_base_material():
    tensor = elasticity.cubic_to_voigt(100 * elasticity.isotropic())
    facts = facts_of(np.ones((8, 8, 8), np.float32), tensor)
    assert facts["E"] == pytest.approx(100) and facts["nu"] == pytest.approx(0.3)
    assert facts["E_min"]["value"] == pytest.approx(100)
    assert set(facts["E_along"]) >= {"[100]", "[110]", "[1-10]", "[111]", "[-111]"}
    # Solid is its own bound.
    np.testing.assert_allclose(list(facts["HS"].values()), 1, rtol=1e-12)
    assert facts["load_bearing"] and facts["volume"] == 1


def test_remarks_name_pieces_axes_and_loads():
    tensor = np.eye(6)
    said = remarks.remarks("a.npy", facts_of(rods(), tensor), tol=1e-5, maxiter=9)
    assert len(said) == 1 and "a.npy has 3 separate solid pieces across" in said[0]
    assert f"the largest holds {100 * 176 / 192:.0f} % of the solid" in said[0]

    cell = rods()
    cell[6:8, 6:8, 0] = 0
    changes = {
        "residual": [1e-6, 1e-6, 1e-6, 3e-3, 1e-6, 1e-6],
        "converged": [True, True, True, False, True, True],
        "iterations": [7, 7, 7, 500, 7, 7],
    }
    facts = facts_of(cell, tensor, **changes)
    said = remarks.remarks("a.npy", facts, tol=1e-5, maxiter=500)
    assert (
        "the solid does not span the cell along z: stiffness is near zero there and "
        'the tensor is singular. Homogenized anyway; marked "not load bearing".'
    ) in said[1]
    assert (
        "CG stopped at residual 3e-3 after 500 steps (wanted 1e-5) for load 4 of 6; "
        "results marked unconverged. Very low densities need "
        "--config.solver.maxiter=2000 or --config.solver.dtype=float64."
    ) in said[2]
    line = remarks.row("a.npy", facts)
    assert len(line) == len(remarks.HEADER)
    assert line[-1] == "not load bearing, unconverged"


def test_remarks_name_loads_without_a_path():
    facts = facts_of(rods(), np.eye(6), singular=[False] * 3 + [True, True, False])
    assert facts["singular_loads"] == ["23", "13"] and facts["loads"][3] == "23"
    assert all(facts["spans"].values()) and not facts["load_bearing"]
    said = remarks.remarks("a.npy", facts, tol=1e-5, maxiter=9)
    assert "a.npy: the solid has no path for load 23 and 13: stiffness is" in said[1]


def test_remarks_on_cells_without_void():
    def said(cell):
        facts = facts_of(cell, np.eye(6))
        return remarks.remarks("a.npy", facts, tol=1e-5, maxiter=9)

    solid = np.ones((8, 8, 8), np.float32)
    assert said(solid) == [
        "a.npy is solid everywhere: the tensor is that of the base material."
    ]
    assert "a.npy has no voxel at or below 0.5" in said(0.6 * solid)[0]


def test_all_axes_without_a_path_are_listed():
    cell = np.zeros((8, 8, 8), np.float32)
    cell[3:5, 3:5, 3:5] = 1
    said = remarks.remarks("a", facts_of(cell, np.eye(6)), tol=1e-5, maxiter=9)
    assert "does not span the cell along x, y and z: stiffness is near zero" in said[0]


def test_numbers_that_do_not_exist_are_null():
    # C11 = C12: no resistance to one kind of shear, so no Zener ratio.
    tensor = elasticity.cubic_to_voigt(np.array([0.2, 0.2, 0.1]))
    facts = facts_of(rods(), tensor)
    assert facts["Zener"] is None and facts["S"] is None
    json.dumps(facts, allow_nan=False)
    facts |= {"file": "a.npy", "conventions": properties.CONVENTIONS}
    assert len(remarks.remarks("a", facts, tol=1e-5, maxiter=9)) == 1
    remarks.row("a.npy", facts)
    report.flat(facts)


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


@pytest.mark.parametrize(("dtype", "void"), [("float32", 1e-10), ("float64", 1e-16)])
def test_void_must_not_drown_in_rounding(dtype, void):
    grid = Grid(rods(), "periodic")
    with pytest.raises(InputError, match=f"void={void:g} is too little for {dtype}"):
        properties.solve(grid, properties.Material(void=void), dtype=dtype)


def test_fields_are_chosen_by_name():
    assert properties.choose_fields(" strain, energy") == ("energy", "strain")
    assert properties.choose_fields("") == ()
    with pytest.raises(
        InputError, match="fields=stress: stress is unknown. Use any of"
    ):
        properties.choose_fields("stress")


@pytest.mark.parametrize(
    "values",
    [
        {"E": 0.0},
        {"E": np.nan},
        {"nu": 0.5},
        {"nu": -1.0},
        {"void": 0.0},
        {"penal": 0.5},
        {"penal": np.nan},
    ],
)
def test_impossible_materials_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        properties.Material(**values)


def test_tensor_text_has_no_rounding_noise_and_keeps_soft_directions():
    tensor = np.diag([0.5, 0.5, 3e-9, 1e-9, 1e-9, 0.2])
    tensor[0, 1] = tensor[1, 0] = 0.15
    tensor[0, 2] = tensor[2, 0] = 1e-9  # Poisson coupling to the soft axis
    tensor[0, 5] = tensor[5, 0] = 2e-8  # rounding
    text = report.tensor_text(tensor)
    got = np.array([line.split() for line in text.splitlines()], float)
    assert got[0, 5] == 0 and got[2, 2] == 3e-9 and got[0, 2] == 1e-9
    assert got.shape == (6, 6)


def test_the_spreadsheet_row_holds_single_values_only():
    conventions = {"conventions": properties.CONVENTIONS}
    line = report.flat({"file": "a.npy", **conventions, **facts_of(rods(), np.eye(6))})
    assert all(isinstance(v, bool | int | float | str) for v in line.values())
    assert line["file"] == "a.npy" and line["C_11_11"] == 1 and line["spans_z"]
    assert sum(key.startswith("C_") for key in line) == 21
