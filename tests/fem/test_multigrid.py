"""The V-cycle as a linear map: transfer, symmetry, definiteness, mesh independence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import QUICK, random_binary, solve

from mmdiff import specimens
from mmdiff.fem import boundary, homogenize, multigrid

NU = 0.3


def _jit(function):
    return jax.jit(function, compiler_options=QUICK)


@pytest.mark.parametrize(
    "n, sizes",
    [
        (4, [4]),
        (8, [8, 4]),
        (12, [12, 6, 3]),
        (20, [20, 10, 5]),
        (64, [64, 32, 16, 8, 4]),
    ],
)
def test_level_sizes(n, sizes):
    assert multigrid.level_sizes(n) == sizes


def test_coarsening_keeps_the_stiffness_of_a_uniform_cell():
    modulus = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32)
    got = multigrid.coarsen(jnp.asarray(modulus))
    # An element stiffness is proportional to the edge, which doubles.
    want = 2 * modulus[:2, 2:, :2].mean()
    np.testing.assert_allclose(got[0, 1, 0], want, rtol=1e-6)


def _fields(symmetry, n, seed=0):
    m = boundary.loads(symmetry).nodes(n)
    return np.random.default_rng(seed).standard_normal((2, 3, m, m, m))


@pytest.mark.parametrize("symmetry", ["cubic", "periodic"])
def test_restriction_is_the_transpose_of_prolongation(x64, symmetry):
    load_cases = boundary.loads(symmetry)
    x, y = _fields(symmetry, 3), _fields(symmetry, 6, 1)
    prolonged = _jit(lambda u: multigrid.prolong(u, load_cases))(x)
    restricted = _jit(lambda f: multigrid.restrict(f, load_cases))(y)
    assert prolonged.shape == y.shape and restricted.shape == x.shape
    # The same products summed in another order.
    np.testing.assert_allclose(
        np.sum(prolonged * y), np.sum(x * restricted), rtol=1e-12
    )


def test_prolongation_keeps_linear_functions(x64):
    x, y, z = np.indices((4, 4, 4)).astype(float)
    fine = np.indices((7, 7, 7)) / 2
    load_cases = boundary.loads("cubic")
    got = _jit(lambda u: multigrid.prolong(u, load_cases))(1 + x + 2 * y - 3 * z)
    want = 1 + fine[0] + 2 * fine[1] - 3 * fine[2]
    np.testing.assert_allclose(got, want, atol=1e-14)


def test_periodic_prolongation_interpolates_across_the_faces(x64):
    coarse = np.random.default_rng(0).random((2, 2, 2))
    load_cases = boundary.loads("periodic")
    got = _jit(lambda u: multigrid.prolong(u, load_cases))(coarse)
    np.testing.assert_array_equal(got[::2, ::2, ::2], coarse)
    # Node 3 lies between node 1 and the image of node 0.
    want = (coarse[1, 0, 0] + coarse[0, 0, 0]) / 2
    np.testing.assert_allclose(got[3, 0, 0], want)


@functools.lru_cache
def _cycle(n, symmetry):
    load_cases = boundary.loads(symmetry)
    setup, cycle = multigrid.make_multigrid(n, load_cases, NU)
    apply = multigrid.make_apply(n, load_cases, NU, compact=False)

    def both(modulus, residual):
        mask = boundary.free_mask(load_cases, n, residual.dtype)
        residual = residual * mask
        return cycle(setup(modulus), residual), apply(modulus, residual), residual

    return _jit(both)


def _residual(symmetry, n, seed):
    load_cases = boundary.loads(symmetry)
    m = load_cases.nodes(n)
    shape = (len(load_cases.voigt), 3, m, m, m)
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("symmetry", ["cubic", "periodic"])
def test_cycle_is_symmetric_and_positive_definite(x64, symmetry):
    n, loads = 8, "lcxyz,lcxyz->l"
    for seed in range(4):
        modulus = jnp.asarray(random_binary(n, seed, volume=(0.1, 0.3, 0.5, 0.8)[seed]))
        a, b = (_residual(symmetry, n, s) for s in (10 + seed, 20 + seed))
        run = _cycle(n, symmetry)
        za, _, a = map(np.asarray, run(modulus, a))
        zb, _, b = map(np.asarray, run(modulus, b))
        left, right = np.einsum(loads, za, b), np.einsum(loads, a, zb)
        size = np.sqrt(np.einsum(loads, za, a) * np.einsum(loads, zb, b))
        # Corrections in the void are 1e6 times those in the solid: six digits may go.
        assert (abs(left - right) < 1e-8 * size).all()
        assert (np.einsum(loads, za, a) > 0).all()


def test_cycle_keeps_fixed_dofs_fixed(x64):
    modulus = jnp.asarray(random_binary(8))
    z, force, residual = _cycle(8, "cubic")(modulus, _residual("cubic", 8, 0))
    mask = boundary.free_mask(boundary.loads("cubic"), 8, np.float64)
    for field in (z, force, residual):
        np.testing.assert_array_equal(field, field * mask)


def test_cycle_bounds_the_operator(x64):
    # The power method for the largest eigenvalue of M K.
    modulus = jnp.asarray(random_binary(8, 1))
    run = _cycle(8, "cubic")
    x = _residual("cubic", 8, 3)
    for _ in range(30):
        _, force, _ = run(modulus, x)
        x, _, _ = run(modulus, force)
        largest = np.sqrt(np.einsum("lcxyz,lcxyz->l", x, x))
        x = x / largest[:, None, None, None, None]
    # A symmetric V-cycle with Galerkin levels never overshoots (largest = 1);
    # rediscretized ones may, but not by much, or CG would slow down.
    assert (largest > 0.99).all() and (largest < 1.5).all()


def test_iterations_hardly_grow_with_the_grid():
    iterations = []
    for n in (8, 16, 32):
        density = specimens.schwarz_p(n).astype(np.float32)
        _, info, _ = solve(homogenize.modulus(density), tol=1e-5)
        assert info.converged.all()
        iterations.append(int(info.iterations.max()))
    # Without multigrid they double with n.
    assert iterations[-1] <= 1.5 * iterations[0]
    assert max(iterations) <= 15
