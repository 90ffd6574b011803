"""Smooth cells: body-fitted tetrahedra, the stored reference, and what grids say."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

from mmdiff import bounds
from mmdiff.fem import accuracy

TESTS = Path(__file__).resolve().parents[1]
# Hinges and thin plates: what regular grids find hardest.
THIN = ("re-entrant", "optimized auxetic", "sc plates", "bcc plates")
TENSORS = json.loads((TESTS / "reference_surfaces" / "tensors.json").read_text())


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("skfem")
    path = TESTS.parent / "docs" / "reference_surfaces.py"
    spec = importlib.util.spec_from_file_location("reference_surfaces", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COSINE = np.cos(np.pi * (np.arange(8) + 0.5) / 8)


def test_a_block_is_as_stiff_as_its_base(script):
    constants, volume = script.solve(script.curved_mesh(np.ones((8, 8, 8)), 2))
    nu = 0.3
    stiff = (1 + nu) * (1 - 2 * nu)
    exact = (1 - nu) / stiff, nu / stiff, 1 / (2 * (1 + nu))
    np.testing.assert_allclose(constants, exact, rtol=1e-7)
    assert volume == pytest.approx(1)


def test_plates_across_x_bear_shear_in_their_plane_only(script):
    # Walls lie where no vertices are: those near to them are moved, others are split.
    psi = np.broadcast_to(3 * (COSINE - np.cos(0.37 * np.pi))[:, None, None], 3 * (8,))
    constants, volume = script.solve(script.curved_mesh(psi.copy(), 5))
    np.testing.assert_allclose(constants, [0, 0, 0.37 / 2.6], atol=1e-9)
    assert volume == pytest.approx(0.37, abs=1e-10)


def test_rods_along_x_are_as_stiff_as_their_section_is_large(script):
    # cos(pi y) + cos(pi z) > 0.8, and the errors of curved faces fall fast.
    def width(y):
        return np.arccos(np.clip(0.8 - np.cos(np.pi * y), -1, 1)) / np.pi

    exact, _ = integrate.quad(width, 0, np.arccos(-0.2) / np.pi)
    psi = 3 * (COSINE[:, None] + COSINE[None] - 0.8)[None] + np.zeros((8, 1, 1))
    errors = []
    for m in (4, 8):
        constants, volume = script.solve(script.curved_mesh(psi, m))
        np.testing.assert_allclose(constants, [volume, 0, 0], atol=1e-8)
        errors.append(abs(volume - exact))
    assert errors[1] < 1e-5 * exact and np.log2(errors[0] / errors[1]) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P network", "re-entrant"])
def test_stored_grids_are_what_the_solver_says(script, name):
    stored = TENSORS[name]["grids"]["64"]
    np.testing.assert_allclose(script.by_grid(script.load_cell(name), 32), stored, 1e-4)


@pytest.mark.slow
def test_stored_tetrahedra_are_what_the_script_says(script):
    found = script.by_tetrahedra(script.load_cell("IWP network"), 24)
    (stored,) = (mesh for mesh in TENSORS["IWP network"]["tets"] if mesh["m"] == 24)
    assert found["tets"] == stored["tets"]
    np.testing.assert_allclose(found["C"], stored["C"], 1e-6)
    # A coarse mesh is too stiff, by what is left to the finer one.
    assert (np.array(found["C"]) > np.array(TENSORS["IWP network"]["C"])).any()


def _estimates():
    """Return names, and (c, 3) reference, estimates and uncertainties from 64, 128."""
    numbers = []
    for record in TENSORS.values():
        grids = (np.array(record["grids"][edge]) for edge in ("64", "128"))
        numbers.append((record["C"], *accuracy.extrapolate(*grids)))
    return list(TENSORS), *np.moveaxis(np.array(numbers), 1, 0)


def test_the_reference_is_sharper_than_what_it_measures():
    assert len(TENSORS) >= 16
    for name, record in TENSORS.items():
        exact, error = np.array(record["C"]), np.array(record["error"])
        assert (error < (2e-2 if name in THIN else 2e-3) * abs(exact)).all(), name
        # Far finer grids tend to the same limit.
        fine, finest = (np.array(record["grids"][edge]) for edge in ("128", "256"))
        gap = abs(finest + (finest - fine) / 3 - exact)
        assert (gap < np.maximum(error, 3e-3 * abs(exact))).all(), name


def test_no_cell_is_stiffer_than_the_bounds_allow():
    for name, record in TENSORS.items():
        (c11, c12, c44), mesh = record["C"], max(record["tets"], key=lambda r: r["m"])
        bulk, shear = bounds.hashin_shtrikman(mesh["volume"])[:2]
        assert 0 < (c11 + 2 * c12) / 3 < bulk, name
        # Of a cubic cell the bound holds for the mean of its two shear moduli.
        assert 0 < 0.4 * (c11 - c12) / 2 + 0.6 * c44 < shear, name


def test_estimates_are_within_half_a_percent_and_thin_cells_within_two():
    names, exact, found, _ = _estimates()
    errors = abs(found / exact - 1).max(1)
    most = [0.02 if name in THIN else 0.005 for name in names]
    assert (errors < most).all(), dict(zip(names, errors, strict=True))


def test_uncertainties_hold_the_truth_and_are_not_far_too_wide():
    _, exact, found, doubt = _estimates()
    errors = abs(found - exact)
    assert (errors <= doubt).mean() >= 0.95
    assert np.median(doubt / errors) < 5
    assert (doubt / abs(exact)).mean() < 5 * (errors / abs(exact)).mean()
