"""Optimality criteria on a problem with a known answer, and at the limits."""

import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit

from mmdiff.topopt.oc import optimality_criteria


def _volume(x, wanted):
    """Mean of x as a constraint: its value (1,) and derivatives (1, m)."""
    x = np.asarray(x)
    return (x.mean() - x.dtype.type(wanted))[None], np.full_like(x, 1 / x.size)[None]


def _criteria(**options):
    """Return the compiled `(init, update)`."""
    return map(quick_jit, optimality_criteria(**options))


def test_finds_the_known_optimum(x64):
    # Minimize sum(a / x) at a given mean: x is proportional to sqrt(a).
    a = np.random.default_rng(0).uniform(0.5, 2, 64)
    want = np.sqrt(a) * 0.4 / np.sqrt(a).mean()
    init, update = _criteria()
    x = np.full(a.shape, 0.3)
    state = init(x)
    for _ in range(6):
        x, state = update(-a / np.square(x), state, x, *_volume(x, 0.4))
    # With damping 1/2 the update is exact once no move limit holds; the multiplier
    # comes from 50 bisections of 16 decades.
    np.testing.assert_allclose(x, want, rtol=1e-9)


def test_step_keeps_the_volume_and_the_move_limit():
    rng = np.random.default_rng(1)
    x = rng.uniform(0.05, 0.95, 216).astype(np.float32)
    gradient = -rng.uniform(-0.1, 3, x.shape).astype(np.float32)
    for volume, move in ((float(x.mean()), 0.1), (0.45, 0.2), (0.55, 0.3)):
        init, update = _criteria(move=move)
        new, _ = update(gradient, init(x), x, *_volume(x, volume))
        new = np.asarray(new)
        # float32 mean of 216 numbers.
        assert float(new.mean()) == pytest.approx(volume, abs=1e-5)
        assert abs(new - x).max() <= move + 1e-6
        assert new.min() >= 0.001 and new.max() <= 1
        # Nothing is gained where the objective rises.
        assert (new[gradient > 0] <= x[gradient > 0]).all()


def test_does_not_depend_on_units(x64):
    rng = np.random.default_rng(2)
    x, gain = rng.uniform(0.1, 0.9, (2, 64))
    value, share = _volume(x, 0.5)
    init, update = _criteria()
    one, _ = update(-gain, init(x), x, value, share)
    other, _ = update(-1e-9 * gain, init(x), x, 1e6 * value, 1e6 * share)
    # The mean gain takes the unit out, up to rounding.
    np.testing.assert_allclose(one, other, rtol=1e-10)


def test_out_of_reach_and_without_gain_it_stays_finite():
    x = np.full(10, 0.5, np.float32)
    init, update = _criteria(move=0.1)
    for gradient in (np.zeros_like(x), -np.ones_like(x)):
        new, _ = update(gradient, init(x), x, *_volume(x, 0.2))
        # As far down as the move limit allows, in float32.
        np.testing.assert_allclose(new, 0.4, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 2])
def test_takes_one_constraint_only(k):
    init, update = optimality_criteria()
    x = jnp.full(5, 0.5)
    with pytest.raises(ValueError, match=rf"exactly one .*\({k}, 5\)"):
        update(x, init(x), x, jnp.zeros(k), jnp.zeros((k, 5)))
