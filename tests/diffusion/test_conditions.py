"""Scaling, null values and drop-out of conditions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.diffusion.conditions import NAMES, Conditions, drop, fit_conditions
from mmdiff.errors import InputError

_COND = Conditions(("C11", "C12", "V"), (0.0, -0.1, 0.2), (2.0, 0.1, 0.8))


def test_normalize():
    raw = jnp.asarray([[0.0, -0.1, 0.2], [2.0, 0.1, 0.8], [1.0, jnp.nan, 0.5]])
    cond = _COND.normalize(raw)
    # float32 arithmetic on values of order one.
    np.testing.assert_allclose(cond, [[0, 0, 0], [1, 1, 1], [0.5, -1, 0.5]], atol=1e-6)


def test_value_far_below_the_range_is_not_taken_for_free():
    assert _COND.normalize(jnp.asarray([-9.0, 0.0, 0.5]))[0] > -0.5


def test_fit_covers_the_data_and_survives_a_constant_column():
    raw = np.asarray([[1.0, 3.0], [2.0, 3.0]])
    cond = fit_conditions(("a", "b"), raw).normalize(jnp.asarray(raw))
    np.testing.assert_array_equal(cond, [[0, 0], [1, 0]])


def test_from_values_of_each_sample():
    got = _COND.from_values(C11=np.array([0.2, np.nan]), V=0.5)
    for cond, values in zip(got, ({"C11": 0.2, "V": 0.5}, {"V": 0.5}), strict=True):
        np.testing.assert_allclose(cond, _COND.from_values(**values), atol=1e-6)


def test_from_values_leaves_the_rest_free():
    # (0.5 - 0.2) / 0.6 in float32.
    np.testing.assert_allclose(_COND.from_values(V=0.5), [-1, -1, 0.5], atol=1e-6)
    with pytest.raises(InputError, match="unknown condition C99"):
        _COND.from_values(C99=1.0)


def test_dictionary_round_trip():
    assert Conditions.from_dict(_COND.to_dict()) == _COND


def test_power_gives_small_values_room():
    cond = Conditions(("C11", "C12"), (0.0, -0.04), (1.0, 0.36), 0.5)
    raw = jnp.asarray([[0.01, -0.04], [0.25, 0.0], [1.0, 0.36], [jnp.nan, 0.01]])
    scaled = cond.normalize(raw)
    # (0.1 + 0.2) / 0.8 for the last; float32 roots of values of order one.
    want = [[0.1, 0], [0.5, 0.25], [1, 1], [-1, 0.375]]
    np.testing.assert_allclose(scaled, want, atol=1e-6)
    assert Conditions.from_dict(cond.to_dict()) == cond
    old = {k: v for k, v in _COND.to_dict().items() if k != "power"}
    assert Conditions.from_dict(old) == _COND


def test_of_other_names_groups_are_those_among_them():
    keys = jax.random.split(jax.random.key(1), 2000)
    names = ("V", "C11")
    dropped = quick_jit(
        jax.vmap(lambda k: drop(k, jnp.full(2, 0.5), names=names, rate=0.2))
    )(keys)
    assert {tuple(row) for row in (np.asarray(dropped) == -1).tolist()} == {
        *itertools.product((True, False), repeat=2)
    }


def test_drop_rates():
    keys = jax.random.split(jax.random.key(0), 20_000)

    def freed(key):
        return drop(key, jnp.full(5, 0.5), names=NAMES)

    free = np.asarray(quick_jit(jax.vmap(freed))(keys)) == -1
    tensor, volume, drainable = free[:, :3].all(1), free[:, 3], free[:, 4]
    each = 0.1  # share of examples where components are dropped one by one
    one = 0.1 + each / 32  # one way, or the same by chance
    # Shares of 20,000 draws scatter by at most 0.35 %; five times that.
    for found, want in (
        (free.all(1), one),
        (tensor & ~volume & ~drainable, one),
        (volume & ~np.delete(free, 3, 1).any(1), one),
        (drainable & ~free[:, :4].any(1), one),
        (free[:, 0], 0.2 + each / 2),
        (~free.any(1), 0.5 + each / 32),
    ):
        assert abs(found.mean() - want) < 0.0175
