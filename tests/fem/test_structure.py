"""Boxes of cubic elements against closed forms and sparse direct solutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg as spla
from fem_helpers import assembled, quick_jit, random_coefficients

from mmdiff.errors import InputError
from mmdiff.fem import element, multigrid, stencil, structure

SHAPE = (6, 5, 4)
SMALL = (3, 2, 2)
NODES = tuple(n + 1 for n in SHAPE)


def random_constants(shape, seed=0, decades=1.0):
    """Positive definite tensors of all kinds (*shape, 3)."""
    return np.moveaxis(
        random_coefficients(structure.BRICK, shape, seed, decades), 0, -1
    )


def random_mask(shape, seed=3):
    """A face held, and a tenth of all dofs beside."""
    mask = np.random.default_rng(seed).random((3, *(n + 1 for n in shape))) < 0.1
    mask[:, 0] = True
    return mask


def sparse_matrix(constants):
    """Assemble K, independent of the tested code."""
    return assembled(np.moveaxis(constants, -1, 0), structure.BRICK).tocsc()


def direct(constants, fixed, values, forces):
    """Solve for the free dofs by a sparse factorization."""
    matrix, held = sparse_matrix(constants), fixed.ravel()
    out = []
    for value, force in zip(values, forces, strict=True):
        u = np.where(held, value.ravel(), 0)
        rest = (force.ravel() - matrix @ u)[~held]
        u[~held] = spla.spsolve(matrix[~held][:, ~held], rest)
        out.append(u.reshape(value.shape))
    return np.stack(out)


@functools.lru_cache
def solver(shape, mask=structure.faces, coarsest=30):
    """Return a compiled solver; `coarsest` is low, so that there are coarse grids."""
    fixed = mask(shape)
    run = structure.make_displacement(shape, fixed, coarsest=coarsest)

    def with_limits(constants, values, forces, tol, maxiter, floor):
        limits = {"tol": tol, "maxiter": maxiter, "floor": floor}
        return run(constants, values, forces, **limits)

    return quick_jit(with_limits)


def solve(
    constants, values, forces=None, *, tol=1e-11, maxiter=300, floor=0.0, **which
):
    dtype = constants.dtype
    forces = np.zeros_like(values) if forces is None else forces
    arrays = [jnp.asarray(a, dtype) for a in (constants, values, forces)]
    floats = [jnp.asarray(a, dtype) for a in (tol, floor)]
    u, info = solver(constants.shape[:3], **which)(
        *arrays, floats[0], maxiter, floats[1]
    )
    return np.asarray(u), info


# The operator and the preconditioner


@pytest.fixture(scope="module")
def body():
    constants = random_constants(SHAPE)
    constants[2, 1] = 0
    return constants


def test_operators_are_the_assembled_matrix(x64, body):
    u = np.random.default_rng(1).standard_normal((3, *NODES))
    want = (sparse_matrix(body) @ u.ravel()).reshape(u.shape)
    coefficients = jnp.asarray(np.moveaxis(body, -1, 0))
    fast = quick_jit(lambda c, u: stencil.apply(c, u, SHAPE, structure.BRICK))
    got = fast(stencil.flatten(coefficients), jnp.asarray(u.reshape(3, -1)))
    # Some 200 products of order one per node in float64.
    np.testing.assert_allclose(got.reshape(u.shape), want, atol=1e-13)
    plain = quick_jit(lambda c, u: stencil.plain_apply(c, u, structure.BRICK))
    got = plain(coefficients, jnp.asarray(u[None]))
    np.testing.assert_allclose(got[0], want, atol=1e-13)


def test_corners_of_elements_are_those_of_the_nodes():
    u = np.random.default_rng(0).random((3, *NODES))
    values = structure.corners(u)
    for (x, y, z), value in zip(element.CORNERS, values, strict=True):
        assert value.shape == (3, *SHAPE)
        np.testing.assert_array_equal(value[:, 2, 0, 3], u[:, 2 + x, y, 3 + z])


def test_cycle_is_symmetric_positive_definite(x64):
    shape = (4, 5, 3)
    fixed, constants = random_mask(shape), random_constants(shape, decades=4)
    constants[1:3, 2] *= 1e-6
    levels = multigrid.grids(shape, structure.BRICK, coarsest=30)
    masks = [fixed]
    for grid in levels[1:]:
        masks.append(multigrid.coarse_fixed(masks[-1], grid.shape))
    masks = [jnp.asarray(~mask.reshape(3, -1), jnp.float64) for mask in masks]
    setup, cycle = multigrid.make_multigrid(levels, most_free=int(masks[-1].sum()))
    free = np.flatnonzero(~fixed.ravel())

    @quick_jit
    def run(coefficients):
        unit = jnp.eye(fixed.size)[free].reshape(len(free), 3, -1)
        return jax.vmap(functools.partial(cycle, setup(coefficients, masks)))(unit)

    columns = run(jnp.asarray(np.moveaxis(constants, -1, 0)))
    columns = np.asarray(columns).reshape(len(free), -1)
    np.testing.assert_array_equal(columns[:, fixed.ravel()], 0)
    inverse = columns[:, free]
    # Contrasts of 1e10 lie between the entries; the scaled matrix is of order one.
    scale = np.sqrt(np.diag(inverse))
    inverse = inverse / scale / scale[:, None]
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-7)
    assert np.linalg.eigvalsh((inverse + inverse.T) / 2)[0] > 0


# Solutions


def test_a_uniform_body_deforms_affinely(x64):
    constants = np.broadcast_to([1.3, 0.4, 0.2], (*SHAPE, 3))
    values = structure.affine(SHAPE)[[1, 5]]
    inside = ~structure.faces(SHAPE)[None]
    u, info = solve(constants, np.where(inside, 0, values), floor=1e-3)
    assert info.converged.all() and (info.iterations > 0).all()
    # The residual of 1e-11 times a condition number of some ten.
    np.testing.assert_allclose(u, values, atol=1e-9)
    _, info = solve(constants, values)
    assert (info.iterations == 0).all()  # started at the solution


def test_affine_fields_have_their_strains():
    fields = structure.affine(SHAPE, [[1, 2, 3, 4, 5, 6]])
    gradient = np.stack([np.gradient(fields[0], axis=1 + j) for j in range(3)])
    np.testing.assert_allclose(gradient[0, 0], 1)
    np.testing.assert_allclose(gradient[1, 2] + gradient[2, 1], 4)
    np.testing.assert_allclose(gradient[0, 2] + gradient[2, 0], 5)
    np.testing.assert_allclose(gradient[0, 1] + gradient[1, 0], 6)
    np.testing.assert_allclose(fields.mean((2, 3, 4)), 0, atol=1e-13)


def test_a_laminate_strains_its_layers_in_series(x64):
    # Layers along z under e33 alone, then under g23 alone: the stress s33, s23 is that
    # of the harmonic mean of C11, of C44.
    layers = random_constants((SHAPE[2],), seed=4)
    want = np.zeros((2, 3, *NODES))
    for load, (axis, k) in enumerate([(2, 0), (1, 2)]):
        strain = 1 / np.mean(1 / layers[:, k]) / layers[:, k]
        want[load, axis] = np.concatenate([[0], np.cumsum(strain)])
    values = np.where(structure.faces(SHAPE)[None], want, 0)
    u, info = solve(np.broadcast_to(layers, (*SHAPE, 3)), values)
    assert info.converged.all()
    np.testing.assert_allclose(u, want, atol=1e-9)


@pytest.mark.parametrize("mask", [structure.faces, random_mask])
def test_solution_is_the_direct_one(x64, body, mask):
    fixed = mask(SHAPE)
    rng = np.random.default_rng(5)
    values = structure.affine(SHAPE)[[0, 3]] + rng.standard_normal((2, 3, *NODES))
    forces = rng.standard_normal(values.shape)
    u, info = solve(body, values, forces, mask=mask, floor=1e-2)
    assert info.converged.all() and info.residual.max() < 1e-10
    stiffened = body + 1e-2 * np.array([1, 0, 0.5])
    want = direct(stiffened, fixed, values, forces)
    np.testing.assert_allclose(u, want, atol=1e-8 * abs(want).max())


def test_void_without_floor_does_not_spoil_the_rest(x64):
    constants = random_constants(SHAPE)
    constants[1:4, 1:4, 1:3] = 0
    u, info = solve(constants, structure.affine(SHAPE)[:2])
    assert info.converged.all()
    void, _ = solve(constants, structure.affine(SHAPE)[:2], floor=1e-8)
    # Nodes amid void stay where they started; all others agree up to the floor.
    amid = np.zeros((1, 3, *NODES), bool)
    amid[..., 2:4, 2:4, 2:3] = True
    np.testing.assert_allclose(np.where(amid, 0, u), np.where(amid, 0, void), atol=1e-6)


def test_float32_is_the_default_and_meets_its_tolerance():
    constants = random_constants(SHAPE).astype(np.float32)
    constants[1:4, 1:4, 1:3] = 0
    values = structure.affine(SHAPE)
    u, info = solve(constants, values, tol=1e-5, floor=1e-6)
    assert u.dtype == np.float32 and info.residual.dtype == np.float32
    assert info.converged.all() and info.iterations.max() < 30
    assert info.iterations.shape == (6,)


def test_no_load_gives_no_displacement(x64, body):
    u, info = solve(body, np.zeros((2, 3, *NODES)), floor=1e-6)
    assert info.converged.all() and not u.any()


def test_lack_of_convergence_is_reported_for_each_load(x64, body):
    values = structure.affine(SHAPE)[:2]
    values[0] = 0
    _, info = solve(body, values, maxiter=2, floor=1e-6)
    assert info.converged.tolist() == [True, False]
    assert info.iterations.tolist() == [0, 2] and info.residual[1] > 1e-11


def test_not_a_number_is_not_converged(x64):
    constants = random_constants(SHAPE)
    constants[0, 0, 0, 0] = np.nan
    _, info = solve(constants, structure.affine(SHAPE)[:2])
    assert not info.converged.any()


# Derivatives


@pytest.fixture(scope="module")
def functional():
    """A function of the displacement that is not quadratic, and its derivatives."""
    run = structure.make_displacement(SMALL, random_mask(SMALL), coarsest=20)
    weights = np.random.default_rng(7).standard_normal((2, 3, *(n + 1 for n in SMALL)))

    def value(constants, values, forces):
        u, _ = run(constants, values, forces, tol=1e-13, floor=0.0)
        return (jnp.asarray(weights) * jnp.sin(u)).sum()

    def derivatives(arguments, ways):
        value_, gradient = jax.value_and_grad(value, (0, 1, 2))(*arguments)
        _, along = jax.jvp(value, arguments, ways)
        return value_, gradient, along

    return value, quick_jit(derivatives)


def _example():
    rng = np.random.default_rng(8)
    values, forces = rng.standard_normal((2, 2, 3, *(n + 1 for n in SMALL))) / 4
    arguments = tuple(map(jnp.asarray, (random_constants(SMALL), values, forces)))
    return arguments, tuple(a[::-1] for a in arguments)


@pytest.mark.slow
def test_derivatives_are_the_quotients_of_differences(x64, functional):
    (arguments, ways), (_, run) = _example(), functional
    _, gradient, along = run(arguments, ways)
    reverse = sum((g * w).sum() for g, w in zip(gradient, ways, strict=True))
    np.testing.assert_allclose(along, reverse, rtol=1e-10)
    rng = np.random.default_rng(9)
    for i, slope in enumerate(gradient):
        way = jnp.asarray(rng.standard_normal(slope.shape))
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(arguments)
            moved[i] = moved[i] + step * way
            ends.append(run(tuple(moved), ways)[0])
        want = (ends[0] - ends[1]) / 2e-5
        # Central differences of a step of 1e-5: 1e-10 of error and 1e-10 of rounding.
        np.testing.assert_allclose((slope * way).sum(), want, rtol=1e-7, atol=1e-8)
    fixed = random_mask(SMALL)[None]
    assert not np.any(np.where(fixed, 0, gradient[1]))
    assert not np.any(np.where(fixed, gradient[2], 0))


@pytest.mark.slow
def test_second_derivative_is_the_quotient_of_differences(x64, functional):
    (arguments, ways), (value, run) = _example(), functional
    (constants, values, forces), way = arguments, ways[0]

    def slope(c):
        return jax.grad(value)(c, values, forces)

    _, got = quick_jit(lambda c, w: jax.jvp(slope, (c,), (w,)))(constants, way)
    ends = [
        run((constants + step * way, values, forces), ways)[1][0]
        for step in (1e-5, -1e-5)
    ]
    want = (ends[0] - ends[1]) / 2e-5
    # Differences as above.
    np.testing.assert_allclose(got, want, atol=1e-7 * abs(want).max())


@pytest.mark.slow
def test_vmap_equals_a_loop(x64, functional):
    (arguments, ways), (value, run) = _example(), functional
    one, values, forces = arguments
    many = jnp.stack([one, 2 * one, one**2])
    batched = quick_jit(jax.vmap(jax.value_and_grad(value), (0, None, None)))
    got = batched(many, values, forces)
    want = [run((constants, values, forces), ways) for constants in many]
    np.testing.assert_allclose(got[0], [w[0] for w in want], rtol=1e-10)
    np.testing.assert_allclose(got[1], np.stack([w[1][0] for w in want]), atol=1e-10)


# Input


def test_wrong_shapes_are_refused():
    run = structure.make_displacement(SMALL)
    constants, values = jnp.ones((*SMALL, 3)), jnp.zeros((1, 3, 4, 3, 3))
    with pytest.raises(InputError, match=r"constants is \(3, 3, 2, 2\).*Give"):
        run(jnp.ones((3, *SMALL)), values)
    with pytest.raises(InputError, match=r"displacements is \(3, 4, 3, 3\).*Give"):
        run(constants, values[0])
    with pytest.raises(InputError, match=r"forces is \(2, 3, 4, 3, 3\).*Give"):
        run(constants, values, jnp.zeros((2, 3, 4, 3, 3)))
    with pytest.raises(InputError, match=r"fixed dofs is \(4, 3, 3\).*Give"):
        structure.make_displacement(SMALL, np.ones((4, 3, 3), bool))
    with pytest.raises(InputError, match=r"none of the dofs is fixed\. Fix"):
        structure.make_displacement(SMALL, np.zeros((3, 4, 3, 3), bool))
    with pytest.raises(InputError, match=r"\(6,\).*Give"):
        structure.affine(SMALL, np.ones(6))
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("shape", [(4, 4), (4, 0, 4), (4, 4.5, 4)])
def test_what_is_no_box_is_refused(shape):
    with pytest.raises(InputError, match="is not the shape of a box.*Give"):
        structure.make_displacement(shape)


# Distortion


def test_distortion_counts_the_masked_nodes_alone(x64):
    reference = jnp.asarray(structure.affine(SMALL)[0])
    mask = np.zeros(reference.shape[1:], bool)
    mask[:2] = True
    changed = jnp.where(mask[None], 1.1 * reference, reference + 5.0)
    got = structure.distortion(changed, reference, mask)
    np.testing.assert_allclose(got, 0.1, rtol=1e-12)
    everywhere = structure.distortion(changed, reference, np.ones_like(mask))
    want = np.linalg.norm(changed - reference) / np.linalg.norm(reference)
    np.testing.assert_allclose(everywhere, want, rtol=1e-12)


def test_distortion_has_a_derivative_where_the_fields_agree():
    reference = jnp.asarray(structure.affine(SMALL)[0], jnp.float32)
    mask = np.ones(reference.shape[1:], bool)
    value, slope = jax.value_and_grad(structure.distortion)(reference, reference, mask)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)
