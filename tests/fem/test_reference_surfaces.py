"""Smooth cells: body-fitted tetrahedra, the stored reference, and what grids say."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

from mmdiff.cells import surface
from mmdiff.fem import accuracy

TESTS = Path(__file__).resolve().parents[1]
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
