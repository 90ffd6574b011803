"""The V-cycle as a linear map: transfer, symmetry, definiteness, mesh independence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg
from fem_helpers import quick_jit, random_binary, solve, stiffness_matrix

from mmdiff.design.bench import specimens
from mmdiff.fem import boundary, flat, homogenize, multigrid

NU = 0.3
# The loads of an octant: one normal, one shear.
NORMAL, SHEAR = boundary.loads("cubic").fixed()
NONE = np.zeros((3, 3), bool)


@pytest.mark.parametrize(
    "n, sizes",
    [
        (3, [3]),
        (4, [4]),
        (8, [8, 4]),
        (12, [12, 6, 3]),
        (20, [20, 10, 5, 3]),
        (36, [36, 18, 9, 5, 3]),
        (44, [44, 22, 11, 6, 3]),
        (64, [64, 32, 16, 8, 4]),
    ],
)
def test_level_sizes(n, sizes):
    assert multigrid.level_sizes(n) == sizes


def test_every_grid_ends_in_a_small_one():
    for n in range(4, 300, 4):
        sizes = multigrid.level_sizes(n)
        assert 3 <= sizes[-1] <= multigrid.COARSEST
        # More would make the coarse grid a poor image of the fine one.
        ratios = [a / b for a, b in zip(sizes, sizes[1:], strict=False)]
        assert all(5 / 3 <= ratio <= 2 for ratio in ratios)


# The moduli of coarse grids


@pytest.mark.parametrize("n", [4, 5, 6, 9])
def test_coarse_moduli_are_means_over_the_coarse_elements(x64, n):
    h = (n + 1) // 2
    modulus = np.random.default_rng(0).random((n, n, n))
    got = quick_jit(multigrid.coarsen)(modulus)
    # Both grids divide one of n h elements.
    common = np.kron(modulus, np.ones((h, h, h))).reshape(h, n, h, n, h, n)
    # An element stiffness is proportional to the edge.
    want = n / h * common.mean((1, 3, 5))
    np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("n", [8, 9, 11, 12])
def test_coarsening_keeps_the_mean_stiffness(x64, n):
    modulus = np.random.default_rng(1).random((n, n, n))
    h = (n + 1) // 2
    got = quick_jit(multigrid.coarsen)(modulus)
    assert got.shape == (h, h, h)
    np.testing.assert_allclose(np.mean(got) / n, modulus.mean() / h, rtol=1e-13)
    # A uniform cell stays uniform, and no share is negative.
    got = quick_jit(multigrid.coarsen)(np.ones((n, n, n)))
    np.testing.assert_allclose(got, n / h, rtol=1e-13)
    one = np.zeros((n, n, n))
    one[n // 2, 0, n - 1] = 1
    assert np.min(quick_jit(multigrid.coarsen)(one)) >= 0


# Transfer


def _field(n, seed=0):
    return np.random.default_rng(seed).standard_normal((3, (n + 1) ** 3))


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_restriction_is_the_transpose_of_prolongation(x64, n):
    x, y = _field((n + 1) // 2), _field(n, 1)
    prolonged, restricted = quick_jit(
        lambda x, y: (multigrid.prolong(x, n), multigrid.restrict(y, n))
    )(x, y)
    assert prolonged.shape == y.shape and restricted.shape == x.shape
    # The same products summed in another order. This keeps the cycle symmetric.
    np.testing.assert_allclose(
        np.sum(prolonged * y), np.sum(x * restricted), rtol=1e-12
    )


@pytest.mark.parametrize("n", [7, 8])
def test_fixed_dofs_stay_fixed(x64, n):
    for fixed in (NORMAL, SHEAR):
        coarse, fine = (_mask(fixed, m) for m in (4, n))
        up = quick_jit(lambda u: multigrid.prolong(u, n))(_field(4) * coarse)
        assert (np.asarray(up)[fine == 0] == 0).all()


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_prolongation_keeps_linear_functions(x64, n):
    def affine(m):
        x, y, z = np.indices(3 * (m + 1,)) / m
        u = [1 + x + 2 * y - 3 * z, x - z, 4 * y + 2]
        return np.array(u).reshape(3, -1)

    got = quick_jit(lambda u: multigrid.prolong(u, n))(affine((n + 1) // 2))
    # Some roundings of numbers of order one.
    np.testing.assert_allclose(got, affine(n), atol=1e-14)


@pytest.mark.parametrize("n", [7, 8])
def test_prolongation_interpolates_between_coarse_nodes(x64, n):
    h = 4
    u = _field(h)
    got = np.asarray(quick_jit(lambda u: multigrid.prolong(u, n))(u))
    grid = got.reshape(3, *3 * (n + 1,))
    coarse = u.reshape(3, *3 * (h + 1,))
    line = np.arange(h + 1) / h
    want = scipy.interpolate.interpn(
        (line, line, line),
        np.moveaxis(coarse, 0, -1),
        np.moveaxis(np.indices(3 * (n + 1,)) / n, 0, -1),
    )
    np.testing.assert_allclose(grid, np.moveaxis(want, -1, 0), atol=1e-14)


@pytest.mark.parametrize("n", [7, 8])
def test_transfer_of_periodic_fields(x64, n):
    h = (n + 1) // 2

    @quick_jit
    def run(u, f):
        up = multigrid.prolong(boundary.copy_images(u, h), n)
        down = boundary.fold_images(multigrid.restrict(f, n), h)
        return up, boundary.copy_images(up, n), down

    u, f = _field(h), _field(n, 1)
    up, completed, down = run(u, f)
    # Images are interpolated between images.
    np.testing.assert_allclose(up, completed, atol=1e-15)
    np.testing.assert_allclose(np.sum(up * f), np.sum(u * down), rtol=1e-12)
    # No force gets lost.
    np.testing.assert_allclose(down.sum(1), f.sum(1), atol=1e-12)


# The cycle


@functools.lru_cache
def _cycle(n, periodic=False):
    """The jitted `moduli, fixed, force -> correction` on an n^3 grid."""
    setup, cycle = multigrid.make_multigrid(n, NU, periodic=periodic)
    return quick_jit(lambda modulus, fixed, b: cycle(setup(modulus, fixed), b))


@functools.lru_cache
def _columns(n, periodic):
    """The jitted `moduli, fixed -> M`, the cycle as a matrix (d, d)."""
    setup, cycle = multigrid.make_multigrid(n, NU, periodic=periodic)
    size = 3 * (n + 1) ** 3

    def matrix(modulus, fixed):
        hierarchy = setup(modulus, fixed)

        def column(i):
            unit = jnp.zeros(size, modulus.dtype).at[i].set(1)
            return cycle(hierarchy, unit.reshape(3, -1)).reshape(-1)

        return jax.lax.map(column, jnp.arange(size))

    return jax.jit(matrix)


def _mask(fixed, n, periodic=False):
    mask = boundary.free_mask(fixed, n, np.float64, periodic=periodic)
    return np.asarray(mask).reshape(3, -1)


def _free(fixed, n, periodic=False):
    return _mask(fixed, n, periodic).reshape(-1) > 0


def _folded(modulus):
    """K (3 n^3, 3 n^3) of a periodic cell: images are their originals."""
    n = len(modulus)
    grid = np.arange(n**3).reshape(n, n, n)
    grid = np.pad(grid, 3 * [(0, 1)], mode="wrap").reshape(-1)
    original = (np.arange(3)[:, None] * n**3 + grid).reshape(-1)
    gather = np.eye(3 * n**3)[original]
    return gather.T @ stiffness_matrix(modulus) @ gather


def _binary(n, seed, void=1e-6):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, n, n)) < 0.4, 1.0, void)


def _check_spectrum(matrix, stiffness):
    """The eigenvalues of M K, which decide on the iterations."""
    half = np.linalg.cholesky(stiffness)
    values = np.linalg.eigvalsh(half.T @ ((matrix + matrix.T) / 2) @ half)
    # With Galerkin levels nothing would exceed one; rediscretized ones overshoot a
    # little. Blocks of a few elements in void, apart from the others, are linked on
    # coarse grids: an eigenvalue close to zero, and an iteration, for each.
    assert values[0] > 0 and 0.99 < values[-1] < 1.2
    assert np.sum(values < 0.05) <= 3


# Coarsened to 3, to 3 (not nested) and to 4.
@pytest.mark.parametrize(
    "n", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 8))]
)
@pytest.mark.parametrize("fixed", [NORMAL, SHEAR], ids=["normal", "shear"])
def test_cycle_as_a_matrix(x64, n, fixed):
    free = _free(fixed, n)
    for void in (1e-3, 1e-9) if n < 8 else (1e-6,):
        modulus = _binary(n, n, void)
        columns = _columns(n, False)(jnp.asarray(modulus), jnp.asarray(fixed))
        matrix = np.asarray(columns)
        # Nothing comes of forces on fixed dofs, and nothing moves there.
        np.testing.assert_array_equal(matrix[~free], 0)
        np.testing.assert_array_equal(matrix[:, ~free], 0)
        matrix = matrix[np.ix_(free, free)]
        scale = np.sqrt(np.diag(matrix))
        scaled = matrix / np.outer(scale, scale)
        # Some hundred roundings.
        np.testing.assert_allclose(scaled, scaled.T, rtol=0, atol=1e-13)
        assert np.linalg.eigvalsh(scaled)[0] > 0.1
        _check_spectrum(matrix, stiffness_matrix(modulus)[np.ix_(free, free)])


@pytest.mark.parametrize("n", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_periodic_cycle_as_a_matrix(x64, n):
    free = _free(NONE, n, periodic=True)
    for void in (1e-3, 1e-9):
        modulus = _binary(n, n, void)
        columns = _columns(n, True)(jnp.asarray(modulus), jnp.asarray(NONE))
        matrix = np.asarray(columns)
        # Forces on images are of no effect.
        np.testing.assert_array_equal(matrix[~free], 0)
        matrix = matrix[np.ix_(free, free)]
        # Of forces of zero mean, in an orthogonal basis: nothing translates.
        mean = np.kron(np.eye(3), np.ones((1, n**3)))
        size = np.diag(matrix).max()
        np.testing.assert_allclose(matrix @ mean.T / size, 0, atol=1e-9)
        basis = scipy.linalg.null_space(mean)
        matrix = basis.T @ matrix @ basis
        # The coarsest matrix is singular but for its shift, which costs some digits.
        np.testing.assert_allclose(matrix / size, matrix.T / size, rtol=0, atol=1e-8)
        assert np.linalg.eigvalsh(matrix + matrix.T)[0] > 0
        _check_spectrum(matrix, basis.T @ _folded(modulus) @ basis)


def _random_force(n, seed):
    return jnp.asarray(_field(n, seed))


@pytest.mark.parametrize("fixed", [NORMAL, SHEAR], ids=["normal", "shear"])
def test_cycle_on_three_levels(x64, fixed):
    # 12 -> 6 -> 3, with an odd grid at the end.
    n, free = 12, _mask(fixed, 12)
    modulus = jnp.asarray(random_binary(n, 2))
    a, b = _random_force(n, 0), _random_force(n, 1)
    za, zb, zc = (_cycle(n)(modulus, fixed, f) for f in (a, b, a * free))
    for z in (za, zb):
        np.testing.assert_array_equal(z, z * free)
    # Forces on fixed dofs are of no effect, to the last bit.
    np.testing.assert_array_equal(za, zc)
    left, right = np.sum(za * b), np.sum(a * zb)
    size = np.sqrt(np.sum(za * a) * np.sum(zb * b))
    # Corrections in the void are 1e6 times those in the solid: six digits may go.
    assert abs(left - right) < 1e-8 * size and np.sum(za * a) > 0
    # And it is linear.
    both = _cycle(n)(modulus, fixed, a + 2 * b)
    np.testing.assert_allclose(both, za + 2 * zb, rtol=0, atol=1e-9 * abs(za).max())


def test_images_move_with_their_originals(x64):
    n = 12
    modulus = jnp.asarray(_binary(n, 3))
    z = _cycle(n, True)(modulus, NONE, _random_force(n, 2))
    free = _mask(NONE, n, periodic=True)
    want = boundary.copy_images(z * free, n)
    # The mean is taken off all nodes alike.
    np.testing.assert_allclose(z, want, rtol=0, atol=1e-12 * np.abs(z).max())
    mean = np.sum(z * free, 1) / n**3
    np.testing.assert_allclose(mean, 0, atol=1e-12 * np.abs(z).max())


def test_cycle_on_a_solvable_system_is_exact_on_the_coarsest_grid(x64):
    modulus = 1e-3 + np.random.default_rng(0).random((4, 4, 4))
    free = _free(NORMAL, 4)
    b = _random_force(4, 0)
    z = _cycle(4)(jnp.asarray(modulus), NORMAL, b)
    want = np.zeros(free.size)
    stiffness = stiffness_matrix(modulus)[np.ix_(free, free)]
    want[free] = np.linalg.solve(stiffness, np.asarray(b).reshape(-1)[free])
    # A shift bounds the condition number by 1e9 and changes what is 1e3.
    np.testing.assert_allclose(
        np.reshape(z, -1), want, rtol=0, atol=1e-5 * abs(want).max()
    )


@pytest.mark.parametrize("n, periodic", [(5, False), (8, False), (4, True), (5, True)])
def test_smoother_holds_the_inverses_of_the_nodal_blocks(x64, n, periodic):
    rng = np.random.default_rng(n)
    modulus = 10.0 ** (-6 * rng.random((n, n, n)))
    fixed = NONE if periodic else SHEAR
    setup, _ = multigrid.make_multigrid(n, NU, periodic=periodic)
    level = quick_jit(setup)(jnp.asarray(modulus), fixed).levels[0]
    np.testing.assert_array_equal(level.modulus, flat.flatten(jnp.asarray(modulus)))
    free = _free(fixed, n, periodic)
    part, matrix = np.ix_(free, free), np.zeros(2 * (free.size,))
    matrix[part] = _folded(modulus) if periodic else stiffness_matrix(modulus)[part]
    nodes = (n + 1) ** 3
    blocks = np.einsum("isjs->sij", matrix.reshape(3, nodes, 3, nodes))
    # Free dofs of a node among themselves; zero elsewhere.
    want = np.linalg.pinv(blocks, rcond=1e-12, hermitian=True)
    got = np.asarray(level.blocks)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    got = np.moveaxis(got, -1, 0)
    scale = np.maximum(abs(want).max((1, 2), keepdims=True), 1e-300)
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-12)


def test_degrees_are_those_asked_for(x64):
    n, b = 8, _random_force(8, 0)
    modulus = jnp.asarray(_binary(8, 0))
    left, free = [], _mask(NORMAL, n)
    for degrees in ((1, 1), (2, 2), (4, 4)):
        setup, cycle = multigrid.make_multigrid(n, NU, periodic=False, degrees=degrees)
        apply = multigrid.make_apply(n, NU, periodic=False)

        def run(modulus, b, setup=setup, cycle=cycle, apply=apply):
            z = cycle(setup(modulus, NORMAL), b)
            return (b - apply(flat.flatten(modulus), z)) * free

        left.append(float(jnp.linalg.norm(quick_jit(run)(modulus, b * free))))
    # More smoothing leaves less of a rough force.
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize(
    "n", [12, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 36, 44))]
)
def test_odd_coarse_grids_do_as_well_as_even_ones(x64, n):
    # 12 -> 6, 3 and 20 -> 10, 5, 3 and 36 -> 18, 9, 5, 3 and 44 -> 22, 11, 6, 3. Even
    # ones are seen in test_validation.py.
    stiff = homogenize.modulus(specimens.schwarz_p(n))
    _, info, _ = solve(stiff, tol=1e-5)
    assert info.converged.all()
    # 5 to 7 on all grids.
    assert info.iterations.max() <= 9
