"""Remarks name pieces, axes and loads, and nothing where all is well."""

import numpy as np
from homogenize_helpers import rods, summary

from mmdiff.design.homogenize import remarks
from mmdiff.design.homogenize.solution import Material


def said(cell, **changes):
    return remarks.remarks(
        "a", summary(cell, np.eye(6), **changes), tol=1e-5, maxiter=500
    )


def test_pieces_are_counted():
    (text,) = said(rods())
    assert "a has 3 separate solid pieces across" in text
    assert f"the largest holds {100 * 176 / 192:.0f} % of the solid" in text


def test_axes_and_loads_are_named():
    cell = rods()
    cell[6:8, 6:8, 0] = 0
    changes = {
        "residual": [1e-6, 1e-6, 1e-6, 3e-3, 1e-6, 1e-6],
        "converged": [True, True, True, False, True, True],
        "iterations": [7, 7, 7, 500, 7, 7],
        "singular": [False, False, True, False, False, False],
    }
    _, path, solved = said(cell, **changes)
    assert path == (
        "a: the solid does not span the cell along z: stiffness is near zero there and "
        'the tensor is singular. Homogenized anyway; marked "not load bearing".'
    )
    assert solved == (
        "a: CG stopped at residual 3e-3 after 500 steps (wanted 1e-5) for load 4 of 6; "
        "results marked unconverged. Very low densities need `maxiter=2000` or "
        "`dtype=float64`."
    )
    line = remarks.row("a", summary(cell, np.eye(6), **changes))
    assert len(line) == len(remarks.HEADER)
    assert line[-1] == "not load bearing, unconverged"


def test_all_axes_without_a_path_are_listed():
    cell = np.zeros((8, 8, 8), np.float32)
    cell[3:5, 3:5, 3:5] = 1
    text = said(cell, singular=[True] * 6)[0]
    assert "does not span the cell along x, y and z: stiffness" in text


def test_contacts_by_edges_carry_load():
    cell = rods()
    cell[6:8, 6:8, 0] = 0
    path = said(cell)[-1]
    assert "a: along z the solid meets its copy by edges and corners of voxels" in path
    assert summary(cell, np.eye(6))["load_bearing"]


def test_a_matrix_holds_all_pieces():
    found = summary(rods(), np.eye(6), Material(void=0.1))
    assert not remarks.remarks("a", found, tol=1e-5, maxiter=500)


def test_shares_of_less_than_all_are_less_than_100_percent():
    cell = np.zeros((20, 20, 20), np.float32)
    cell[2:18] = 1
    cell[0, 0, 0] = 1
    text = said(cell, singular=[True] + [False] * 5)[0]
    assert "the largest holds 99.98 % of the solid" in text


def test_loads_without_a_path_are_named():
    singular = [False] * 3 + [True, True, False]
    found = summary(rods(), np.eye(6), singular=singular)
    assert found["singular_loads"] == ["23", "13"] and found["loads"][3] == "23"
    assert all(found["spans"].values()) and not found["load_bearing"]
    text = said(rods(), singular=singular)[1]
    assert "a: the solid has no path for load 23 and 13: stiffness is" in text


def test_cells_without_void():
    solid = np.ones((8, 8, 8), np.float32)
    whole = "a is solid everywhere: the tensor is that of the base material."
    assert said(solid) == [whole]
    assert "a has no voxel at or below 0.5" in said(0.6 * solid)[0]
