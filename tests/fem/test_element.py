"""The element stiffness against exact integration, and the mode basis."""

import itertools

import numpy as np
import pytest
from oracles import element_matrices, isotropic

from mmdiff.fem import element
from mmdiff.topopt import parametrization

NUS = (0.0, 0.3, 0.45)


@pytest.mark.parametrize("nu", NUS)
def test_stiffness_against_exact_integration(nu):
    # Two Gauss points integrate these polynomials exactly.
    want = np.tensordot(isotropic(1.0, nu), element_matrices(), 2)
    np.testing.assert_allclose(element.stiffness(nu), want, atol=1e-14)


def test_any_tensor_and_edges_against_exact_integration():
    rng, edges = np.random.default_rng(0), (1.0, 0.7, 1.8)
    tensors = rng.standard_normal((2, 6, 6))
    tensors = tensors + tensors.transpose(0, 2, 1)
    want = np.tensordot(tensors, element_matrices(edges), 2)
    # Sums of 36 products of order ten.
    np.testing.assert_allclose(element.integrate(tensors, edges), want, atol=1e-13)


@pytest.mark.parametrize("nu", NUS)
def test_stiffness_has_six_rigid_motions_only(nu):
    stiffness = element.stiffness(nu)
    np.testing.assert_array_equal(stiffness, stiffness.T)
    eigenvalues = np.linalg.eigvalsh(stiffness)
    # Zero to the rounding of a 24x24 eigenvalue problem of order one.
    np.testing.assert_allclose(eigenvalues[:6], 0, atol=1e-14)
    assert eigenvalues[6] > 0.01
    # All dofs are alike.
    np.testing.assert_allclose(np.diag(stiffness), stiffness[0, 0])


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


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (1.0, 0.7, 1.8)])
def test_macro_modes_carry_the_energy_of_a_uniform_strain(edges):
    strain, tensor = np.random.default_rng(0).standard_normal((4, 6)), isotropic(1, 0.3)
    modes = element.macro_modes(strain, edges)
    corners = np.kron(np.eye(3), element.hadamard()).T @ modes.T / 8
    energy = corners.T @ element.integrate(tensor, edges) @ corners
    want = strain @ tensor @ strain.T * np.prod(edges)
    # Sums of 24 products of order one.
    np.testing.assert_allclose(energy, want, atol=1e-12)


def test_strain_gradients_have_their_strains():
    strain = np.random.default_rng(0).standard_normal((4, 6))
    gradient = element.strain_gradient(strain)
    np.testing.assert_array_equal(gradient, gradient.transpose(0, 2, 1))
    for row, (i, j) in enumerate(element.VOIGT):
        total = gradient[:, i, j] * (1 if i == j else 2)
        np.testing.assert_array_equal(total, strain[:, row])


def test_cached_arrays_are_read_only():
    for array in (element.stiffness(0.3), *parametrization._images(4)):
        assert not array.flags.writeable
