"""Constraints: zero where a limit is met, of the right sign, in the right order."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.topopt import objectives
from mmdiff.topopt.problem import Limits, Problem, constraints


def _tensor(young, nu, zener):
    constants = elasticity.from_e_nu_zener(*map(np.float64, (young, nu, zener)))
    return jnp.asarray(elasticity.cubic_to_voigt(constants), jnp.float32)


def _g(problem, limits, tensor, volume):
    return np.asarray(constraints(problem, limits, tensor, jnp.float32(volume)))


def test_volume_is_a_bound_or_prescribed():
    tensor, limits = _tensor(0.1, 0.2, 1), Limits(0.4)
    upper, equal = Problem(objectives.bulk), Problem(objectives.bulk, equality=True)
    for volume in (0.3, 0.4, 0.5):
        off = volume / 0.4 - 1
        np.testing.assert_allclose(_g(upper, limits, tensor, volume), [off], atol=1e-6)
        got = _g(equal, limits, tensor, volume)
        np.testing.assert_allclose(got, [off, -off], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 0.97, 1 / 1.02, 1.0, 1.02, 1.1, 3.0])
def test_isotropy_is_a_band_about_one(ratio):
    problem = Problem(objectives.bulk, isotropic=True)
    got = _g(problem, Limits(0.4, band=0.05), _tensor(0.1, 0.2, ratio), 0.4)
    met = (got[1:] <= 1e-6).all()
    assert met == (1 / 1.05 <= ratio <= 1.05)
    # Symmetric in the logarithm, so a ratio and its inverse exchange the two sides.
    mirrored = _g(problem, Limits(0.4, band=0.05), _tensor(0.1, 0.2, 1 / ratio), 0.4)
    np.testing.assert_allclose(got[1:], mirrored[:0:-1], atol=1e-5)


def test_stiffness_has_a_floor():
    problem = Problem(objectives.poisson, stiff=True)
    for young in (0.05, 0.1, 0.2):
        got = _g(problem, Limits(0.4, young=0.1), _tensor(young, 0.2, 1.7), 0.4)
        assert got[1] == pytest.approx(1 - young / 0.1, abs=1e-5)


def test_number_of_constraints():
    for flags in np.ndindex(2, 2, 2):
        problem = Problem(objectives.bulk, *map(bool, flags))
        got = _g(problem, Limits(0.4, 0.1, 0.1), _tensor(0.1, 0.2, 1), 0.3)
        assert got.shape == (problem.num_constraints,)
