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
