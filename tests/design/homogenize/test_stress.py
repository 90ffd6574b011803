"""Stress under unit macro stress: closed forms, equilibrium and symmetry."""

import dataclasses

import numpy as np
import pytest
from homogenize_helpers import schwarz

from mmdiff.cells import prepare, surface
from mmdiff.cells.prepare import Grid
from mmdiff.design.homogenize import characterize, properties, solution, stress
from mmdiff.design.homogenize.solution import Material, Solver

EXACT = Solver(tol=1e-6)


def solved(grid, **material):
    material = Material(**material)
    return solution.solve(grid, material, EXACT, fields=("stress",))


@pytest.mark.parametrize("young", [1.0, 210.0])
def test_a_solid_has_the_stress_that_it_is_given(young):
    found = solved(Grid(np.ones((4, 4, 4), np.float32), "cubic"), E=young)
    tension, shear = found.fields["stress"]
    np.testing.assert_allclose(tension, 1.0, rtol=1e-5)
    np.testing.assert_allclose(shear, np.sqrt(3), rtol=1e-5)


def test_plates_share_the_load_by_their_area():
    # Tension along the plates: the stress is that of the section; no other is alone.
    plates = np.zeros((4, 8, 8), np.float32)
    plates[:, :, :2] = 1
    grid = prepare.prepare(plates, "plates")
    found = solved(grid, void=1e-5)
    assert grid.symmetry == "periodic"
    for load in (0, 1):
        np.testing.assert_allclose(found.fields["stress"][load][plates > 0], 4, 1e-3)
        assert (found.fields["stress"][load][plates == 0] == 0).all()
    np.testing.assert_allclose(found.fields["stress"][5][plates > 0], 4 * 3**0.5, 1e-3)
    assert properties.peak_stress(grid, found) is None  # no path along z


@pytest.mark.parametrize("symmetry", ["orthotropic", "periodic"])
def test_two_loads_of_a_cubic_cell_say_all(symmetry):
    cell = schwarz()
    cubic = prepare.prepare(cell, "cell")
    other = prepare.prepare(cell, "cell", prepare.Options(symmetry=symmetry))
    first, second = (solved(grid, E=3.0).fields["stress"] for grid in (cubic, other))
    assert first.shape == (2, 16, 16, 16) and second.shape == (6, 16, 16, 16)
    peak = first.max()
    np.testing.assert_allclose(first, second[[0, 3]], atol=2e-3 * peak)
    # Along the other axes it is the same, turned.
    turned = second[1].swapaxes(0, 1), second[2].swapaxes(0, 2)
    np.testing.assert_allclose(np.stack(turned), second[[0, 0]], atol=2e-3 * peak)


def test_phases_have_their_own_moduli():
    # Under tension along the layers strains are alike, and stress is as the modulus.
    labels = np.zeros((4, 4, 8), int)
    labels[:, :, 3:5] = 1
    options = prepare.Options(phases="0:1,0.25;1:10,0.25")
    grid = prepare.prepare(labels, "layers", options)
    tension = solved(grid).fields["stress"][0]
    mean = (10 * 2 + 6) / 8
    np.testing.assert_allclose(tension[labels == 1], 10 / mean, rtol=1e-3)
    np.testing.assert_allclose(tension[labels == 0], 1 / mean, rtol=1e-3)


@pytest.mark.slow
def test_a_round_hole_has_goodiers_stress_concentration():
    # Goodier, J. Appl. Mech. 55 (1933) 39: 45 / 22 at the equator of a spherical
    # cavity in tension at nu 0.3, and 3 / 22 along it.
    n, m, radius = 32, 64, 0.16
    axis = np.arange(n) + 0.5
    points = np.meshgrid(axis, axis, axis, indexing="ij")
    psi = 3 * np.tanh((np.sqrt(sum(x**2 for x in points)) - 2 * n * radius) / 3)
    grid = Grid(surface.fractions(psi, m), "cubic")
    tension = solved(grid).fields["stress"][0]
    along = np.array([45, 3]) / 22
    exact = np.sqrt(along @ along - along.prod())
    # Half an element from the surface, which cuts elements, whose strain is too large.
    assert exact * 0.95 < tension.max() < exact * 1.15
    whole = tension[grid.cell == 1].max()
    assert exact * 0.9 < whole < exact * 1.05


def test_peaks_are_reported_and_left_out():
    cell = schwarz()
    grid = prepare.prepare(cell, "cell")
    chosen = characterize.Geometry(refine="never")
    options = {"fields": ("stress",)}
    found = characterize.analyse(grid, "cell", Material(), EXACT, chosen, **options)
    peaks = found.values["peak_stress"]
    assert list(peaks) == ["11", "23"]
    assert 1 < peaks["11"]["share_99"] <= peaks["11"]["max"] < 50
    field = found.solution.fields["stress"]
    assert peaks["23"]["max"] == pytest.approx(field[1].max())
    without = dataclasses.replace(found.solution, fields={})
    assert properties.peak_stress(grid, without) is None


def test_nothing_balances_a_stress_without_stiffness():
    strain = np.ones((2, 6, 4, 4, 4))
    found = stress.of_solid(
        strain, (0, 3), np.zeros((6, 6)), 1.0, 0.3, strain[0, 0] > 0
    )
    assert (found == 0).all()
