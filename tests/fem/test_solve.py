"""Conjugate gradients on small explicit systems."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.fem import solve

SHAPE = (3, 8)  # on 2^3 nodes
SIZE = 24


def _system(seed=0, condition=100.0):
    """A symmetric positive definite matrix (24, 24) and a right-hand side (24,)."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0]
    matrix = basis * np.geomspace(1, condition, SIZE) @ basis.T
    return matrix, rng.standard_normal(SIZE)


def _multiply(matrix, u):
    return (matrix @ u.reshape(SIZE)).reshape(SHAPE)


def _pcg(matrix, preconditioner, b, x0, tol, maxiter, floor):
    x, info = solve.pcg(
        functools.partial(_multiply, matrix),
        functools.partial(_multiply, preconditioner),
        b.reshape(SHAPE),
        x0.reshape(SHAPE),
        solve.Limits(tol, floor, maxiter),
    )
    return x.reshape(SIZE), info


_solve = jax.jit(_pcg)


def run(matrix, b, x0=None, preconditioner=None, tol=1e-12, maxiter=100, floor=1e-300):
    x0 = np.zeros_like(b) if x0 is None else x0
    preconditioner = np.eye(SIZE) if preconditioner is None else preconditioner
    return _solve(matrix, preconditioner, b, x0, tol, maxiter, floor)


def test_solution(x64):
    for seed in range(3):
        matrix, b = _system(seed)
        x, info = run(matrix, b)
        # Relative residual 1e-12 times the condition number 100.
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), atol=1e-9)
        assert info.converged and info.iterations.shape == ()
        true = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
        # The residual of the recurrence drifts from the true one by rounding alone.
        assert true < 1e-12 + 1e-14 and info.residual <= 1e-12


def test_ends_within_as_many_steps_as_unknowns(x64):
    steps = []
    for condition in (3.0, 10.0):
        _, info = run(*_system(condition=condition), tol=1e-10)
        assert info.converged and info.iterations <= SIZE
        steps.append(int(info.iterations))
    # The better conditioned the fewer.
    assert steps[0] < steps[1]


def test_errors_fall_as_the_condition_number_says(x64):
    # |e_k|_K <= 2 ((sqrt(c) - 1) / (sqrt(c) + 1))^k |e_0|_K
    matrix, b = _system(condition=100.0)
    want = np.linalg.solve(matrix, b)
    for steps in (2, 5, 10, 20):
        x, _ = run(matrix, b, maxiter=steps)
        error, start = (np.sqrt(e @ matrix @ e) for e in (x - want, want))
        assert error <= 2 * (9 / 11) ** steps * start


def test_members_of_a_batch_do_not_depend_on_each_other(x64):
    systems = [_system(0, 3.0), _system(1, 10.0), _system(2, 10.0)]
    systems[2][1][:] = 0
    matrix, b = (np.stack(v) for v in zip(*systems, strict=True))
    eye, zero = np.eye(SIZE), np.zeros(SIZE)

    def one(matrix, b):
        return _pcg(matrix, eye, b, zero, 1e-8, 100, 1e-300)

    x, info = jax.jit(jax.vmap(one))(matrix, b)
    for i, system in enumerate(systems):
        x1, info1 = run(*system, tol=1e-8)
        # Those that have converged wait.
        assert info1.iterations == info.iterations[i]
        # The same operations, batched differently: a few roundings per step.
        np.testing.assert_allclose(x1, x[i], atol=1e-13)
    assert len(set(np.asarray(info.iterations).tolist())) == 3


def test_exact_preconditioner_needs_one_step(x64):
    matrix, b = _system(condition=1e4)
    _, info = run(matrix, b, preconditioner=np.linalg.inv(matrix), tol=1e-9)
    assert info.iterations == 1 and info.converged


def test_start_at_the_solution_needs_no_step(x64):
    matrix, b = _system()
    want = np.linalg.solve(matrix, b)
    x, info = run(matrix, b, x0=want, tol=1e-10)
    assert info.iterations == 0 and info.converged
    np.testing.assert_array_equal(x, want)


def test_a_start_near_the_solution_saves_steps(x64):
    matrix, b = _system()
    near = np.linalg.solve(matrix, b) + 1e-6 * np.random.default_rng(1).random(SIZE)
    x, info = run(matrix, b, x0=near, tol=1e-8)
    _, cold = run(matrix, b, tol=1e-8)
    assert info.converged and info.iterations < cold.iterations
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), atol=1e-6)


def test_unmet_tolerance_is_reported(x64):
    matrix, b = _system()
    x, info = run(matrix, b, maxiter=3)
    assert info.iterations == 3 and not info.converged
    relative = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
    # The reported residual is that of the returned solution.
    np.testing.assert_allclose(info.residual, relative, rtol=1e-10)


def test_zero_load_is_solved_by_zero(x64):
    matrix, b = _system()
    x, info = run(matrix, 0 * b)
    np.testing.assert_array_equal(x, 0)
    assert info.iterations == 0 and info.residual == 0 and info.converged


def test_load_below_the_rounding_level_counts_as_zero(x64):
    matrix, b = _system()
    x, info = run(matrix, 1e-20 * b, floor=1e-15)
    np.testing.assert_array_equal(x, 0)
    assert info.converged and info.residual == 0


@pytest.mark.parametrize("broken", ["matrix", "load"])
def test_nan_is_not_taken_for_an_answer(x64, broken):
    matrix, b = _system()
    (matrix if broken == "matrix" else b).flat[0] = np.nan
    _, info = run(matrix, b, maxiter=5)
    assert not info.converged


def test_indefinite_operator_is_not_taken_for_solved(x64):
    matrix, b = _system()
    _, info = run(-matrix, b, maxiter=5)
    assert not info.converged


def test_float32_is_kept():
    matrix, b = (v.astype(np.float32) for v in _system(condition=10.0))
    eye, zero = np.eye(SIZE, dtype=np.float32), np.zeros_like(b)
    x, info = _solve(matrix, eye, b, zero, np.float32(1e-5), 100, np.float32(0))
    assert x.dtype == info.residual.dtype == jnp.float32
    assert info.iterations.dtype == jnp.int32 and info.converged
    # The residual of the recurrence drifts by a few roundings of order 1e-7.
    assert np.linalg.norm(b - matrix @ x) < 2e-5 * np.linalg.norm(b)


def test_sums_over_large_grids_stay_accurate_in_float32():
    # One after the other, 3 x 33^3 equal terms would lose three digits or four.
    a = jnp.full((3, 33**3), 0.1, jnp.float32)
    got = jax.jit(solve._dot)(a, a)
    # Two sums of some hundred and some thousand terms, halved in blocks by XLA.
    np.testing.assert_allclose(got, 0.01 * a.size, rtol=1e-5)


def _check(matrix, b, x, info, *, tol, floor=1e-300, gain=0.0, dtype=np.float64):
    return solve.verified(
        functools.partial(_multiply, matrix),
        jnp.asarray(b.reshape(SHAPE), dtype),
        jnp.asarray(x.reshape(SHAPE), dtype),
        info,
        solve.Limits(tol, jnp.asarray(floor, dtype), 100, gain),
        diagonal=jnp.ones((1, 8), dtype),
    )


INFO = solve.SolveInfo(*(jnp.asarray(1, t) for t in (jnp.int32, jnp.float32, bool)))


def test_verified_is_the_residual_of_what_is_returned(x64):
    matrix, b = _system()
    x, info = run(matrix, b)
    got = _check(matrix, b, x, info, tol=1e-12)
    assert got.converged and got.residual < 2e-12
    assert got.iterations == info.iterations
    got = _check(matrix, b, (1 + 1e-6) * x, info, tol=1e-12)
    # K (1 + 1e-6) x - b = 1e-6 b.
    assert float(got.residual) == pytest.approx(1e-6, rel=1e-5)
    assert not got.converged


def test_rounding_of_the_solution_is_allowed_for():
    x = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    matrix = np.eye(SIZE, dtype=np.float32)
    for roundings, converged in ((1, True), (20, False)):
        b = (x * (1 + roundings * np.finfo(np.float32).eps)).astype(np.float32)
        got = _check(matrix, b, x, INFO, tol=1e-9, dtype=np.float32)
        assert got.residual > 1e-8  # reported all the same
        assert got.converged == converged


def test_verified_loads_of_zero_and_nan(x64):
    matrix, b = _system()
    got = _check(matrix, 0 * b, 0 * b, INFO, tol=1e-6)
    assert got.converged and got.residual == 0
    b[3] = np.nan
    got = _check(matrix, b, 0 * b, INFO, tol=1e-6)
    assert not got.converged and np.isnan(got.residual)


def _energies(matrix, b, whole, gain, **options):
    x, info = _solve_to(matrix, b, jnp.asarray(whole), gain, **options)
    return whole - 2 * b @ x + x @ matrix @ x, info


@jax.jit
def _solve_to(matrix, b, whole, gain, x0=None):
    x0 = jnp.zeros_like(b) if x0 is None else x0
    x, info = solve.pcg(
        functools.partial(_multiply, matrix),
        lambda r: r,
        b.reshape(SHAPE),
        x0.reshape(SHAPE),
        solve.Limits(1e-12, 1e-300, 100, gain, whole),
    )
    return x.reshape(SIZE), info


def test_a_solve_ends_where_its_energy_has_settled(x64):
    matrix, b = _system(condition=10.0)
    least = b @ np.linalg.solve(matrix, b)
    steps = []
    for left in (1.0, 0.1, 0.01):  # soft cells: little is left of the whole energy
        whole = least * (1 + left)
        energy, info = _energies(matrix, b, whole, 1e-3)
        assert info.converged and info.residual > 1e-6
        assert 0 <= energy / (left * least) - 1 < 2e-3
        steps.append(int(info.iterations))
    assert steps[0] < steps[1] < steps[2] < 24
    # From a start near the end, the first step tells.
    near = np.linalg.solve(matrix, b) * (1 + 1e-3)
    energy, info = _energies(matrix, b, 2 * least, 1e-3, x0=near)
    assert info.iterations == 1 and abs(energy / least - 1) < 1e-5
    _, info = _energies(matrix, b, 2 * least, 0.0)
    assert info.residual <= 1e-12


def test_what_has_settled_counts_as_converged(x64):
    matrix, b = _system()
    x, info = run(matrix, b)
    loose = (1 + 1e-6) * x
    assert not _check(matrix, b, loose, info, tol=1e-12).converged
    assert _check(matrix, b, loose, info, tol=1e-12, gain=1e-3).converged
    stopped = info._replace(converged=jnp.asarray(False))
    assert not _check(matrix, b, loose, stopped, tol=1e-12, gain=1e-3).converged
