"""The element stiffness against exact integration, and its mode basis."""

import itertools

import numpy as np
import pytest

from mmdiff.fem import element

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


def test_spectrum_bound_holds_for_assembled_systems():
    nu = 0.3
    bound = element.spectrum_bound(nu)
    assert bound == pytest.approx(5.32, abs=0.01)
    rng = np.random.default_rng(0)
    for contrast in (1.0, 1e3, 1e9):
        modulus = contrast ** -rng.random((2, 2, 2))
        matrix = np.zeros((81, 81))
        for cell in itertools.product(range(2), repeat=3):
            nodes = [
                np.ravel_multi_index(np.array(cell) + corner, (3, 3, 3))
                for corner in element.CORNERS
            ]
            dofs = np.concatenate([27 * c + np.array(nodes) for c in range(3)])
            matrix[np.ix_(dofs, dofs)] += modulus[cell] * element.stiffness(nu)
        scale = 1 / np.sqrt(np.diag(matrix))
        for free in (np.ones(81, bool), rng.random(81) < 0.5):
            part = (scale[:, None] * matrix * scale)[np.ix_(free, free)]
            # Rounding of the eigenvalues only.
            assert np.linalg.eigvalsh(part)[-1] <= bound * (1 + 1e-12)


def test_spectrum_bound_grows_with_poissons_ratio():
    bounds = [element.spectrum_bound(nu) for nu in (0.0, 0.2, 0.3, 0.4, 0.45)]
    assert bounds == sorted(bounds) and bounds[0] < bounds[-1]
