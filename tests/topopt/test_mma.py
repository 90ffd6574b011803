"""MMA on problems with known optima and against NLopt; invariances; hard cases."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit
from jax import lax

from mmdiff.topopt.mma import FARTHEST, Asymptotes, mma


class Problem(NamedTuple):
    """Minimize f, g <= 0, in a box, with its solution where it is known."""

    f: Callable
    g: Callable
    start: tuple
    low: tuple
    high: tuple
    optimum: tuple
    multipliers: tuple = ()
    steps: int = 40
    digits: float = 1e-9  # relative accuracy of `optimum`


def _box(low, high, m):
    return {"low": (low,) * m, "high": (high,) * m}


def _beam():
    """Return the cantilever of five segments of Svanberg (1987), section 6."""
    c = np.array([61.0, 37, 19, 7, 1])
    # Stationary: x_i = s c_i^(1/4); active: s^3 = sum of c_i^(1/4).
    s = (c**0.25).sum() ** (1 / 3)
    assert s * c**0.25 == pytest.approx([6.016, 5.309, 4.494, 3.502, 2.153], abs=1e-3)
    return Problem(
        lambda x: 0.0624 * x.sum(),
        lambda x: (c / x**3).sum()[None] - 1,
        (5.0,) * 5,
        **_box(1.0, 10.0, 5),
        optimum=tuple(s * c**0.25),
        multipliers=(0.0624 / 3 * s**4,),
    )


def _truss():
    """Return the two-bar truss of Svanberg (1987), section 5: section and half base."""
    # The first stress is active, and the weight left a cubic in the base to minimize.
    roots = np.roots([16, 1, 0, -1])
    base = roots[np.isreal(roots)].real.item()
    section = 0.124 * np.sqrt(1 + base**2) * (8 + 1 / base)
    assert (section, base) == pytest.approx((1.41, 0.38), abs=5e-3)

    def stress(x):
        return (
            0.124 * jnp.sqrt(1 + x[1] ** 2) * (8 + jnp.array([1, -1.0]) / x[1]) / x[0]
        )

    return Problem(
        lambda x: x[0] * jnp.sqrt(1 + x[1] ** 2),
        lambda x: stress(x) - 1,
        (1.5, 0.5),
        (0.2, 0.1),
        (4.0, 1.6),
        (section, base),
        # Weight and stress are inverse in the section, so the price is the weight.
        (section * np.sqrt(1 + base**2), 0.0),
    )


ROWS = np.array([[1.0, 2, 0, 1], [0, 1, -1, 3]])
SIDES = np.array([2.0, 1.2])


def _nearest(pairs):
    """Return the distance from a point, on two planes: as bounds or as equalities."""
    point = np.array([0.9, 0.8, 0.1, 0.7])
    price = np.linalg.solve(ROWS @ ROWS.T, ROWS @ point - SIDES)
    assert (price > 0).all()

    def planes(x):
        excess = jnp.asarray(ROWS) @ x - SIDES
        return jnp.concatenate([excess, -excess]) if pairs else excess

    return Problem(
        lambda x: ((x - point) ** 2).sum() / 2,
        planes,
        (0.5,) * 4,
        **_box(0.0, 1.0, 4),
        optimum=tuple(point - ROWS.T @ price),
        multipliers=(*price, *((0.0, 0.0) if pairs else ())),
    )


def _rosen_suzuki():
    """Return problem 43 of Hock & Schittkowski (1981); the start is feasible."""

    def g(x):
        a, b, c, d = x
        return jnp.stack(
            [
                x @ x + a - b + c - d - 8,
                x @ x + b**2 + d**2 - a - d - 10,
                x @ x + a**2 - d**2 + 2 * a - b - d - 5,
            ]
        )

    return Problem(
        lambda x: x @ x + x[2] ** 2 - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3],
        g,
        (0.0,) * 4,
        **_box(-5.0, 5.0, 4),
        optimum=(0.0, 1.0, 2.0, -1.0),
        multipliers=(1.0, 0.0, 2.0),
    )


def _bartholomew():
    """Return problem 71 of Hock & Schittkowski: nonconvex, with an equality."""

    def g(x):
        return jnp.stack([25 - jnp.prod(x), x @ x - 40, 40 - x @ x])

    return Problem(
        lambda x: x[0] * x[3] * x[:3].sum() + x[2],
        g,
        (1.0, 5.0, 5.0, 1.0),
        **_box(1.0, 5.0, 4),
        optimum=(1.0, 4.7429994, 3.8211503, 1.3794082),
        digits=2e-7,  # as printed
    )


def _seven():
    """Return problem 100 of Hock & Schittkowski; steps of the wide box overshoot."""

    def f(x):
        a, b, c, d, e, h, i = x
        return (
            ((a - 10) ** 2 + 5 * (b - 12) ** 2 + c**4 + 3 * (d - 11) ** 2 + 10 * e**6)
            + 7 * h**2
            + i**4
            - 4 * h * i
            - 10 * h
            - 8 * i
        )

    def g(x):
        a, b, c, d, e, h, i = x
        return jnp.stack(
            [
                2 * a**2 + 3 * b**4 + c + 4 * d**2 + 5 * e - 127,
                7 * a + 3 * b + 10 * c**2 + d - e - 282,
                23 * a + b**2 + 6 * h**2 - 8 * i - 196,
                4 * a**2 + b**2 - 3 * a * b + 2 * c**2 + 5 * h - 11 * i,
            ]
        )

    return Problem(
        f,
        g,
        (1.0, 2.0, 0.0, 4.0, 0.0, 1.0, 1.0),
        **_box(-10.0, 10.0, 7),
        optimum=(
            2.330499,
            1.951372,
            -0.4775414,
            4.365726,
            -0.624487,
            1.038131,
            1.594227,
        ),
        steps=60,
        digits=5e-7,  # as printed
    )


def _valley():
    """Return Rosenbrock's valley, cut by a cubic and a line: nonconvex.

    The cubic is tangent to y = 3 x where the valley crosses it.
    """
    # On y = 1 + (x - 1)^3, where the derivative of f vanishes, near the origin.
    path = np.polynomial.Polynomial([0, 3, -3, 1])
    x = np.polynomial.Polynomial([0, 1])
    slope = ((1 - x) ** 2 + 100 * (path - x**2) ** 2).deriv()
    root = min(slope.roots(), key=abs).real
    return Problem(
        lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2,
        lambda x: jnp.stack([(x[0] - 1) ** 3 - x[1] + 1, x.sum() - 2]),
        (0.0, 0.0),
        **_box(-1.5, 1.5, 2),
        optimum=(root, path(root)),
        steps=200,
    )


PROBLEMS = {
    "beam": _beam,
    "truss": _truss,
    "planes": lambda: _nearest(False),
    "equalities": lambda: _nearest(True),
    "hs43": _rosen_suzuki,
    "hs71": _bartholomew,
    "hs100": _seven,
    "valley": _valley,
}


def _derivatives(problem):
    f, g = problem.f, problem.g
    return lambda x: (jax.grad(f)(x), g(x), jax.jacrev(g)(x))


def _derivatives_at(problem, x):
    """Return gradient, constraints and jacobian in NumPy."""
    return map(np.asarray, quick_jit(_derivatives(problem))(x))


def _mma(**options):
    """Return the compiled `(init, update)`."""
    return map(quick_jit, mma(**options))


def _solve(problem, start=None, steps=None, **options):
    """Return the designs (steps, m) and states of MMA."""
    start = jnp.asarray(problem.start if start is None else start)
    options = {"low": problem.low, "high": problem.high} | options
    k = jax.eval_shape(problem.g, start).size
    init, update = mma(num_constraints=k, **options)
    derivatives = _derivatives(problem)

    def step(carry, _):
        x, state = carry
        gradient, value, jacobian = derivatives(x)
        x, state = update(gradient, state, x, value, jacobian)
        return (x, state), (x, state)

    def run(x):
        return lax.scan(step, (x, init(x)), length=steps or problem.steps)[1]

    return quick_jit(run)(start)


@functools.lru_cache
def _solution(name):
    """Return a problem, its last design and multipliers; both tests need them."""
    problem = PROBLEMS[name]()
    designs, states = _solve(problem)
    return problem, np.asarray(designs)[-1], np.asarray(states.multipliers)[-1]


@pytest.mark.parametrize("name", PROBLEMS)
def test_finds_known_optima(x64, name):
    problem, x, price = _solution(name)
    np.testing.assert_allclose(x, problem.optimum, rtol=problem.digits, atol=1e-9)
    if problem.multipliers:
        # First-order quantities of the last subproblem: half the digits of x.
        np.testing.assert_allclose(price, problem.multipliers, rtol=1e-6, atol=1e-9)
    gradient, value, jacobian = _derivatives_at(problem, x)
    # The dual is solved to 100 units of rounding of what the gradients promise.
    room = 1e-11 * (abs(jacobian) @ (np.array(problem.high) - problem.low))
    assert (value <= room).all()
    assert (price >= 0).all() and (abs(price * value) <= 1e-6).all()
    inside = (x > np.array(problem.low)) & (x < np.array(problem.high))
    stationary = (gradient + price @ jacobian)[inside]
    scale = abs(gradient).max() + (price * abs(jacobian).max(axis=1)).max()
    # Convergence is linear in the last digits.
    assert abs(stationary).max() <= 1e-6 * scale


# NLopt treats equality pairs as they stand: its approximations pin x to the start.
@pytest.mark.parametrize("name", ["beam", "truss", "planes", "hs43", "hs100", "valley"])
def test_agrees_with_nlopt(x64, name):
    nlopt = pytest.importorskip("nlopt")
    problem, got, _ = _solution(name)
    value, derivatives = quick_jit(problem.f), quick_jit(_derivatives(problem))

    def objective(x, gradient):
        if gradient.size:
            gradient[:] = derivatives(x)[0]
        return float(value(x))

    def constraints(result, x, jacobian):
        _, result[:], rows = derivatives(x)
        if jacobian.size:
            jacobian[:] = rows

    other = nlopt.opt(nlopt.LD_MMA, len(problem.start))
    other.set_min_objective(objective)
    k = derivatives(np.array(problem.start))[1].size
    other.add_inequality_mconstraint(constraints, np.full(k, 1e-10))
    other.set_lower_bounds(problem.low)
    other.set_upper_bounds(problem.high)
    other.set_ftol_rel(1e-13)
    other.set_maxeval(400)
    want = other.optimize(problem.start)
    # NLopt's inner solves stop at 1e-6 or so.
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)
    assert float(value(got)) == pytest.approx(other.last_optimum_value(), rel=1e-6)


def test_large_problem_in_float32():
    # Minimize sum(c / x) within three budgets; chosen prices make the answer known.
    m, rng = 20_000, np.random.default_rng(0)
    prices = np.array([1.0, 0.5, 0.2])
    shares = rng.uniform(0, 1, (3, m)) / m
    shares[2] *= rng.choice([-1, 1], m)
    c = rng.uniform(0.02, 0.5, m) / m
    total = prices @ shares
    assert (total > 0).mean() > 0.9
    want = np.clip(np.sqrt(c / np.maximum(total, 1e-12)), 0.3, 1)
    assert 0.05 < np.mean(want == 1) < 0.5 and 0.05 < np.mean(want == 0.3) < 0.5
    shares32, c32, limit = (np.float32(a) for a in (shares, c, shares @ want))
    problem = Problem(
        lambda x: (c32 / x).sum(),
        lambda x: jnp.asarray(shares32) @ x - limit,
        np.full(m, 0.5, np.float32),
        0.3,
        1.0,
        (),
    )
    designs, states = _solve(problem, steps=40)
    assert designs.dtype == states.span.dtype == jnp.float32
    # Each budget is met to 100 units of rounding, which prices and x follow.
    np.testing.assert_allclose(states.multipliers[-1], prices, rtol=5e-5)
    np.testing.assert_allclose(designs[-1], want, atol=5e-5)
    spent = shares @ np.float64(designs[-1])
    np.testing.assert_allclose(spent, shares @ want, atol=6e-6)


def test_constant_objective_gives_the_least_change(x64):
    # An equality out of balance: the nearest point of the plane.
    row, centre = np.array([1.0, 2, -1]), np.full(3, 0.5)

    def g(x):
        excess = row @ (x - centre) - 0.05
        return jnp.stack([excess, -excess])

    problem = Problem(
        lambda x: 0 * x.sum(), g, (0.5,) * 3, (0.0,) * 3, (1.0,) * 3, (), steps=20
    )
    designs, _ = _solve(problem)
    change = designs[-1] - centre
    assert float(row @ change) == pytest.approx(0.05, rel=1e-9)
    # The approximations bend a little more along the larger derivative.
    np.testing.assert_allclose(change, 0.05 / 6 * row, rtol=0.1)
    # And it stays where all constraints are met.
    np.testing.assert_allclose(designs[-1], designs[-2], rtol=1e-12)


def test_without_constraints_it_comes_near_the_minimum(x64):
    centre = np.array([0.2, 0.55, 1.4])
    problem = Problem(
        lambda x: ((x - centre) ** 2).sum(),
        lambda x: jnp.zeros(0),
        (0.5,) * 3,
        (0.0,) * 3,
        (1.0,) * 3,
        (),
    )
    designs, _ = _solve(problem, steps=60)
    # It turns back and forth within the nearest asymptotes.
    np.testing.assert_allclose(designs[-1], np.clip(centre, 0, 1), atol=1e-3)


def test_unreachable_constraint_ends_at_the_least_violation():
    # A ball that lies outside the box, and an objective that pulls away from it.
    centre = np.float32([1.5, 0.3, -0.2])
    problem = Problem(
        lambda x: x.sum(),
        lambda x: jnp.stack([((x - centre) ** 2).sum() - 0.01, x[1] - 0.9]),
        np.float32([0.4, 0.8, 0.7]),
        0.0,
        1.0,
        (),
    )
    designs, states = _solve(problem, steps=60)
    assert np.isfinite(designs).all() and np.isfinite(states.multipliers).all()
    # The objective counts a thousandth of the constraint and moves x by that much; the
    # asymptotes leave another thousandth.
    np.testing.assert_allclose(designs[-1], np.clip(centre, 0, 1), atol=3e-3)
    # The multiplier is the penalty, in the unit of the divided functions.
    x = designs[-2]
    gradient, _, jacobian = _derivatives_at(problem, x)
    price = (
        np.asarray(states.multipliers)[-1]
        * abs(jacobian).sum(axis=1)
        / abs(gradient).sum()
    )
    np.testing.assert_allclose(price, [1000, 0], rtol=1e-5)


def test_multipliers_stay_below_the_penalty():
    init, update = _mma(num_constraints=1, penalty=3.0)
    x, row = np.full(2, 0.5, "f"), np.full((1, 2), -1.0, "f")
    # Where 1 p / (U - x) and 3 q / (x - L) balance, 1.001 and 0.001 of them exchanged.
    down, up = np.sqrt(1.001 + 3 * 0.001), np.sqrt(0.001 + 3 * 1.001)
    for guess in (0.0, 1e9):
        state = init(x)._replace(multipliers=np.full(1, guess, "f"))
        new, after = update(np.ones(2, "f"), state, x, np.full(1, 5.0, "f"), row)
        np.testing.assert_allclose(after.multipliers, 3, rtol=1e-6)
        # The least curvature, 1e-5 of it, is left out.
        want = 0.5 + 0.5 * (up - down) / (up + down)
        np.testing.assert_allclose(new, want, rtol=1e-5)


def test_both_sides_of_an_equality_never_act_together():
    # A tie: at the free minimum both sides of x_0 = x_1 are violated alike.
    jacobian = np.array([[1.0, -1.0], [-1.0, 1.0]], "f")
    init, update = _mma(num_constraints=2)
    x, uphill, zeros = np.full(2, 0.1, "f"), -np.ones(2, "f"), np.zeros(2, "f")
    state = init(x)
    new, want = update(uphill, state, x, zeros, jacobian)
    # Together they would hold the design.
    assert (new - x > 0.1).all()
    assert np.count_nonzero(want.multipliers) == 1
    # Whatever the step before left, both sides, too much or the wrong side.
    for guess in ((2.0, 2.0), (3e3, 2e3), (0.0, 1e9)):
        wrong = state._replace(multipliers=np.array(guess, "f"))
        _, got = update(uphill, wrong, x, zeros, jacobian)
        # The dual gradient vanishes to 1e-5.
        np.testing.assert_allclose(got.multipliers, want.multipliers, atol=1e-4)


def test_contradiction_stays_between_its_sides():
    # Mean at most 0.2 and at least 0.4: opposite gradients, never both.
    problem = Problem(
        lambda x: (x**2).sum(),
        lambda x: jnp.stack([x.mean() - 0.2, 0.4 - x.mean()]),
        np.float32([0.9, 0.1, 0.6, 0.8]),
        0.0,
        1.0,
        (),
    )
    designs, _ = _solve(problem, steps=60)
    mean = np.asarray(designs[-1]).mean()
    # The sum of both violations is least anywhere between.
    assert 0.2 - 1e-3 <= mean <= 0.4 + 1e-3


@pytest.mark.parametrize("k", [1, 3])
def test_zero_gradients_leave_the_design(k):
    init, update = _mma(num_constraints=k)
    x, flat, rows = np.linspace(0, 1, 7, dtype="f"), np.zeros(7, "f"), np.zeros((k, 7))
    for value in (-1.0, 0.0, 1.0):
        g = np.full(k, value, "f")
        new, state = update(flat, init(x), x, g, rows.astype("f"))
        np.testing.assert_array_equal(new, x)
        assert all(np.isfinite(leaf).all() for leaf in state)


def _random(seed, k=3, m=50, dtype=np.float64):
    """Return a nonconvex problem with k constraints, some violated at the start."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, k + 1, m))

    def functions(x, order=slice(None)):
        parts = (
            jnp.asarray(a[:, order], dtype) * x[None]
            + jnp.asarray(b[:, order], dtype) * jnp.cos(3 * x)[None]
        )
        return parts.sum(axis=1)

    start = rng.uniform(0, 1, m).astype(dtype)
    return functions, start


def _as_problem(functions, start):
    return Problem(
        lambda x: functions(x)[0], lambda x: functions(x)[1:], start, 0.0, 1.0, ()
    )


def test_iterates_and_asymptotes_keep_their_limits():
    move, nearest, width = 0.15, 0.01, np.float32(2.0)
    problem = _as_problem(*_random(0, dtype=np.float32))
    options = {"low": -1.0, "high": 1.0, "asymptotes": Asymptotes(nearest=nearest)}
    designs, states = _solve(problem, steps=50, move=move, **options)
    designs = np.concatenate([[problem.start], designs])
    assert designs.min() >= -1 and designs.max() <= 1
    # Rounding of the sum of design and step.
    assert abs(np.diff(designs, axis=0)).max() <= move * width + 1e-6
    span = np.asarray(states.span)
    assert span.min() >= nearest * width and span.max() <= FARTHEST * width
    # Nine tenths of the way to the asymptote, in float32.
    reach = abs(np.diff(designs, axis=0)) / span
    assert reach.max() <= 0.9 + 1e-4
    # All limits are met, so none of these is idle.
    assert abs(np.diff(designs, axis=0)).max() > 0.99 * move * width
    assert span.min() < 1.01 * nearest * width and reach.max() > 0.89


def test_asymptotes_widen_up_to_their_limit():
    problem = _as_problem(lambda x: jnp.stack([x.sum(), -x[0] - 1]), np.ones(3, "f4"))
    designs, states = _solve(problem, steps=30, move=0.02)
    np.testing.assert_allclose(designs[:, 0], 1 - 0.02 * np.arange(1, 31), rtol=1e-5)
    # From 1/2 by a factor of 1.2 from the third step on.
    span = np.asarray(states.span)[:, 0]
    np.testing.assert_allclose(span[2:5], 0.5 * 1.2 ** np.arange(1, 4), rtol=1e-6)
    assert span[-1] == FARTHEST


def test_rounding_is_no_turn():
    # At a bound, a step may end one unit of rounding off the one before.
    init, update = _mma(num_constraints=0)
    x = np.float32([1e-9, 0.5, 0.6])
    state = init(x)._replace(
        last=np.float32([2e-9, 0.5 + 1e-7, 0.7]), change=np.float32([0.1, 0.1, 0.1])
    )
    none = np.zeros(0, "f"), np.zeros((0, 3), "f")
    _, after = update(np.ones(3, "f"), state, x, *none)
    # Only the last one turned.
    np.testing.assert_allclose(after.span, [0.5, 0.5, 0.35], rtol=1e-6)


def test_does_not_depend_on_units():
    functions, start = _random(1, dtype=np.float32)
    factors = np.float32([2.0**40, 2.0**-30, 2.0**20, 2.0**-7])
    one, state = _solve(_as_problem(functions, start), steps=30)
    other, scaled = _solve(
        _as_problem(lambda x: factors * functions(x), start), steps=30
    )
    # Powers of two leave no rounding.
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        state.multipliers * factors[0], scaled.multipliers * factors[None, 1:]
    )


def test_does_not_depend_on_order(x64):
    functions, start = _random(2)
    order = np.random.default_rng(0).permutation(start.size)
    one, _ = _solve(_as_problem(functions, start), steps=10)
    other, _ = _solve(
        _as_problem(lambda x: functions(x, order), start[order]), steps=10
    )
    # Sums in another order, amplified by ten steps.
    np.testing.assert_allclose(one[:, order], other, atol=1e-9)
    swapped, _ = _solve(
        _as_problem(lambda x: functions(x)[jnp.array([0, 3, 1, 2])], start), steps=10
    )
    np.testing.assert_allclose(one, swapped, atol=1e-9)


def test_batches_equal_single_runs(x64):
    functions, _ = _random(3)
    starts = jnp.asarray(np.random.default_rng(4).uniform(0, 1, (4, 50)))
    init, update = mma(num_constraints=3)
    derivatives = _derivatives(_as_problem(functions, starts[0]))

    def run(start):
        def step(carry):
            i, x, state = carry
            gradient, value, jacobian = derivatives(x)
            return i + 1, *update(gradient, state, x, value, jacobian)

        carry = (0, start, init(start))
        return lax.while_loop(lambda carry: carry[0] < 8, step, carry)[1:]

    batch, states = quick_jit(jax.vmap(run))(starts)
    single = quick_jit(run)
    for i, start in enumerate(starts):
        one, state = single(start)
        # Batched matrix products sum in another order.
        np.testing.assert_allclose(batch[i], one, atol=1e-9)
        np.testing.assert_allclose(states.multipliers[i], state.multipliers, rtol=1e-6)


def test_multipliers_solve_the_subproblem(x64):
    # On the dual's own terms: a first step, with the approximations written out.
    functions, start = _random(5)
    problem = _as_problem(functions, start)
    gradient, value, jacobian = _derivatives_at(problem, start)
    designs, states = _solve(problem, steps=1, move=0.3)
    x, price = np.asarray(designs[0]), np.asarray(states.multipliers[0])
    slopes = np.concatenate([gradient[None], jacobian])
    span = 0.5
    low, high = np.maximum(start - 0.3, 0), np.minimum(start + 0.3, 1)
    mean = abs(slopes).mean(axis=1, keepdims=True)
    plus, minus = np.maximum(slopes, 0), np.maximum(-slopes, 0)
    least = 0.5e-5 * mean
    p = span**2 * (1.001 * plus + 0.001 * minus + least)
    q = span**2 * (0.001 * plus + 1.001 * minus + least)

    def approximations(x):
        away = p / (start + span - x) + q / (x - start + span)
        here = (p + q) / span
        return np.append(0, value) + (away - here).sum(axis=1)

    assert (price > 0).any()
    left = approximations(x)[1:]
    size = mean[1:, 0] * start.size
    assert (left <= 1e-12 * size).all() and (abs(left * price) <= 1e-11 * size).all()
    # Where the bounds do not hold, the Lagrangian is stationary.
    weights = np.append(1, price)
    rate = weights @ (p / (start + span - x) ** 2 - q / (x - start + span) ** 2)
    scale = weights @ abs(slopes)
    inside = (x > low + 1e-12) & (x < high - 1e-12)
    assert inside.sum() > 5
    # Rounding, where the two terms cancel at the far end of the span.
    assert (abs(rate) <= 1e-9 * scale)[inside].all()
    assert (rate[x <= low + 1e-12] >= 0).all() and (rate[x >= high - 1e-12] <= 0).all()


def test_wrong_number_of_constraints_is_named():
    init, update = mma(num_constraints=2)
    x = jnp.full(5, 0.5)
    with pytest.raises(ValueError, match=r"\(2, 5\) for 2 constraints, got \(1, 5\)"):
        update(x, init(x), x, jnp.zeros(1), jnp.zeros((1, 5)))
