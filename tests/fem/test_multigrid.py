"""The V-cycle as a linear map: transfer, symmetry, definiteness, mesh independence."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg
from fem_helpers import (
    assembled,
    element_tensors,
    quick_jit,
    random_binary,
    random_coefficients,
    solve,
)
from oracles import assemble

from mmdiff.design.bench import specimens
from mmdiff.fem import boundary, homogenize, multigrid, stencil
from mmdiff.fem.brick import Brick

BRICK = Brick()
UNEQUAL = (1.0, 0.7, 1.3)
# The loads of an octant: one normal, one shear.
NORMAL, SHEAR = boundary.loads("cubic").fixed()
NONE = np.zeros((3, 3), bool)


# Levels


def _shapes(shape, edges=(1.0, 1.0, 1.0), **options):
    grids = multigrid.grids(shape, Brick(edges=edges), **options)
    return [grid.shape for grid in grids]


@pytest.mark.parametrize(
    "n, sizes",
    [
        (3, [3]),
        (5, [5]),
        (6, [6, 3]),
        (8, [8, 4]),
        (12, [12, 6, 3]),
        (20, [20, 10, 5]),
        (36, [36, 18, 9, 5]),
        (44, [44, 22, 11, 6, 3]),
        (64, [64, 32, 16, 8, 4]),
    ],
)
def test_levels_of_cubes(n, sizes):
    assert _shapes((n, n, n)) == [(size, size, size) for size in sizes]


def test_every_box_ends_in_a_small_one():
    rng = np.random.default_rng(0)
    for _ in range(100):
        shape = tuple(rng.integers(1, 200, 3).tolist())
        edges = tuple((3.0 ** rng.random(3)).tolist())
        levels = multigrid.grids(shape, Brick("isotropic", edges=edges))
        assert levels[0] == (shape, Brick("isotropic", edges=edges))
        assert math.prod(n + 1 for n in levels[-1].shape) <= multigrid.COARSEST
        for fine, coarse in zip(levels, levels[1:], strict=False):
            assert math.prod(n + 1 for n in fine.shape) > multigrid.COARSEST
            assert fine.shape != coarse.shape and coarse.brick.kind == "isotropic"
            # More would make the coarse grid a poor image of the fine one.
            sizes = list(zip(fine.shape, coarse.shape, strict=True))
            assert all(h in (n, (n + 1) // 2) for n, h in sizes)
        for grid in levels:  # all of the same box
            box = np.multiply(grid.shape, grid.brick.edges)
            np.testing.assert_allclose(box, np.multiply(shape, edges), rtol=1e-12)


def test_axes_of_short_elements_are_coarsened_first():
    assert _shapes((8, 8, 8), (1.0, 1.0, 4.0)) == [(8, 8, 8), (4, 4, 8), (2, 2, 8)]
    assert _shapes((8, 8, 8), (2.0, 1.0, 4.0), coarsest=100) == [
        *((8, 8, 8), (8, 4, 8), (4, 2, 8), (2, 1, 4)),
    ]
    # Those of similar edges go together.
    assert _shapes((8, 8, 8), (1.4, 1.0, 1.2)) == [(8, 8, 8), (4, 4, 4)]
    levels = multigrid.grids((8, 8, 8), Brick(edges=(1.0, 1.0, 4.0)))
    assert [grid.brick.edges for grid in levels[1:]] == [(2, 2, 4), (4, 4, 4)]


def test_thin_boxes_keep_their_single_elements():
    # A single element is as long as it is and holds no other axis up.
    assert _shapes((9, 1, 1), coarsest=12) == [(n, 1, 1) for n in (9, 5, 3, 2)]
    assert _shapes((9, 1, 1), (1.0, 0.01, 1.0), coarsest=12)[-1] == (2, 1, 1)
    assert _shapes((1, 1, 1), coarsest=1) == [(1, 1, 1)]


# The coefficients of coarse grids

PAIRS = [
    *(3 * (n,) for n in (4, 5, 6, 9)),
    (4, 5, 9),
    (6, 4, 8),
]


def _half(shape):
    return tuple((n + 1) // 2 for n in shape)


coarsen = quick_jit(multigrid.coarsen, static_argnames="coarse")


@pytest.mark.parametrize(
    "fine, coarse", [*((n, _half(n)) for n in PAIRS), ((4, 5, 6), (2, 5, 3))]
)
def test_coarse_coefficients_are_means_over_the_coarse_elements(x64, fine, coarse):
    values = np.random.default_rng(0).random((2, *fine))
    got = coarsen(values, coarse=coarse)
    # Both grids divide one of n h elements.
    common = np.kron(values, np.ones((1, *coarse)))
    pairs = [size for n, h in zip(fine, coarse, strict=True) for size in (h, n)]
    want = common.reshape(2, *pairs).mean((2, 4, 6))
    np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("fine", [(8, 8, 8), (9, 8, 11), (11, 12, 9)])
def test_coarsening_keeps_the_mean(x64, fine):
    values, coarse = np.random.default_rng(1).random((1, *fine)), _half(fine)
    got = coarsen(values, coarse=coarse)
    assert got.shape == (1, *coarse)
    np.testing.assert_allclose(np.mean(got), values.mean(), rtol=1e-13)
    # A uniform cell stays uniform, and no share is negative.
    got = coarsen(np.ones((1, *fine)), coarse=coarse)
    np.testing.assert_allclose(got, 1, rtol=1e-13)
    one = np.zeros((1, *fine))
    one[0, fine[0] // 2, 0, fine[2] - 1] = 1
    assert np.min(coarsen(one, coarse=coarse)) >= 0


# Transfer

FINE = [*(3 * (n,) for n in (5, 6, 7, 8)), (5, 8, 6), (4, 6, 8)]


def _nodes(shape):
    return tuple(n + 1 for n in shape)


def _field(shape, seed=0):
    size = math.prod(_nodes(shape))
    return np.random.default_rng(seed).standard_normal((3, size))


def _prolong(fine, coarse=None):
    coarse = coarse or _half(fine)
    return quick_jit(lambda u: multigrid.prolong(u, coarse, fine))


@pytest.mark.parametrize("fine", FINE)
def test_restriction_is_the_transpose_of_prolongation(x64, fine):
    coarse = _half(fine)
    x, y = _field(coarse), _field(fine, 1)
    restrict = quick_jit(lambda y: multigrid.restrict(y, fine, coarse))
    prolonged, restricted = _prolong(fine)(x), restrict(y)
    assert prolonged.shape == y.shape and restricted.shape == x.shape
    # The same products summed in another order. This keeps the cycle symmetric.
    np.testing.assert_allclose(
        np.sum(prolonged * y), np.sum(x * restricted), rtol=1e-12
    )


@pytest.mark.parametrize("fine", [(7, 7, 7), (8, 8, 8), (8, 7, 6)])
def test_fixed_dofs_stay_fixed(x64, fine):
    for fixed in (NORMAL, SHEAR):
        coarse, mask = (_mask(fixed, shape) for shape in (_half(fine), fine))
        up = _prolong(fine)(_field(_half(fine)) * coarse)
        assert (np.asarray(up)[mask == 0] == 0).all()


@pytest.mark.parametrize("fine", [(7, 7, 7), (8, 8, 8), (8, 7, 6)])
def test_dofs_beside_fixed_ones_are_fixed_on_coarse_grids(x64, fine):
    coarse = _half(fine)
    fixed = np.random.default_rng(2).random((3, *_nodes(fine))) < 0.02
    lines = [multigrid.weights(n, h) for n, h in zip(fine, coarse, strict=True)]
    touched = np.einsum("cxyz,xi,yj,zk->cijk", fixed, *lines) > 0
    got = multigrid.coarse_fixed(fixed, coarse)
    np.testing.assert_array_equal(got, touched)
    assert got.any() and not got.all()
    # Faces that are held stay faces; where nodes lie between, some are added.
    for faces in (NORMAL, SHEAR):
        held, want = (_mask(faces, shape) == 0 for shape in (fine, coarse))
        got = multigrid.coarse_fixed(held.reshape(3, *_nodes(fine)), coarse)
        assert got.reshape(3, -1)[want].all()


@pytest.mark.parametrize("fine", FINE)
def test_prolongation_keeps_linear_functions(x64, fine):
    def affine(shape):
        x, y, z = np.indices(_nodes(shape)) / np.reshape(shape, (3, 1, 1, 1))
        u = [1 + x + 2 * y - 3 * z, x - z, 4 * y + 2]
        return np.array(u).reshape(3, -1)

    got = _prolong(fine)(affine(_half(fine)))
    # Some roundings of numbers of order one.
    np.testing.assert_allclose(got, affine(fine), atol=1e-14)


@pytest.mark.parametrize(
    "fine, coarse",
    [((7, 7, 7), (4, 4, 4)), ((8, 8, 8), (4, 4, 4)), ((5, 6, 4), (3, 3, 4))],
)
def test_prolongation_interpolates_between_coarse_nodes(x64, fine, coarse):
    u = _field(coarse)
    got = np.asarray(_prolong(fine, coarse)(u))
    places = np.indices(_nodes(fine)) / np.reshape(fine, (3, 1, 1, 1))
    want = scipy.interpolate.interpn(
        [np.arange(h + 1) / h for h in coarse],
        np.moveaxis(u.reshape(3, *_nodes(coarse)), 0, -1),
        np.moveaxis(places, 0, -1),
    )
    want = np.moveaxis(want, -1, 0)
    np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-14)


@pytest.mark.parametrize("fine", [(7, 7, 7), (8, 8, 8), (5, 8, 6)])
def test_transfer_of_periodic_fields(x64, fine):
    coarse = _half(fine)

    @quick_jit
    def run(u, f):
        up = multigrid.prolong(boundary.copy_images(u, coarse), coarse, fine)
        down = boundary.fold_images(multigrid.restrict(f, fine, coarse), coarse)
        return up, boundary.copy_images(up, fine), down

    u, f = _field(coarse), _field(fine, 1)
    up, completed, down = run(u, f)
    # Images are interpolated between images.
    np.testing.assert_allclose(up, completed, atol=1e-15)
    np.testing.assert_allclose(np.sum(up * f), np.sum(u * down), rtol=1e-12)
    # No force gets lost.
    np.testing.assert_allclose(down.sum(1), f.sum(1), atol=1e-12)


# The cycle


def _cycle_of(grids, periodic=False, **options):
    """`setup(coefficients, fixed)` and `cycle` on some grids."""
    most = math.prod(grids[-1].shape if periodic else _nodes(grids[-1].shape))
    setup, cycle = multigrid.make_multigrid(
        grids, most_free=3 * most, periodic=periodic, **options
    )

    def prepared(coefficients, fixed):
        free = multigrid.cell_masks(fixed, grids, coefficients.dtype, periodic=periodic)
        return setup(coefficients, free)

    return prepared, cycle


@functools.lru_cache
def _cycle(n, periodic=False):
    """The jitted `moduli, fixed, force -> correction` on an n^3 grid."""
    setup, cycle = _cycle_of(multigrid.grids((n, n, n), BRICK), periodic)
    return quick_jit(lambda modulus, fixed, b: cycle(setup(modulus[None], fixed), b))


@functools.lru_cache
def _columns(shape, brick=BRICK, periodic=False, coarsest=100):
    """The jitted `coefficients, fixed -> M`, the cycle as a matrix (d, d)."""
    grids = multigrid.grids(shape, brick, coarsest)
    assert len(grids) > 1
    setup, cycle = _cycle_of(grids, periodic)
    size = 3 * math.prod(_nodes(shape))

    def matrix(coefficients, fixed):
        hierarchy = setup(coefficients, fixed)

        def column(i):
            unit = jnp.zeros(size, coefficients.dtype).at[i].set(1)
            return cycle(hierarchy, unit.reshape(3, -1)).reshape(-1)

        return jax.lax.map(column, jnp.arange(size))

    return quick_jit(matrix) if size < 800 else jax.jit(matrix)


def _mask(fixed, shape, periodic=False):
    mask = boundary.free_mask(fixed, shape, np.float64, periodic=periodic)
    return np.asarray(mask).reshape(3, -1)


def _free(fixed, shape, periodic=False):
    return _mask(fixed, shape, periodic).reshape(-1) > 0


def _stiffness(coefficients, brick=BRICK, periodic=False):
    """K of the nodes; of a periodic cell, images are their originals."""
    tensors = element_tensors(coefficients, brick)
    return assemble(tensors, brick.edges, periodic=periodic).toarray()


def _binary(shape, seed, void=1e-6):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((1, *shape)) < 0.4, 1.0, void)


def _check_spectrum(matrix, stiffness, most=1.2):
    """The eigenvalues of M K, which decide on the iterations."""
    half = np.linalg.cholesky(stiffness)
    values = np.linalg.eigvalsh(half.T @ ((matrix + matrix.T) / 2) @ half)
    # With Galerkin levels nothing would exceed one; rediscretized ones overshoot a
    # little. Blocks of a few elements in void, apart from the others, are linked on
    # coarse grids: an eigenvalue close to zero, and an iteration, for each.
    assert values[0] > 0 and 0.99 < values[-1] < most
    assert np.sum(values < 0.05) <= 3


def _check_cycle(columns, coefficients, brick, fixed, **options):
    free = _free(fixed, coefficients.shape[1:])
    matrix = np.asarray(columns(jnp.asarray(coefficients), jnp.asarray(fixed)))
    # Nothing comes of forces on fixed dofs, and nothing moves there.
    np.testing.assert_array_equal(matrix[~free], 0)
    np.testing.assert_array_equal(matrix[:, ~free], 0)
    matrix = matrix[np.ix_(free, free)]
    scale = np.sqrt(np.diag(matrix))
    scaled = matrix / np.outer(scale, scale)
    # Some hundred roundings.
    np.testing.assert_allclose(scaled, scaled.T, rtol=0, atol=1e-13)
    assert np.linalg.eigvalsh(scaled)[0] > 0.05
    stiffness = _stiffness(coefficients, brick)[np.ix_(free, free)]
    _check_spectrum(matrix, stiffness, **options)


# Coarsened to 3, to 3 (not nested) and to 4.
@pytest.mark.parametrize(
    "n", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 8))]
)
@pytest.mark.parametrize("fixed", [NORMAL, SHEAR], ids=["normal", "shear"])
def test_cycle_as_a_matrix(x64, n, fixed):
    columns = _columns((n, n, n), coarsest=125)
    for void in (1e-3, 1e-9) if n < 8 else (1e-6,):
        _check_cycle(columns, _binary((n, n, n), n, void), BRICK, fixed)


@pytest.mark.parametrize("kind", ["modulus", "isotropic", "cubic"])
def test_cycle_on_boxes_as_a_matrix(x64, kind):
    shape, brick = (5, 4, 3), Brick(kind, edges=UNEQUAL)
    columns = _columns(shape, brick)
    for fixed, seed in ((NORMAL, 0), (SHEAR, 1), (np.ones((3, 3), bool), 2)):
        coefficients = random_coefficients(brick, shape, seed, decades=3)
        _check_cycle(columns, coefficients, brick, fixed)


def _check_periodic_cycle(columns, coefficients, brick):
    shape = coefficients.shape[1:]
    free, size = _free(NONE, shape, periodic=True), math.prod(shape)
    matrix = np.asarray(columns(jnp.asarray(coefficients), jnp.asarray(NONE)))
    # Forces on images are of no effect.
    np.testing.assert_array_equal(matrix[~free], 0)
    matrix = matrix[np.ix_(free, free)]
    # Of forces of zero mean, in an orthogonal basis: nothing translates.
    mean = np.kron(np.eye(3), np.ones((1, size)))
    largest = np.diag(matrix).max()
    np.testing.assert_allclose(matrix @ mean.T / largest, 0, atol=1e-9)
    basis = scipy.linalg.null_space(mean)
    matrix = basis.T @ matrix @ basis
    # The coarsest matrix is singular but for its shift, which costs some digits.
    np.testing.assert_allclose(matrix / largest, matrix.T / largest, rtol=0, atol=1e-8)
    assert np.linalg.eigvalsh(matrix + matrix.T)[0] > 0
    stiffness = _stiffness(coefficients, brick, periodic=True)
    _check_spectrum(matrix, basis.T @ stiffness @ basis)


@pytest.mark.parametrize("n", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_periodic_cycle_as_a_matrix(x64, n):
    columns = _columns((n, n, n), periodic=True)
    for void in (1e-3, 1e-9):
        _check_periodic_cycle(columns, _binary((n, n, n), n, void), BRICK)


def test_periodic_cycle_on_a_box_as_a_matrix(x64):
    shape, brick = (5, 4, 3), Brick("isotropic", edges=UNEQUAL)
    coefficients = random_coefficients(brick, shape, 3, decades=3)
    _check_periodic_cycle(_columns(shape, brick, True), coefficients, brick)


def _random_force(n, seed):
    return jnp.asarray(_field((n, n, n), seed))


@pytest.mark.parametrize("fixed", [NORMAL, SHEAR], ids=["normal", "shear"])
def test_cycle_on_three_levels(x64, fixed):
    # 12 -> 6 -> 3, with an odd grid at the end.
    n, free = 12, _mask(fixed, (12, 12, 12))
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
    modulus = jnp.asarray(_binary((n, n, n), 3)[0])
    z = _cycle(n, True)(modulus, NONE, _random_force(n, 2))
    free = _mask(NONE, (n, n, n), periodic=True)
    want = boundary.copy_images(z * free, (n, n, n))
    # The mean is taken off all nodes alike.
    np.testing.assert_allclose(z, want, rtol=0, atol=1e-12 * np.abs(z).max())
    mean = np.sum(z * free, 1) / n**3
    np.testing.assert_allclose(mean, 0, atol=1e-12 * np.abs(z).max())


def test_cycle_on_a_solvable_system_is_exact_on_the_coarsest_grid(x64):
    modulus = 1e-3 + np.random.default_rng(0).random((4, 4, 4))
    free = _free(NORMAL, (4, 4, 4))
    b = _random_force(4, 0)
    z = _cycle(4)(jnp.asarray(modulus), NORMAL, b)
    want = np.zeros(free.size)
    stiffness = _stiffness(modulus[None])[np.ix_(free, free)]
    want[free] = np.linalg.solve(stiffness, np.asarray(b).reshape(-1)[free])
    # A shift bounds the condition number by 1e9 and changes what is 1e3.
    np.testing.assert_allclose(
        np.reshape(z, -1), want, rtol=0, atol=1e-5 * abs(want).max()
    )


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(
    "shape, brick",
    [
        ((5, 5, 5), BRICK),
        ((4, 4, 4), BRICK),
        ((5, 3, 4), Brick("isotropic", edges=UNEQUAL)),
    ],
)
def test_smoother_holds_the_inverses_of_the_nodal_blocks(x64, shape, brick, periodic):
    coefficients = random_coefficients(brick, shape, decades=6)
    fixed = NONE if periodic else SHEAR
    setup, _ = _cycle_of(multigrid.grids(shape, brick), periodic)
    level = quick_jit(setup)(jnp.asarray(coefficients), fixed).levels[0]
    np.testing.assert_array_equal(
        level.lines, stencil.flatten(jnp.asarray(coefficients))
    )
    free = _free(fixed, shape, periodic)
    part, matrix = np.ix_(free, free), np.zeros(2 * (free.size,))
    stiffness = _stiffness(coefficients, brick, periodic)
    matrix[part] = stiffness if periodic else stiffness[part]
    nodes = math.prod(_nodes(shape))
    blocks = np.einsum("isjs->sij", matrix.reshape(3, nodes, 3, nodes))
    # Free dofs of a node among themselves; zero elsewhere.
    want = np.linalg.pinv(blocks, rcond=1e-12, hermitian=True)
    got = np.asarray(level.blocks)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    got = np.moveaxis(got, -1, 0)
    scale = np.maximum(abs(want).max((1, 2), keepdims=True), 1e-300)
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
def test_dofs_of_elements_are_those_of_their_corners(x64, periodic):
    brick, shape = Brick("cubic", edges=UNEQUAL), (3, 2, 4)
    coefficients = random_coefficients(brick, shape)
    dofs = multigrid.element_dofs(shape, periodic=periodic)
    assert dofs.shape == (24, 24)
    nodes = _nodes(shape)
    matrix = np.zeros(2 * (3 * math.prod(nodes),))
    local = [
        assembled(c.reshape(3, 1, 1, 1), brick) for c in coefficients.reshape(3, -1).T
    ]
    for index, part in zip(dofs, local, strict=True):
        np.add.at(matrix, np.ix_(index, index), part.toarray())
    free = _free(NONE, shape, periodic)
    np.testing.assert_array_equal(matrix[~free], 0)
    want = _stiffness(coefficients, brick, periodic)
    np.testing.assert_allclose(matrix[np.ix_(free, free)], want, atol=1e-13)


def test_degrees_are_those_asked_for(x64):
    shape, b = (8, 8, 8), _random_force(8, 0)
    modulus = jnp.asarray(_binary(shape, 0))
    left, free = [], _mask(NORMAL, shape)
    grids = multigrid.grids(shape, BRICK)
    for degrees in ((1, 1), (2, 2), (4, 4)):
        setup, cycle = _cycle_of(grids, degrees=degrees)
        apply = multigrid.make_apply(grids[0], periodic=False)

        def run(modulus, b, setup=setup, cycle=cycle, apply=apply):
            z = cycle(setup(modulus, NORMAL), b)
            return (b - apply(stencil.flatten(modulus), z)) * free

        left.append(float(jnp.linalg.norm(quick_jit(run)(modulus, b * free))))
    # More smoothing leaves less of a rough force.
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize(
    "n", [12, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 36, 44))]
)
def test_odd_coarse_grids_do_as_well_as_even_ones(x64, n):
    # 12 -> 6, 3 and 20 -> 10, 5 and 36 -> 18, 9, 5 and 44 -> 22, 11, 6, 3. Even ones
    # are seen in test_validation.py.
    stiff = homogenize.modulus(specimens.schwarz_p(n))
    _, info, _ = solve(stiff, tol=1e-5)
    assert info.converged.all()
    # 5 to 7 on all grids.
    assert info.iterations.max() <= 9
