"""Voigt algebra, moduli and bounds against textbook forms and matrix inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import bounds, elasticity

# Stable, neither isotropic nor close to it; batch of (C11, C12, C44).
CONSTANTS = np.array([[0.31, 0.12, 0.05], [1.2, 0.5, 0.4], [0.05, -0.02, 0.11]])


@pytest.mark.parametrize("xp", [np, jnp])
def test_voigt_tensor_and_back(xp):
    constants = xp.asarray(CONSTANTS, xp.float32)
    tensor = elasticity.cubic_to_voigt(constants)
    assert tensor.shape == (3, 6, 6) and tensor.dtype == constants.dtype
    c11, c12, c44 = constants[0]
    want = np.zeros((6, 6), np.float32)
    want[:3, :3] = c12
    want[range(3), range(3)] = c11
    want[range(3, 6), range(3, 6)] = c44
    np.testing.assert_array_equal(tensor[0], want)
    # A mean of three equal float32 numbers.
    np.testing.assert_allclose(
        elasticity.voigt_to_cubic(tensor), constants, rtol=2e-7, atol=0
    )


def test_closest_cubic_tensor_of_a_general_one():
    tensor = np.random.default_rng(0).standard_normal((6, 6))
    tensor = tensor + tensor.T
    best = elasticity.voigt_to_cubic(tensor)

    def distance(constants):
        return np.sum((elasticity.cubic_to_voigt(constants) - tensor) ** 2)

    for step in 0.01 * np.eye(3):
        assert distance(best) < min(distance(best + step), distance(best - step))


def test_moduli_of_an_isotropic_material():
    got = elasticity.moduli(elasticity.isotropic(2.0, 0.25))
    want = {"K": 2 / 1.5, "G": 0.8, "E": 2.0, "nu": 0.25, "zener": 1.0}
    # A few roundings in float64.
    assert got == pytest.approx(want, rel=1e-14)


def test_moduli_from_the_compliance():
    for constants in CONSTANTS:
        got = elasticity.moduli(constants)
        tensor = elasticity.cubic_to_voigt(constants)
        compliance = np.linalg.inv(tensor)
        hydrostatic = np.array([1, 1, 1, 0, 0, 0]) / 3
        # Inverse of a well-conditioned 6x6 matrix.
        assert got["E"] == pytest.approx(1 / compliance[0, 0], rel=1e-12)
        assert got["nu"] == pytest.approx(-compliance[0, 1] / compliance[0, 0])
        assert got["K"] == pytest.approx(hydrostatic @ tensor @ hydrostatic)
        assert got["G"] == pytest.approx(1 / compliance[3, 3])


@pytest.mark.parametrize("xp", [np, jnp])
def test_constants_from_moduli(xp):
    constants = xp.asarray(CONSTANTS, xp.float32)
    m = elasticity.moduli(constants)
    # The differences of the constants lose a digit in float32.
    close = {"rtol": 1e-5, "atol": 1e-7}
    got = elasticity.from_e_nu_zener(m["E"], m["nu"], m["zener"])
    np.testing.assert_allclose(got, constants, **close)
    got = elasticity.from_k_g_zener(m["K"], m["G"], m["zener"])
    np.testing.assert_allclose(got, constants, **close)
    assert isinstance(got, xp.ndarray)


def test_youngs_modulus_along_any_direction():
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((20, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for constants in CONSTANTS:
        compliance = np.linalg.inv(elasticity.cubic_to_voigt(constants))
        x, y, z = direction.T
        # Stress of unit tension along the direction, Voigt order 11 22 33 23 13 12.
        stress = np.stack([x * x, y * y, z * z, y * z, x * z, x * y], axis=1)
        want = 1 / np.einsum("bi,ij,bj->b", stress, compliance, stress)
        got = elasticity.youngs_modulus(constants, direction)
        # Inverse of a well-conditioned 6x6 matrix.
        np.testing.assert_allclose(got, want, rtol=1e-12)
    same = elasticity.youngs_modulus(elasticity.isotropic(1.0, 0.3), direction)
    np.testing.assert_allclose(same, 1, rtol=1e-14)


def test_hashin_shtrikman_in_the_form_of_the_original():
    volume = np.linspace(0.05, 1, 20)
    k, g = 1 / (3 * 0.4), 1 / 2.6
    bulk, shear, young = bounds.hashin_shtrikman(volume, 0.3)
    with np.errstate(divide="ignore"):
        want_bulk = k + (1 - volume) / (-1 / k + 3 * volume / (3 * k + 4 * g))
        want_shear = g + (1 - volume) / (
            -1 / g + 6 * volume * (k + 2 * g) / (5 * g * (3 * k + 4 * g))
        )
    # The same rational function, written differently.
    np.testing.assert_allclose(bulk, want_bulk, rtol=1e-12)
    np.testing.assert_allclose(shear, want_shear, rtol=1e-12)
    np.testing.assert_allclose(young, 9 * bulk * shear / (3 * bulk + shear), rtol=1e-12)


def test_hashin_shtrikman_at_the_ends():
    assert bounds.hashin_shtrikman(0.0) == (0, 0, 0)
    solid = elasticity.moduli(elasticity.isotropic())
    want = [solid["K"], solid["G"], 1.0]
    np.testing.assert_allclose(bounds.hashin_shtrikman(1.0), want, rtol=1e-14)
    bound = jax.jit(bounds.hashin_shtrikman)(jnp.linspace(0, 1, 5))
    assert all(b.dtype == jnp.float32 and (jnp.diff(b) > 0).all() for b in bound)


def test_constants_for_another_base_material():
    solid = elasticity.isotropic(nu=0.3)
    np.testing.assert_allclose(
        bounds.rebase(solid, 1.0, 0.3, 0.45), elasticity.isotropic(nu=0.45)
    )
    soft = np.array([[2e-3, 1e-3, 1e-3], [0.3, 0.1, 0.09]])
    there = bounds.rebase(soft, np.array([0.1, 0.5]), 0.3, 0.2)
    back = bounds.rebase(there, np.array([0.1, 0.5]), 0.2, 0.3)
    np.testing.assert_allclose(back, soft, rtol=1e-12)
    # What bends depends on Young's modulus alone.
    assert abs(there[0] / soft[0] - 1).max() < 0.02


def test_volume_for_bulk_is_the_inverse_of_the_bound():
    volume = np.linspace(0, 1, 11)
    bulk = bounds.hashin_shtrikman(volume, 0.2)[0]
    # Two rational functions of order one in float64.
    np.testing.assert_allclose(bounds.volume_for_bulk(bulk, 0.2), volume, atol=1e-14)


def test_stability_margins_are_the_signs_of_the_eigenvalues():
    rng = np.random.default_rng(1)
    for constants in rng.uniform(-1, 1, (50, 3)):
        margins = elasticity.stability_margins(constants)
        eigenvalues = np.linalg.eigvalsh(elasticity.cubic_to_voigt(constants))
        assert all(v > 0 for v in margins.values()) == (eigenvalues.min() > 0)


def test_range_error_is_a_mean_over_the_ranges():
    target = np.array([0.3, 0.1, 0.05])
    got = elasticity.range_error(target + 0.5 * elasticity.PAPER_RANGES, target)
    assert got == pytest.approx(0.5)
    got = elasticity.range_error(CONSTANTS, target, np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(got[0], (0.01 + 0.02 / 2 + 0) / 3)
    assert got.shape == (3,)


def test_relative_error_floors_a_vanishing_c12():
    target = np.array([[0.2, 0.1, 0.05], [0.2, 0.0, 0.05]])
    constants = np.array([[0.22, 0.09, 0.05], [0.2, 0.001, 0.05]])
    got = elasticity.relative_error(constants, target)
    # The floor of the second is 1 % of C11 = 0.002.
    np.testing.assert_allclose(got, [0.2 / 3, 0.5 / 3])
    single = elasticity.relative_error(
        jnp.float32(constants[0]), jnp.float32(target[0])
    )
    assert float(single) == pytest.approx(0.2 / 3, rel=1e-5)
