"""Both ways through `device`, that of CPUs and that of accelerators, on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mmdiff.fem import device

ways = pytest.mark.parametrize("cpu", [True, False], ids=["cpu", "accelerator"])


@pytest.fixture
def on(monkeypatch):
    """What makes `device` believe that it runs on a CPU, or that it does not."""
    return lambda cpu: monkeypatch.setattr(device, "on_cpu", lambda: cpu)


def _root(x):
    """Newton's square root and its steps: as many as x needs."""

    def step(state):
        y, count = state
        return (y + x / y) / 2, count + 1

    def unfinished(state):
        y, _ = state
        return abs(y * y - x) > 1e-5 * x

    return lax.while_loop(unfinished, step, (x, 0))


def test_the_backend_decides():
    assert device.on_cpu() == (jax.default_backend() == "cpu")


@ways
def test_each_takes_and_returns_trees(on, cpu):
    on(cpu)

    def function(a, b):
        return {"sum": a["x"] + b.sum(), "product": a["x"] * b}

    a, b = {"x": jnp.arange(3.0)}, jnp.ones((3, 2))
    got = device.each(function, a, b)
    np.testing.assert_array_equal(got["sum"], [2, 3, 4])
    np.testing.assert_array_equal(got["product"], a["x"][:, None] * b)


@ways
def test_members_are_independent(on, cpu):
    on(cpu)
    x = jnp.array([1.0, 4.0, jnp.nan, 1e4])
    roots, steps = jax.jit(lambda x: device.each(_root, x))(x)
    # The tolerance of the roots, of float32 numbers.
    np.testing.assert_allclose(roots, [1, 2, np.nan, 100], rtol=1e-5)
    # Each stops on its own; not a number meets no condition.
    want = [int(_root(v)[1]) for v in x]
    np.testing.assert_array_equal(steps, want)
    assert len(set(want)) == 3 and want[2] == 0


@ways
def test_each_is_differentiable(on, cpu):
    on(cpu)
    x, v = jnp.arange(1.0, 4.0), jnp.ones(3)

    def value(x):
        return device.each(jnp.sin, x).sum()

    np.testing.assert_allclose(jax.grad(value)(x), np.cos(x), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jvp(value, (x,), (v,))[1], np.cos(x).sum(), rtol=1e-6
    )


def test_map_batch_maps_every_argument():
    run = device.map_batch(lambda a, b: {"sum": a + b.sum(), "product": a * b})
    a, b = jnp.arange(3.0), jnp.ones((3, 2))
    got = run(a, b)
    np.testing.assert_array_equal(got["sum"], [2, 3, 4])
    np.testing.assert_array_equal(got["product"], a[:, None] * b)


def test_each_runs_in_turn_on_a_cpu_and_at_once_elsewhere(on):
    x = jnp.ones(3)
    for cpu in (True, False):
        on(cpu)
        jaxpr = str(jax.make_jaxpr(lambda x: device.each(jnp.sin, x))(x))
        assert ("scan" in jaxpr) == cpu


def _two(a, b):
    return {"sum": a + b, "all": [a * b, jnp.sin(a)]}


@ways
def test_materialize_changes_no_number(on, cpu):
    on(cpu)
    a, b = jnp.arange(1.0, 5.0), jnp.full(4, 3.0)
    want = _two(a, b)

    def stored(a, b):
        return device.materialize(_two, a[0] > -1, a, b)

    got = jax.jit(stored)(a, b)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, got, want)
    # Under every transformation.
    many = jnp.stack([a, 2 * a]), jnp.stack([b, b])
    got = jax.jit(jax.vmap(stored))(*many)
    jax.tree.map(np.testing.assert_array_equal, got, jax.vmap(_two)(*many))
    got = jax.jit(lambda a, b: jax.jvp(stored, (a, b), (b, a)))(a, b)
    want = jax.jvp(_two, (a, b), (b, a))
    # The compiler may contract products and sums.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), got, want)
    got = jax.grad(lambda a: sum(v.sum() for v in jax.tree.leaves(stored(a, b))))(a)
    np.testing.assert_allclose(got, 1 + b + np.cos(a), rtol=1e-6)


def test_the_compiler_keeps_what_is_stored(on):
    # All there is to it: were the conditional folded, everything would be fused again.
    def function(a):
        return device.materialize(jnp.sin, ~(a[0] < -1), a)

    for cpu in (True, False):
        on(cpu)
        compiled = jax.jit(lambda a: function(a) + 1).lower(jnp.ones(64)).compile()
        assert (" conditional(" in compiled.as_text()) == cpu


def test_materialize_keeps_the_type(x64, on):
    on(True)
    for dtype in (jnp.float32, jnp.float64):
        a = jnp.ones(3, dtype)
        assert device.materialize(jnp.sin, a[0] > 0, a).dtype == dtype


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
def test_stack_is_that_of_numpy(shape):
    arrays = list(np.random.default_rng(0).standard_normal((4, *shape)))
    arrays = [jnp.asarray(a, jnp.float32) for a in arrays]
    got = device.stack(arrays)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, np.stack(arrays))
    np.testing.assert_array_equal(jax.jit(device.stack)(arrays), got)


def test_stack_is_linear(x64):
    arrays = list(jnp.asarray(np.random.default_rng(0).standard_normal((3, 4))))
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((3, 4)))
    slopes = jax.grad(lambda a: (weights * device.stack(a)).sum())(arrays)
    np.testing.assert_array_equal(np.stack(slopes), weights)
    many = [jnp.stack([a, 2 * a]) for a in arrays]
    got = jax.vmap(device.stack)(many)
    np.testing.assert_array_equal(got, np.stack(many, 1))
