"""Quantities of a cubic tensor: their values, and which follow from which."""

import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.errors import InputError
from mmdiff.targets import quantities

# Usual, auxetic, and with two constants apart: nothing holds by chance.
TENSORS = np.array([[0.11, 0.045, 0.04], [0.1, -0.03, 0.06], [0.4, 0.25, 0.02]])
SUBSETS = [
    names
    for count in (1, 2, 3, 4)
    for names in itertools.combinations(quantities.NAMES, count)
]


def _slopes(names, constants):
    """Derivatives (k, 3) of the quantities by the constants, in float64."""
    step = 1e-6
    ahead, behind = (
        quantities.values(constants[None] + sign * step * np.eye(3), names)
        for sign in (1, -1)
    )
    return ((ahead - behind) / (2 * step)).T


@pytest.mark.parametrize("constants", TENSORS)
def test_what_follows_is_what_the_tensor_has(constants):
    every = dict(zip(quantities.NAMES, quantities.values(constants), strict=True))
    for names in SUBSETS:
        asked = {name: every[name] for name in names}
        slopes = _slopes(names, constants)
        # Differences of order 1e-12 / 1e-6: far above, and far below singular values.
        independent = np.linalg.matrix_rank(slopes, tol=1e-5) == len(names)
        if not independent:
            with pytest.raises(InputError, match="Leave"):
                quantities.check_independent(asked)
            continue
        quantities.check_independent(asked)
        got = quantities.solve(asked)
        known = ~np.isnan(got)
        np.testing.assert_allclose(got[known], constants[known], rtol=1e-9)
        # A constant follows where its unit vector lies in the span of the slopes.
        spanned = [
            np.linalg.matrix_rank(np.vstack([slopes, unit]), tol=1e-5) == len(names)
            for unit in np.eye(3)
        ]
        if {"C11", "E"} <= set(names):  # two tensors have them, of either sign of nu
            assert list(known) == [True, False, bool({"C44", "G"} & set(names))]
        else:
            assert list(known) == spanned


def test_c11_and_e_leave_the_sign_of_nu_open():
    c12 = np.linspace(-0.04, 0.04, 8001)
    tensors = np.stack([np.full_like(c12, 0.1), c12, np.full_like(c12, 0.03)], -1)
    young = quantities.values(tensors, ["E"])[:, 0]
    # A maximum between two tensors of equal C11 and E.
    assert young.argmax() == 4000 and young[0] < 0.09 and young[-1] < 0.09


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"C11": 1, "C12": 1, "C44": 1, "E": 1}, "asks for 4 quantities"),
        ({"C44": 1, "G": 1}, "C44 and G, which are the same here"),
        ({"C11": 1, "C12": 1, "K": 1}, "any two of them give the third. Leave one out"),
        ({"nu": 0.0, "C12": 0.0}, "nu=0 says no more than C12=0. Leave C12 out"),
    ],
)
def test_dependent_quantities_are_refused(asked, part):
    with pytest.raises(InputError, match=re.escape(part)):
        quantities.check_independent(asked)


def test_values_take_batches_and_both_kinds_of_arrays():
    got = quantities.values(TENSORS)
    assert got.shape == (3, 8)
    moduli = elasticity.moduli(TENSORS)
    np.testing.assert_array_equal(got[:, 5], moduli["E"])
    traced = quantities.values(jnp.asarray(TENSORS, jnp.float32), ["zener", "C12"])
    np.testing.assert_allclose(traced, got[:, [7, 1]], rtol=1e-5)  # float32


def test_units_of_error():
    unit = dict(zip(quantities.NAMES, quantities.scales(), strict=True))
    ranges = elasticity.PAPER_RANGES
    np.testing.assert_array_equal(quantities.scales(elasticity.NAMES), ranges)
    # K is linear: its unit is that of a tensor as large as the ranges.
    np.testing.assert_allclose(unit["K"], elasticity.moduli(ranges)["K"])
    assert unit["G"] == unit["C44"] and unit["E"] == unit["C11"]
    assert unit["nu"] == unit["zener"] == 1
