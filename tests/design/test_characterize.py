"""What is reported about a cell, from a tensor that is given and not solved for."""

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.design import characterize, dossier
from mmdiff.errors import InputError
from mmdiff.io.prepare import Grid

MATERIAL = characterize.Material(E=100.0)


def facts_of(cell, tensor, **changes):
    loads = len(changes.get("residual", [0] * 6))
    solution = characterize.Solution(
        tensor=tensor,
        energy=np.zeros((loads, *cell.shape)),
        loads=tuple(range(loads)),
        iterations=np.array(changes.get("iterations", [7] * loads)),
        residual=np.array(changes.get("residual", [1e-6] * loads)),
        converged=np.array(changes.get("converged", [True] * loads)),
    )
    grid = Grid(cell, "periodic")
    return characterize.report(grid, solution, MATERIAL)


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
    said = characterize.remarks("a.npy", facts_of(rods(), tensor), tol=1e-5, maxiter=9)
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
    said = characterize.remarks("a.npy", facts, tol=1e-5, maxiter=500)
    assert (
        "the solid does not span the cell along z: stiffness is near zero there and "
        'the tensor is singular. Homogenized anyway; marked "not load bearing".'
    ) in said[1]
    assert (
        "CG stopped at residual 0.003 after 500 steps (wanted 1e-05) for load 4 of 6; "
        "results marked unconverged. Very low densities need "
        "--config.solver.maxiter=2000 or --config.solver.dtype=float64."
    ) in said[2]
    line = characterize.row("a.npy", facts)
    assert len(line) == len(characterize.HEADER)
    assert line[-1] == "not load bearing, unconverged"


@pytest.mark.parametrize(
    "values", [{"E": 0.0}, {"nu": 0.5}, {"nu": -1.0}, {"void": 0.0}, {"penal": 0.5}]
)
def test_impossible_materials_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        characterize.Material(**values)


def test_tensor_text_has_no_rounding_noise_and_keeps_soft_directions():
    tensor = np.diag([0.5, 0.5, 3e-9, 1e-9, 1e-9, 0.2])
    tensor[0, 1] = tensor[1, 0] = 0.15
    tensor[0, 2] = tensor[2, 0] = 1e-9  # Poisson coupling to the soft axis
    tensor[0, 5] = tensor[5, 0] = 2e-8  # rounding
    text = dossier.tensor_text(tensor)
    got = np.array([line.split() for line in text.splitlines()], float)
    assert got[0, 5] == 0 and got[2, 2] == 3e-9 and got[0, 2] == 1e-9
    assert got.shape == (6, 6)


def test_the_spreadsheet_row_holds_single_values_only():
    facts = {"file": "a.npy", **facts_of(rods(), np.eye(6))}
    line = dossier.flat(facts)
    assert all(isinstance(v, bool | int | float | str) for v in line.values())
    assert line["file"] == "a.npy" and line["C_11_11"] == 1 and line["spans_z"]
    assert sum(key.startswith("C_") for key in line) == 21
