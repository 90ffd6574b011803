"""Objectives are moduli of cubic tensors, and energies of loads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.topopt import objectives

CONSTANTS = np.array([0.31, 0.12, 0.05], np.float32)


def test_values_are_moduli():
    tensor = elasticity.cubic_to_voigt(jnp.asarray(CONSTANTS))
    moduli = elasticity.moduli(CONSTANTS)
    # A few float32 roundings.
    close = {"rel": 1e-6}
    assert float(objectives.bulk(tensor)) == pytest.approx(moduli["K"], **close)
    assert float(objectives.shear(tensor)) == pytest.approx(moduli["G"], **close)
    want = (CONSTANTS[0] - CONSTANTS[1]) / 2
    assert float(objectives.deviatoric(tensor)) == pytest.approx(want, **close)


def test_weighted_is_the_sum():
    tensor = jnp.asarray(np.random.default_rng(0).standard_normal((6, 6)), jnp.float32)
    names = (objectives.bulk, objectives.shear, objectives.deviatoric)
    for i, single in enumerate(names):
        got = objectives.weighted(jnp.eye(3)[i])(tensor)
        np.testing.assert_allclose(got, single(tensor), rtol=1e-6)
    weights = jnp.array([0.2, -1.0, 3.0])
    want = sum(float(w) * float(f(tensor)) for w, f in zip(weights, names, strict=True))
    got = objectives.weighted(weights)(tensor)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
    "objective", [objectives.bulk, objectives.shear, objectives.deviatoric]
)
def test_sensitivity_to_stiffness_is_positive(objective):
    # Linear in C with a positive semidefinite matrix of weights: a sum of energies,
    # which no added material can lower. Optimality criteria rest on it.
    weights = np.asarray(jax.grad(objective)(jnp.ones((6, 6))))
    weights = (weights + weights.T) / 2
    eigenvalues = np.linalg.eigvalsh(weights)
    assert eigenvalues.min() > -1e-7 and eigenvalues.max() > 0.1


def test_moduli_of_the_closest_cubic_tensor():
    tensor = elasticity.cubic_to_voigt(jnp.asarray(CONSTANTS))
    moduli = elasticity.moduli(CONSTANTS)
    # A few float32 roundings.
    close = {"rel": 1e-5}
    assert float(objectives.young(tensor)) == pytest.approx(moduli["E"], **close)
    assert float(objectives.poisson(tensor)) == pytest.approx(-moduli["nu"], **close)
    assert float(objectives.zener(tensor)) == pytest.approx(moduli["zener"], **close)


def test_nearness_is_zero_at_the_target_alone():
    near = objectives.nearness(jnp.asarray(CONSTANTS))
    tensor = elasticity.cubic_to_voigt(jnp.asarray(CONSTANTS))
    assert float(near(tensor)) == pytest.approx(0, abs=2e-6)
    assert np.isfinite(jax.grad(near)(tensor)).all()
    off = np.array([0.1, 0.0, 0.0], np.float32)
    other = elasticity.cubic_to_voigt(jnp.asarray(CONSTANTS + off))
    want = -0.1 / elasticity.PAPER_RANGES[0] / np.sqrt(3)
    assert float(near(other)) == pytest.approx(want, rel=1e-4)


def test_mixed_is_the_sum_of_moduli():
    tensor = elasticity.cubic_to_voigt(jnp.asarray(CONSTANTS))
    names = (
        *(objectives.bulk, objectives.shear, objectives.young),
        objectives.poisson,
    )
    for i, single in enumerate(names):
        got = objectives.mixed(jnp.eye(4)[i])(tensor)
        np.testing.assert_allclose(got, single(tensor), rtol=1e-5)  # float32
    weights = jnp.array([0.2, -1.0, 3.0, 0.5])
    want = sum(float(w) * float(f(tensor)) for w, f in zip(weights, names, strict=True))
    np.testing.assert_allclose(objectives.mixed(weights)(tensor), want, rtol=1e-5)
