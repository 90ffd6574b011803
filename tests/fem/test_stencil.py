"""The solver's operator on a line against an assembled matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import assembled, quick_jit, random_coefficients, random_octant, solve

from mmdiff.fem import boundary, device, element, homogenize, phases, stencil
from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import Brick

SHAPE = (3, 2, 4)
UNEQUAL = (1.0, 0.7, 1.8)
NODES = tuple(n + 1 for n in SHAPE)
BRICK = Brick()
ALL = [
    *(Brick("modulus", nu) for nu in (0.0, 0.3, 0.45)),
    Brick("isotropic"),
    Brick("cubic"),
    *(Brick(kind, edges=UNEQUAL) for kind in bricks.KINDS),
]
# Some 100 products of order one are summed per node in float64.
EXACT = {"rtol": 0, "atol": 1e-13}
# Offsets of the blocks' entries yz, xz, xy.
PAIRS = ((1, 2), (0, 2), (0, 1))


def _name(value):
    if not isinstance(value, Brick):
        return None
    return f"{value.kind}-{value.nu}-{'cube' if len(set(value.edges)) == 1 else 'box'}"


all_bricks = pytest.mark.parametrize("brick", ALL, ids=_name)


def _apply(shape, brick=BRICK):
    """The jitted `coefficients, u (3, s) -> K u`, compiled anew."""
    return quick_jit(
        lambda coefficients, u: stencil.apply(
            stencil.flatten(coefficients), u, shape, brick
        )
    )


compiled = functools.lru_cache(_apply)


def _coefficients(shape=SHAPE, brick=BRICK, seed=0):
    return random_coefficients(brick, shape, seed)


def _field(shape=SHAPE, seed=0):
    size = np.prod([n + 1 for n in shape])
    return np.random.default_rng(seed).standard_normal((3, size))


def _primitives(run, shape):
    """The names of the operations that a jitted operator is made of at the top."""
    jaxpr = jax.make_jaxpr(run.__wrapped__)(_coefficients(shape), _field(shape))
    return {equation.primitive.name for equation in jaxpr.eqns}


def _check(run, shape, brick):
    coefficients, u = _coefficients(shape, brick), _field(shape)
    got = run(jnp.asarray(coefficients), jnp.asarray(u))
    want = (assembled(coefficients, brick) @ u.ravel()).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


def test_elements_stand_where_their_first_nodes_do():
    coefficients = _coefficients(brick=Brick("cubic")).astype(np.float32)
    lines = np.asarray(stencil.flatten(jnp.asarray(coefficients)))
    assert stencil.shifts(SHAPE) == (15, 5, 1) and stencil.margin(SHAPE) == 21
    np.testing.assert_array_equal(lines[:, :21], 0)
    grid = lines[:, 21:].reshape(3, *NODES)
    np.testing.assert_array_equal(grid[:, :-1, :-1, :-1], coefficients)
    # Nothing stands on the far faces: no link from one row to the next.
    assert np.count_nonzero(grid) == coefficients.size


@all_bricks
def test_operator_is_the_assembled_matrix(x64, brick):
    _check(compiled(SHAPE, brick), SHAPE, brick)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (4, 1, 1), (2, 2, 2)])
def test_boxes_of_few_elements(x64, shape):
    _check(_apply(shape), shape, BRICK)


# nx + 1 planes of nodes in chunks of 2 to 4: every remainder, and none.
@pytest.mark.parametrize(
    "nx, planes, brick",
    [
        (4, 2, ALL[-3]),
        (5, 2, ALL[-2]),
        (4, 3, ALL[-1]),
        (5, 3, ALL[-2]),
        (6, 3, ALL[-3]),
        (6, 4, ALL[-1]),
    ],
    ids=_name,
)
def test_chunks_of_every_remainder(x64, monkeypatch, nx, planes, brick):
    shape = (nx, 2, 3)
    # Not quite one more plane: chunks hold whole ones.
    monkeypatch.setattr(stencil, "CHUNK", (planes + 1) * 12 - 1)
    run = _apply(shape, brick)
    assert _primitives(_apply(shape), shape) & {"scan", "while"}
    _check(run, shape, brick)


def test_planes_may_be_larger_than_a_chunk(x64, monkeypatch):
    monkeypatch.setattr(stencil, "CHUNK", 1)
    _check(_apply(SHAPE), SHAPE, BRICK)


def test_chunks_as_they_are_in_float32():
    shape = (34, 33, 35)  # some more nodes than a chunk, some fewer elements
    assert np.prod(shape) < stencil.CHUNK < np.prod([n + 1 for n in shape])
    coefficients, u = _coefficients(shape), _field(shape)
    coefficients, u = (jnp.asarray(v, jnp.float32) for v in (coefficients, u))
    got = _apply(shape)(coefficients, u)
    grid = u.reshape(1, 3, *(n + 1 for n in shape))
    want = quick_jit(lambda e, u: stencil.plain_apply(e, u, BRICK))(coefficients, grid)
    # Two float32 sums of the same terms of order one, in another order.
    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=0, atol=5e-6)


def test_operator_is_the_same_on_the_accelerators_way(x64, monkeypatch):
    monkeypatch.setattr(device, "on_cpu", lambda: True)
    assert "cond" in _primitives(_apply(SHAPE), SHAPE)
    monkeypatch.setattr(device, "on_cpu", lambda: False)
    for chunk in (stencil.CHUNK, 1):
        monkeypatch.setattr(stencil, "CHUNK", chunk)
        run = _apply(SHAPE)
        assert "cond" not in _primitives(run, SHAPE)
        _check(run, SHAPE, BRICK)


@pytest.mark.parametrize("kind, n", [("cubic", 8), ("periodic", 8)])
def test_homogenization_is_the_same_on_the_accelerators_way(x64, monkeypatch, kind, n):
    # Loads and members side by side, in one loop.
    stiff = jnp.asarray(random_octant(n, 1, low=1e-3))
    want, want_info, _ = solve(stiff, kind)
    monkeypatch.setattr(device, "on_cpu", lambda: False)
    # A new function: what was compiled before knows nothing of the change.
    solver = homogenize.make_solver(n, kind)
    got, info = quick_jit(lambda e: solver(e, tol=1e-10, maxiter=200))(stiff)
    assert info.converged.all()
    np.testing.assert_array_equal(info.iterations, want_info.iterations)
    # The same steps with sums in another order.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
    np.testing.assert_allclose(info.fields, want_info.fields, rtol=0, atol=1e-10)


def test_not_a_number_stays_where_it_is(x64):
    for cell in ((0, 0, 0), (1, 1, 0), (2, 1, 3)):
        modulus = _coefficients()
        modulus[0][cell] = np.nan
        got = compiled(SHAPE)(jnp.asarray(modulus), jnp.asarray(_field()))
        broken = np.zeros((3, *NODES), bool)
        i, j, k = cell
        broken[:, i : i + 2, j : j + 2, k : k + 2] = True
        np.testing.assert_array_equal(np.isnan(got), broken.reshape(3, -1))


def test_vmap_over_loads_and_moduli_equals_a_loop(x64):
    modulus = jnp.asarray(np.stack([_coefficients(seed=s) for s in range(3)]))
    u = jnp.asarray(np.stack([_field(seed=s) for s in range(3)]))
    apply = compiled(SHAPE)

    def one(e, v):
        return stencil.apply(stencil.flatten(e), v, SHAPE, BRICK)

    loads = quick_jit(jax.vmap(one, (None, 0)))(modulus[0], u)
    both = quick_jit(jax.vmap(one))(modulus, u)
    for i in range(3):
        np.testing.assert_allclose(loads[i], apply(modulus[0], u[i]), **EXACT)
        np.testing.assert_allclose(both[i], apply(modulus[i], u[i]), **EXACT)


@pytest.mark.parametrize("chunk", [stencil.CHUNK, 1])
def test_operator_is_linear_in_the_field(x64, monkeypatch, chunk):
    monkeypatch.setattr(stencil, "CHUNK", chunk)
    modulus, u, v = map(jnp.asarray, (_coefficients(), _field(), _field(seed=1)))

    @quick_jit
    def run(modulus, u, v):
        def force(u):
            return stencil.apply(stencil.flatten(modulus), u, SHAPE, BRICK)

        return jax.jvp(force, (u,), (v,)), force(u + 2 * v)

    (at, slope), combined = run(modulus, u, v)
    np.testing.assert_allclose(slope, compiled(SHAPE)(modulus, v), **EXACT)
    np.testing.assert_allclose(combined, at + 2 * slope, rtol=0, atol=3e-13)


def _macro_gradient(strain):
    gradient = np.diag(strain[:3])
    for value, (i, j) in zip(strain[3:], element.VOIGT[3:], strict=True):
        gradient[i, j] = gradient[j, i] = value / 2
    return gradient


def _macro_force(coefficients, stress):
    return stencil.macro_force(stencil.flatten(coefficients), stress, SHAPE)


@pytest.mark.parametrize("brick", ALL[-3:], ids=_name)
def test_macro_force_is_the_force_of_an_affine_field(x64, brick):
    coefficients = _coefficients(brick=brick)
    x = np.indices(NODES) * np.array(brick.edges)[:, None, None, None]
    strains = np.random.default_rng(5).standard_normal((2, 6))
    fields = [np.einsum("ij,jxyz->ixyz", _macro_gradient(e), x) for e in strains]
    want = np.reshape(fields, (2, -1)) @ assembled(coefficients, brick)
    stress = jnp.asarray(bricks.macro_stress(brick, strains))
    run = quick_jit(jax.vmap(_macro_force, (None, 0)))
    got = run(jnp.asarray(coefficients), stress)
    np.testing.assert_allclose(got, want.reshape(got.shape), **EXACT)


def test_macro_force_is_linear_in_the_moduli(x64):
    # Derivatives of the displacement need the right-hand side of a change of moduli,
    # and its transpose.
    brick = Brick("isotropic", edges=UNEQUAL)
    stress = jnp.asarray(bricks.macro_stress(brick, np.eye(6)[:1])[0])
    e, change = (jnp.asarray(_coefficients(brick=brick, seed=s)) for s in (0, 1))
    f = jnp.asarray(_field(seed=2))

    @quick_jit
    def run(e, change):
        def force(e):
            return _macro_force(e, stress)

        (_, slope), (_, back) = jax.jvp(force, (e,), (change,)), jax.vjp(force, e)
        return force(e), force(change), force(e + 2 * change), slope, back(f)[0]

    at, other, combined, slope, adjoint = run(e, change)
    np.testing.assert_allclose(combined, at + 2 * other, **EXACT)
    np.testing.assert_allclose(slope, other, **EXACT)
    # The same products summed in another order.
    np.testing.assert_allclose(np.sum(f * other), np.sum(adjoint * change), atol=1e-12)


def test_macro_force_of_a_uniform_cell_is_on_its_faces(x64):
    stress = jnp.asarray(bricks.macro_stress(BRICK, np.eye(6)[3:4])[0])
    force = quick_jit(_macro_force)(jnp.ones((1, *SHAPE)), stress)
    inner = np.asarray(force).reshape(3, *NODES)[:, 1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0, **EXACT)


@all_bricks
def test_node_blocks_are_those_of_the_assembled_matrix(x64, brick):
    coefficients = _coefficients(brick=brick)
    lines = stencil.flatten(jnp.asarray(coefficients))
    run = quick_jit(lambda lines: stencil.node_blocks(lines, SHAPE, brick))
    diagonal, coupling = run(lines)
    size = np.prod(NODES)
    # One diagonal where all edges are equal.
    assert diagonal.shape == (3 if brick.edges == UNEQUAL else 1, size)
    assert coupling.shape == (3, size)
    matrix = assembled(coefficients, brick).toarray().reshape(3, size, 3, size)
    blocks = np.einsum("isjs->ijs", matrix)
    for c, got in enumerate(np.broadcast_to(diagonal, (3, size))):
        np.testing.assert_allclose(blocks[c, c], got, **EXACT)
    for (i, j), got in zip(PAIRS, coupling, strict=True):
        np.testing.assert_allclose(got, blocks[i, j], **EXACT)


@pytest.mark.parametrize("brick", ALL[-3:], ids=_name)
def test_float32_stays_float32_in_x64_mode(x64, monkeypatch, brick):
    # NumPy scalars in the set-up would widen it, at twice the memory and time.
    coefficients = jnp.asarray(_coefficients(brick=brick), jnp.float32)
    u = jnp.asarray(_field(), jnp.float32)
    stress = bricks.macro_stress(brick, np.eye(6)[:1])[0]
    stress = jnp.asarray(stress, jnp.float32)

    def everything(coefficients, u):
        lines = stencil.flatten(coefficients)
        return (
            stencil.apply(lines, u, SHAPE, brick),
            stencil.macro_force(lines, stress, SHAPE),
            *stencil.node_blocks(lines, SHAPE, brick),
        )

    for chunk in (stencil.CHUNK, 1):
        monkeypatch.setattr(stencil, "CHUNK", chunk)
        for result in jax.eval_shape(lambda e, u: everything(e, u), coefficients, u):
            assert result.dtype == jnp.float32


def test_images_are_folded_into_a_periodic_operator(x64):
    # Elements at the end of a periodic cell share their far nodes with the first ones.
    u = quick_jit(lambda u: boundary.copy_images(u, SHAPE))(_field())
    force = compiled(SHAPE)(jnp.asarray(_coefficients()), u)
    force = quick_jit(lambda f: boundary.fold_images(f, SHAPE))(force)
    matrix = assembled(_coefficients(), BRICK).toarray().reshape(3, *NODES, 3, *NODES)
    for axis in (1, 2, 3, 5, 6, 7):
        matrix = np.moveaxis(matrix, axis, 0)
        matrix = np.concatenate([matrix[:1] + matrix[-1:], matrix[1:-1]])
        matrix = np.moveaxis(matrix, 0, axis)
    grid = np.asarray(u).reshape(3, *NODES)[:, :-1, :-1, :-1]
    want = (matrix.reshape(grid.size, -1) @ grid.ravel()).reshape(grid.shape)
    want = np.pad(want, [(0, 0)] + 3 * [(0, 1)])  # no force is left on the images
    np.testing.assert_allclose(force, want.reshape(force.shape), **EXACT)


def test_the_first_coefficient_may_be_negative(x64):
    """As lambda is of auxetic materials, and C12 of cubic ones."""
    shape, brick = (2, 3, 2), Brick("isotropic")
    young, poisson = np.full(shape, 1.0), np.full(shape, -0.8)
    coefficients = np.stack(phases.lame(young, poisson))
    assert coefficients[0].max() < -1
    u = _field(shape)
    grid = u.reshape(1, 3, 3, 4, 3)
    want = quick_jit(lambda e, u: stencil.plain_apply(e, u, brick))(coefficients, grid)
    got = compiled(shape, brick)(coefficients, u)
    np.testing.assert_allclose(got, np.reshape(want, (3, -1)), **EXACT)
    assert abs(got).max() > 0.1
