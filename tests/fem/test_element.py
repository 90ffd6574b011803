"""The element stiffness against exact integration, and its mode basis."""

import itertools

import numpy as np
import pytest
import scipy.linalg
from fem_helpers import stiffness_matrix

from mmdiff.fem import cubic, element
from mmdiff.topopt import parametrization

NUS = (0.0, 0.3, 0.45)


def _by_exact_integration(nu):
    """Stiffness from products of exact one-dimensional integrals of hat functions."""
    lam, mu = nu / ((1 + nu) * (1 - 2 * nu)), 1 / (2 * (1 + nu))
    mass = np.array([[2.0, 1], [1, 2]]) / 6
    stiff = np.array([[1.0, -1], [-1, 1]])
    mixed = np.array(
        [[-0.5, -0.5], [0.5, 0.5]]
    )  # slope of the row, value of the column
    # gradient[c][d]: integral of d_c N_a d_d N_b over the unit cube.
    gradient = [[None] * 3 for _ in range(3)]
    for c, d in itertools.product(range(3), repeat=2):
        factors = []
        for axis in range(3):
            if c == d == axis:
                factors.append(stiff)
            elif axis == c:
                factors.append(mixed)
            elif axis == d:
                factors.append(mixed.T)
            else:
                factors.append(mass)
        gradient[c][d] = np.kron(np.kron(factors[0], factors[1]), factors[2])
    trace = sum(gradient[c][c] for c in range(3))
    out = np.zeros((3, 8, 3, 8))
    for c, d in itertools.product(range(3), repeat=2):
        out[c, :, d, :] = lam * gradient[c][d] + mu * gradient[d][c]
        if c == d:
            out[c, :, d, :] += mu * trace
    return out.reshape(24, 24)


@pytest.mark.parametrize("nu", NUS)
def test_stiffness_against_exact_integration(nu):
    # Two Gauss points integrate these polynomials exactly.
    np.testing.assert_allclose(
        element.stiffness(nu), _by_exact_integration(nu), atol=1e-14
    )


@pytest.mark.parametrize("nu", NUS)
def test_stiffness_has_six_rigid_motions_only(nu):
    stiffness = element.stiffness(nu)
    np.testing.assert_array_equal(stiffness, stiffness.T)
    eigenvalues = np.linalg.eigvalsh(stiffness)
    # Zero to the rounding of a 24x24 eigenvalue problem of order one.
    np.testing.assert_allclose(eigenvalues[:6], 0, atol=1e-14)
    assert eigenvalues[6] > 0.01
    np.testing.assert_allclose(np.diag(stiffness), element.diagonal(nu))


def test_stiffness_tensor_is_the_inverse_of_hookes_law():
    nu = 0.3
    compliance = np.diag([1.0, 1, 1] + 3 * [2 * (1 + nu)])
    compliance[:3, :3] -= nu * (1 - np.eye(3))
    product = element.stiffness_tensor(nu) @ compliance
    np.testing.assert_allclose(product, np.eye(6), atol=1e-15)


def test_hadamard_modes_are_orthogonal():
    h = element.hadamard()
    np.testing.assert_array_equal(h @ h.T, 8 * np.eye(8))
    # The first mode is the sum; mode 4 x + 2 y + z holds the differences along axes.
    corners = np.array(element.CORNERS)
    for m, axes in enumerate(itertools.product((0, 1), repeat=3)):
        sign = np.prod(np.where(np.array(axes) == 1, 2 * corners - 1, 1), axis=1)
        np.testing.assert_array_equal(h[m], sign)


@pytest.mark.parametrize("nu", NUS[1:])
def test_mode_stiffness_is_sparse_and_the_same_matrix(nu):
    rows = element.mode_stiffness(nu)
    assert sum(len(row) for row in rows) == 45
    dense = np.zeros((24, 24))
    for i, row in enumerate(rows):
        for j, value in row:
            dense[i, j] = value
    transform = np.kron(np.eye(3), element.hadamard())
    # Back to corners; entries below 1e-14 were dropped.
    np.testing.assert_allclose(
        transform.T @ dense @ transform, element.stiffness(nu), atol=1e-12
    )
    # Rigid translations are the sums; they carry no force.
    assert [len(rows[8 * c]) for c in range(3)] == [0, 0, 0]


def test_macro_modes_carry_the_energy_of_a_uniform_strain():
    nu, strain = 0.3, np.random.default_rng(0).standard_normal((4, 6))
    modes = element.macro_modes(strain)
    corners = np.kron(np.eye(3), element.hadamard()).T @ modes.T / 8
    energy = corners.T @ element.stiffness(nu) @ corners
    want = strain @ element.stiffness_tensor(nu) @ strain.T
    # Sums of 24 products of order one.
    np.testing.assert_allclose(energy, want, atol=1e-12)


def test_macro_stress_is_the_force_of_the_macro_modes():
    nu, strain = 0.3, np.random.default_rng(0).standard_normal((4, 6))
    stress = element.macro_stress(strain, nu)
    assert stress.shape == (4, 24)
    # Modes of a force are those whose product with modes of displacement is the energy.
    energy = element.macro_modes(strain) @ stress.T
    want = strain @ element.stiffness_tensor(nu) @ strain.T
    np.testing.assert_allclose(energy, want, atol=1e-12)
    # Back at the corners: what an affine field pulls with, in balance.
    force = (stress.reshape(4, 3, 8) @ element.hadamard()).reshape(4, 24)
    corners = (element.macro_modes(strain).reshape(4, 3, 8) @ element.hadamard()) / 8
    want = corners.reshape(4, 24) @ element.stiffness(nu)
    np.testing.assert_allclose(force, want, atol=1e-13)
    np.testing.assert_allclose(force.reshape(4, 3, 8).sum(-1), 0, atol=1e-13)


def _largest(matrix, free):
    """Largest eigenvalue of B^-1 K, B the 3x3 nodal blocks of K, of the free dofs."""
    nodes = np.tile(np.arange(len(matrix) // 3), 3)
    blocks = np.where(nodes[:, None] == nodes, matrix, 0)
    part = np.ix_(free, free)
    return scipy.linalg.eigh(matrix[part], blocks[part], eigvals_only=True)[-1]


@pytest.mark.parametrize("nu", [0.0, 0.3, 0.45])
def test_spectrum_bound_holds_for_assembled_systems(nu):
    bound = element.spectrum_bound(nu)
    rng = np.random.default_rng(0)
    for contrast in (1.0, 1e3, 1e9):
        for seed in range(3):
            modulus = contrast ** -rng.random((2, 2, 2))
            if seed == 0 and contrast > 1:
                modulus = np.where(rng.random((2, 2, 2)) < 0.5, 1.0, 1 / contrast)
            matrix = stiffness_matrix(modulus, nu)
            for free in (np.ones(81, bool), *(rng.random((3, 81)) < 0.5)):
                # Rounding of the eigenvalues only.
                assert _largest(matrix, free) <= bound * (1 + 1e-12)


def test_cached_arrays_are_read_only():
    shared = (
        element.stiffness(0.3),
        cubic.stiffness_basis(),
        *parametrization._images(4),
    )
    for array in shared:
        assert not array.flags.writeable


def test_spectrum_bound_is_tight():
    # One stiff element among soft ones is as bad as an element alone; a uniform grid is
    # not much better.
    bound = element.spectrum_bound(0.3)
    assert bound == pytest.approx(3.162, abs=1e-3)
    modulus = np.full((2, 2, 2), 1e-6)
    modulus[0, 1, 0] = 1
    free = np.ones(81, bool)
    lone = _largest(stiffness_matrix(modulus), free)
    assert lone == pytest.approx(bound, rel=1e-3)
    uniform = _largest(stiffness_matrix(np.ones((2, 2, 2))), free)
    assert 0.8 * bound < uniform < bound


def test_spectrum_bound_depends_on_poissons_ratio():
    # A number for one material would not do for the next.
    bounds = [element.spectrum_bound(nu) for nu in (0.2, 0.3, 0.4, 0.45)]
    assert bounds == sorted(bounds) and bounds[-1] > 1.4 * bounds[0]
