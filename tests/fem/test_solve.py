"""Conjugate gradients on small explicit systems."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.fem import solve

SHAPE = (2, 3, 2, 2, 2)  # two loads with 24 unknowns each
SIZE = 24


def _system(seed=0, condition=100.0):
    """Symmetric positive definite matrices (2, 24, 24), right-hand sides (2, 24)."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((2, SIZE, SIZE)))[0]
    values = np.stack([np.geomspace(1, 3, SIZE), np.geomspace(1, condition, SIZE)])
    matrix = np.einsum("lij,lj,lkj->lik", basis, values, basis)
    return matrix, rng.standard_normal((2, SIZE))


@jax.jit
def _solve(matrix, preconditioner, b, x0, tol, maxiter, floor):
    def multiply(m, u):
        flat = u.reshape(u.shape[0], SIZE)
        return jnp.einsum("lij,lj->li", m, flat).reshape(u.shape)

    x, info = solve.pcg(
        functools.partial(multiply, matrix),
        functools.partial(multiply, preconditioner),
        b.reshape(-1, *SHAPE[1:]),
        x0.reshape(-1, *SHAPE[1:]),
        tol=tol,
        maxiter=maxiter,
        floor=floor,
    )
    return x.reshape(b.shape), info


def run(matrix, b, x0=None, preconditioner=None, tol=1e-12, maxiter=100, floor=1e-300):
    x0 = np.zeros_like(b) if x0 is None else x0
    eye = np.broadcast_to(np.eye(SIZE), matrix.shape)
    preconditioner = eye if preconditioner is None else preconditioner
    floor = np.full(len(b), floor)
    return _solve(matrix, preconditioner, b, x0, tol, maxiter, floor)


def test_solution_of_every_load(x64):
    matrix, b = _system()
    x, info = run(matrix, b)
    want = np.stack([np.linalg.solve(a, c) for a, c in zip(matrix, b, strict=True)])
    # Relative residual 1e-12 times the condition number 100.
    np.testing.assert_allclose(x, want, atol=1e-9)
    assert info.converged.all()
    residual = b - np.einsum("lij,lj->li", matrix, x)
    true = np.linalg.norm(residual, axis=1) / np.linalg.norm(b, axis=1)
    # The residual of the recurrence drifts from the true one by rounding alone.
    assert (true < 1e-12 + 1e-14).all() and (info.residual <= 1e-12).all()


def test_ends_within_as_many_steps_as_unknowns(x64):
    matrix, b = _system(condition=10.0)
    _, info = run(matrix, b, tol=1e-10)
    assert info.converged.all()
    assert info.iterations.max() <= SIZE
    # The better conditioned load is frozen earlier.
    assert info.iterations[0] < info.iterations[1]


def test_one_load_does_not_depend_on_the_other(x64):
    matrix, b = _system(condition=10.0)
    x, info = run(matrix, b, tol=1e-8)
    for load in range(2):
        only = slice(load, load + 1)
        x1, info1 = run(matrix[only], b[only], tol=1e-8)
        assert info1.iterations[0] == info.iterations[load]
        # The same operations, batched differently: a few roundings per step.
        np.testing.assert_allclose(x1[0], x[load], atol=1e-13)


def test_exact_preconditioner_needs_one_step(x64):
    matrix, b = _system(condition=1e4)
    _, info = run(matrix, b, preconditioner=np.linalg.inv(matrix), tol=1e-9)
    np.testing.assert_array_equal(info.iterations, 1)
    assert info.converged.all()


def test_start_at_the_solution_needs_no_step(x64):
    matrix, b = _system()
    want = np.stack([np.linalg.solve(a, c) for a, c in zip(matrix, b, strict=True)])
    x, info = run(matrix, b, x0=want, tol=1e-10)
    np.testing.assert_array_equal(info.iterations, 0)
    np.testing.assert_array_equal(x, want)
    assert info.converged.all()


def test_unmet_tolerance_is_reported(x64):
    matrix, b = _system()
    x, info = run(matrix, b, maxiter=3)
    np.testing.assert_array_equal(info.iterations, 3)
    assert not info.converged.any()
    residual = b - np.einsum("lij,lj->li", matrix, x)
    relative = np.linalg.norm(residual, axis=1) / np.linalg.norm(b, axis=1)
    # The reported residual is that of the returned solution.
    np.testing.assert_allclose(info.residual, relative, rtol=1e-10)


def test_zero_load_is_solved_by_zero(x64):
    matrix, b = _system()
    b[0] = 0
    x, info = run(matrix, b)
    np.testing.assert_array_equal(x[0], 0)
    assert info.iterations[0] == 0 and info.residual[0] == 0
    assert info.converged.all() and np.isfinite(x).all()


def test_load_below_the_rounding_level_counts_as_zero(x64):
    matrix, b = _system()
    b[0] *= 1e-20
    x, info = run(matrix, b, floor=1e-15)
    np.testing.assert_array_equal(x[0], 0)
    assert info.converged.all() and info.residual[0] == 0


@pytest.mark.parametrize("broken", ["matrix", "load"])
def test_nan_is_not_taken_for_an_answer(x64, broken):
    matrix, b = _system()
    (matrix if broken == "matrix" else b)[0].flat[0] = np.nan
    _, info = run(matrix, b, maxiter=5)
    assert not info.converged[0]


def test_indefinite_operator_is_not_taken_for_solved(x64):
    matrix, b = _system()
    _, info = run(-matrix, b, maxiter=5)
    assert not info.converged.any()


def test_float32_is_kept():
    matrix, b = (v.astype(np.float32) for v in _system(condition=10.0))
    eye = np.broadcast_to(np.eye(SIZE, dtype=np.float32), matrix.shape)
    floor = np.zeros(2, np.float32)
    x, info = _solve(matrix, eye, b, np.zeros_like(b), np.float32(1e-5), 100, floor)
    assert x.dtype == info.residual.dtype == jnp.float32
    assert info.iterations.dtype == jnp.int32 and info.converged.all()
    residual = b - np.einsum("lij,lj->li", matrix, x)
    # The residual of the recurrence drifts by a few roundings of order 1e-7.
    assert np.linalg.norm(residual) < 2e-5 * np.linalg.norm(b)


def _check(matrix, b, x, info, *, tol, floor=1e-300, dtype=np.float64):
    def apply(u):
        flat = u.reshape(u.shape[0], SIZE)
        return jnp.einsum("lij,lj->li", matrix, flat).reshape(u.shape)

    return solve.verified(
        apply,
        jnp.asarray(b.reshape(-1, *SHAPE[1:]), dtype),
        jnp.asarray(x.reshape(-1, *SHAPE[1:]), dtype),
        info,
        diagonal=jnp.ones((2, 2, 2), dtype),
        tol=tol,
        floor=jnp.full(len(b), floor, dtype),
    )


def test_verified_is_the_residual_of_what_is_returned(x64):
    matrix, b = _system()
    x, info = run(matrix, b)
    got = _check(matrix, b, x, info, tol=1e-12)
    assert got.converged.all() and (got.residual < 2e-12).all()
    np.testing.assert_array_equal(got.iterations, info.iterations)
    wrong = np.array(x)
    wrong[1] *= 1 + 1e-6
    got = _check(matrix, b, wrong, info, tol=1e-12)
    # K (1 + 1e-6) x - b = 1e-6 b.
    assert float(got.residual[1]) == pytest.approx(1e-6, rel=1e-5)
    np.testing.assert_array_equal(got.converged, [True, False])


def test_rounding_of_the_solution_is_allowed_for():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, SIZE)).astype(np.float32)
    matrix = np.broadcast_to(np.eye(SIZE, dtype=np.float32), (2, SIZE, SIZE))
    info = solve.SolveInfo(*jnp.ones((3, 2), jnp.int32))
    for roundings, converged in ((1, True), (20, False)):
        b = (x * (1 + roundings * np.finfo(np.float32).eps)).astype(np.float32)
        got = _check(matrix, b, x, info, tol=1e-9, dtype=np.float32)
        assert (got.residual > 1e-8).all()  # reported all the same
        np.testing.assert_array_equal(got.converged, converged)


def test_verified_loads_of_zero_and_nan(x64):
    matrix, b = _system()
    b[0] = 0
    b[1, 3] = np.nan
    x = np.zeros_like(b)
    info = solve.SolveInfo(*jnp.ones((3, 2), jnp.int32))
    got = _check(matrix, b, x, info, tol=1e-6)
    np.testing.assert_array_equal(got.converged, [True, False])
    assert got.residual[0] == 0 and np.isnan(got.residual[1])
