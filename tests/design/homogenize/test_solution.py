"""Finite elements on prepared cells: accuracy, fields, and what is refused."""

import numpy as np
import pytest
from homogenize_helpers import rods, schwarz

from mmdiff.cells import prepare
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import solution
from mmdiff.design.homogenize.solution import Material, Solver
from mmdiff.errors import InputError


@pytest.mark.parametrize("dtype, void", [("float32", 1e-10), ("float64", 1e-16)])
def test_void_must_not_drown_in_rounding(dtype, void):
    grid = Grid(rods(), "periodic")
    with pytest.raises(InputError, match=f"void={void:g} is too little for {dtype}"):
        solution.solve(grid, Material(void=void), Solver(dtype=dtype))


def test_fields_are_chosen_by_name():
    assert solution.choose_fields(" strain, energy") == ("energy", "strain")
    assert solution.choose_fields("") == ()
    with pytest.raises(InputError, match="fields=heat: heat is unknown. Use any"):
        solution.choose_fields("heat")


@pytest.mark.parametrize(
    "kind, values",
    [
        (Material, {"E": 0.0}),
        (Material, {"E": np.nan}),
        (Material, {"nu": 0.5}),
        (Material, {"nu": -1.0}),
        (Material, {"void": 0.0}),
        (Material, {"penal": 0.5}),
        (Solver, {"tol": 0.0}),
        (Solver, {"maxiter": 0}),
        (Solver, {"dtype": "half"}),
    ],
)
def test_impossible_settings_are_refused(kind, values):
    with pytest.raises(InputError, match=next(iter(values))):
        kind(**values)


def test_fields_are_those_of_the_whole_cell():
    grid = prepare.prepare(schwarz(), "cell")
    fields = solution.solve(grid, fields=solution.FIELDS).fields
    assert list(fields) == ["energy", "strain", "displacement", "stress"]
    strain, displacement = fields["strain"], fields["displacement"]
    assert strain.shape == (2, 6, 16, 16, 16)
    assert displacement.shape == (2, 3, 17, 17, 17)
    # On average the strain is the macro strain: 11 and 23. Rounding of 4096 terms.
    mean = strain.mean((2, 3, 4))
    np.testing.assert_allclose(mean, np.eye(6)[[0, 3]], atol=1e-5)
    # Opposite faces move apart by it; the unit cell has side 1.
    apart = displacement[0, 0, -1] - displacement[0, 0, 0]
    np.testing.assert_allclose(apart, 1, atol=1e-5)
    for axis, component in ((2, 1), (1, 2)):  # gamma_23 = u2,3 + u3,2
        low, high = (displacement[1, component].take(i, axis) for i in (0, -1))
        np.testing.assert_allclose(high - low, 0.5, atol=1e-5)


@pytest.mark.slow
def test_tiling_changes_nothing_of_the_tensor():
    tiled = {"resize": 16, "resize_method": "tile"}
    grids = [
        prepare.prepare(schwarz(8), "cell", prepare.Options(**options))
        for options in ({}, tiled)
    ]
    assert [grid.symmetry for grid in grids] == ["cubic", "cubic"]
    tensors = [solution.solve(g, solver=Solver(tol=1e-6)).tensor for g in grids]
    # Both to the tolerance, whose square goes into C, and to rounding.
    np.testing.assert_allclose(*tensors, atol=2e-6)


@pytest.mark.slow
def test_double_precision():
    grid = prepare.prepare(schwarz(), "cell")
    solved = solution.solve(grid, solver=Solver(1e-10, dtype="float64"))
    assert solved.converged.all() and solved.residual.max() < 1e-10
