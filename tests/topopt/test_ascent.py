"""Ascent on fields: the program of a step, its bounds, and steps without any solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mmdiff.cells import surface
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.topopt import ascent
from mmdiff.topopt.ascent import Outputs
from mmdiff.topopt.move import Evaluation

N = 8
LINE = np.cos(np.pi * (np.arange(N) + 0.5) / N)
WAVE = LINE[:, None, None] + LINE[:, None] + LINE
PSI = symmetrize(1.5 * (WAVE + 0.4))  # Schwarz' P surface, struts along the axes
FREE = np.ones((2, N, N, N)) * np.array([-0.5, 0.5])[:, None, None, None]


def _rates():
    """Return what each element gives: C11 grows with the distance, C44 falls."""
    x = (np.arange(N) + 0.5) / N
    far = symmetrize(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)
    return np.stack([np.exp(far), 0.3 * np.exp(far), 0.2 * np.exp(-2 * far)])


@jax.jit
def _quantities(psi):
    share = surface.fractions(psi, N)
    rates = jnp.asarray(_rates(), jnp.float32)
    return jnp.append((rates * share[None]).mean((1, 2, 3)), share.mean())


_slopes = jax.jit(jax.jacrev(_quantities))


def _evaluate(psi, fields=None):
    """Return constants that are sums over the solid: no finite elements."""
    psi = jnp.asarray(psi, jnp.float32)
    slopes = np.asarray(_slopes(psi), np.float64)
    values = np.asarray(_quantities(psi), np.float64)
    return Evaluation(values, symmetrize(slopes), 1e-6, True, jnp.zeros(1))


def _outputs(volume, limit=np.inf):
    """Return the outputs of maximizing C11 at a volume with C44 below a limit."""

    def outputs(values):
        found = [values[0], values[3] / volume - 1, values[2] / limit - 1]
        rows = np.zeros((3, 4))
        rows[0, 0], rows[1, 3], rows[2, 2] = 1, 1 / volume, 1 / limit
        return Outputs(np.array(found), rows, np.array([False, True, False]))

    return outputs


def test_the_program_is_solved():
    rng = np.random.default_rng(0)
    aim, rows = rng.normal(size=40), rng.normal(size=(3, 40))
    low, high = -rng.uniform(0.2, 1, 40), rng.uniform(0.2, 1, 40)
    gap, free = np.array([0.5, -1.0, 0.3]), np.array([False, True, True])
    found = ascent._program(aim, rows, gap, free, (low, high))
    assert (found >= low).all() and (found <= high).all()
    np.testing.assert_allclose(rows[0] @ found, gap[0], atol=1e-3)
    assert (rows[1:] @ found <= gap[1:] + 1e-3).all()
    fit = np.linalg.lstsq(rows.T, aim, rcond=None)[0]
    scale = ascent.EAGER * high.max() / np.sqrt(((aim - fit @ rows) ** 2).mean())

    def cost(d):
        return d @ d / 2 - scale * aim @ d

    kinds = [("eq", 0, 1), ("ineq", 1, -1), ("ineq", 2, -1)]
    limits = [
        {"type": kind, "fun": lambda d, i=i, s=s: s * (rows[i] @ d - gap[i])}
        for kind, i, s in kinds
    ]
    other = optimize.minimize(
        cost, np.zeros(40), constraints=limits, bounds=list(zip(low, high, strict=True))
    )
    assert other.success and cost(found) <= other.fun + 1e-3 * abs(other.fun)


def test_a_step_keeps_its_promises():
    here = _evaluate(PSI)
    volume = here.values[3]
    known = _outputs(0.98 * volume, here.values[2])(here.values)
    change, promise = ascent.best_change(PSI, here, known, FREE)
    assert is_cubic(change)
    linear = np.tensordot(here.slopes, change, 3)
    np.testing.assert_allclose(linear[0], promise, rtol=1e-6)
    np.testing.assert_allclose(linear[3], -0.02 * volume, rtol=1e-3)
    assert linear[2] < 1e-4 * here.values[2]  # C44 is at its limit
    assert abs(change).max() <= 0.5 + 1e-9


def test_the_objective_rises_towards_what_is_known():
    start = _evaluate(PSI)
    volume = start.values[3]
    found = ascent.ascend(PSI, _outputs(volume), _evaluate, steps=15)
    values, violations, volumes = np.array(found.history).T
    assert (violations <= ascent.SLACK).all() and (np.diff(values) > 0).all()
    np.testing.assert_allclose(volumes[-1], volume, rtol=ascent.SLACK)
    # The best is to fill the elements of the largest rates.
    best = np.sort(_rates()[0].ravel())[::-1][: round(volume * N**3)].sum() / N**3
    assert values[0] < 0.52 * best and values[-1] > 0.6 * best
    assert values[-1] == _evaluate(found.psi).values[0] and is_cubic(found.psi)


def test_what_is_violated_is_mended_first():
    start = _evaluate(PSI)
    outputs = _outputs(start.values[3], 0.9 * start.values[2])
    found = ascent.ascend(PSI, outputs, _evaluate, steps=12)
    _, violations, _ = np.array(found.history).T
    assert violations[0] > 0.1 and violations[-1] <= ascent.SLACK
    met = violations <= ascent.SLACK
    assert (np.diff(met.astype(int)) >= 0).all()


@pytest.mark.parametrize("repair", [lambda psi: None, lambda psi: PSI - 0.2])
def test_steps_that_do_not_help_are_not_taken(repair):
    outputs = _outputs(_evaluate(PSI).values[3])
    found = ascent.ascend(PSI, outputs, _evaluate, repair=repair)
    assert len(found.history) == 1 and found.psi is PSI
