"""Direction-dependent moduli of tensors of any symmetry."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.fem.element import VOIGT, stiffness_tensor

RNG = np.random.default_rng(4)


def rotated(tensor, rotation):
    """Rotate a 6x6 tensor by way of the full fourth-order one."""
    full = np.zeros((3, 3, 3, 3))
    for i, (a, b) in enumerate(VOIGT):
        for j, (c, d) in enumerate(VOIGT):
            for p, q in ((a, b), (b, a)):
                for r, s in ((c, d), (d, c)):
                    full[p, q, r, s] = tensor[i, j]
    full = np.einsum("ia,jb,kc,ld,abcd->ijkl", *[rotation] * 4, full, optimize="greedy")
    return np.array([[full[a + c] for c in VOIGT] for a in VOIGT])


def rotation():
    q, r = np.linalg.qr(RNG.standard_normal((3, 3)))
    return q * np.sign(np.diag(r)) * np.sign(np.linalg.det(q * np.sign(np.diag(r))))


def directions(count):
    vectors = RNG.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_modulus_agrees_with_the_cubic_formula():
    constants = np.array([0.2, 0.08, 0.05])
    where = directions(20)
    got = elasticity.directional_modulus(elasticity.cubic_to_voigt(constants), where)
    want = elasticity.youngs_modulus(constants, where)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_modulus_turns_with_the_tensor():
    q = rotation()
    constants = np.array([0.3, 0.1, 0.2])
    tensor = rotated(elasticity.cubic_to_voigt(constants), q)
    where = directions(20)
    got = elasticity.directional_modulus(tensor, where)
    want = elasticity.youngs_modulus(constants, where @ q)  # components in its axes
    np.testing.assert_allclose(got, want, rtol=1e-10)
    # Its extremes are the constants' along <100> and <111>, wherever these point now.
    found = elasticity.extreme_moduli(tensor)
    values = [elasticity.moduli(constants)["E"]]
    values.append(elasticity.youngs_modulus(constants, np.ones(3) / np.sqrt(3)))
    for name, value, axes in (
        ("min", min(values), elasticity.AXES[:3]),
        ("max", max(values), elasticity.AXES[9:] / np.sqrt(3)),
    ):
        modulus, direction = found[name]
        assert modulus == pytest.approx(value, rel=1e-9)
        # The value is flat at its extreme, so the direction is only half as exact.
        assert abs(axes @ q.T @ direction).max() == pytest.approx(1, abs=1e-6)


def test_equal_directions_are_named_by_the_lattice():
    found = elasticity.extreme_moduli(
        elasticity.cubic_to_voigt(np.array([0.3, 0.1, 0.02]))
    )
    np.testing.assert_allclose(found["max"][1], [1, 0, 0])
    np.testing.assert_allclose(found["min"][1], np.ones(3) / np.sqrt(3))
    found = elasticity.extreme_moduli(stiffness_tensor(0.3))
    assert found["min"][0] == pytest.approx(1) and found["max"][0] == pytest.approx(1)


def test_compliance_is_the_inverse_and_tolerates_singular_tensors():
    factor = RNG.standard_normal((5, 6, 6))
    tensor = factor @ factor.swapaxes(1, 2) + 0.1 * np.eye(6)
    got = elasticity.compliance(tensor)
    np.testing.assert_allclose(got, np.linalg.inv(tensor), rtol=1e-8, atol=1e-10)
    # A slab: solid in the plane, nothing across but float32 noise.
    slab = np.diag([0.5, 0.5, -1e-9, -1e-9, 1e-9, 0.2])
    young = elasticity.directional_modulus(slab, np.eye(3))
    np.testing.assert_allclose(young[:2], 0.5, rtol=1e-9)
    assert 0 < young[2] < 1e-6
    found = elasticity.extreme_moduli(slab)
    assert 0 < found["min"][0] < 1e-6 and found["max"][0] == pytest.approx(0.5)


def test_distance_from_cubic():
    cubic = elasticity.cubic_to_voigt(np.array([0.2, 0.08, 0.05]))
    assert elasticity.cubic_distance(cubic) < 1e-15
    isotropic = stiffness_tensor(0.3)
    turned = rotated(isotropic, rotation())
    assert elasticity.cubic_distance(turned) < 1e-14
    tensor = cubic.copy()
    tensor[3, 3] += 0.03
    # Projection moves the mean by 0.01: residual (0.02, -0.01, -0.01), each counted 4x.
    square = (np.array([[1, 2], [2, 4]])[[0] * 3 + [1] * 3][:, [0] * 3 + [1] * 3]) * (
        tensor**2
    )
    want = np.sqrt(4 * 6e-4 / square.sum())
    assert elasticity.cubic_distance(tensor) == pytest.approx(want, rel=1e-12)
    # No other cubic tensor is nearer.
    best = elasticity.voigt_to_cubic(tensor)
    weight = np.outer([1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2])
    for shift in 1e-3 * RNG.standard_normal((10, 3)):
        rest = tensor - elasticity.cubic_to_voigt(best + shift)
        assert (weight * rest**2).sum() > 4 * 6e-4


def test_bounds_are_met_by_the_solid_itself():
    ratios = bounds.hashin_shtrikman_ratios(elasticity.isotropic(), 1.0)
    assert set(ratios) == {"K", "G", "E"}
    np.testing.assert_allclose(list(ratios.values()), 1, rtol=1e-12)


def test_jax_arrays_stay_jax_arrays():
    tensor = jnp.asarray(stiffness_tensor(0.3), jnp.float32)
    young = elasticity.directional_modulus(tensor, jnp.eye(3))
    assert isinstance(young, jnp.ndarray) and young.dtype == jnp.float32
    np.testing.assert_allclose(young, 1, rtol=1e-5)
    assert float(elasticity.cubic_distance(tensor)) < 1e-6
