"""The solver's operator on a line against an assembled matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit, random_octant, solve, stiffness_matrix

from mmdiff.fem import boundary, device, element, flat, homogenize, operator

N, NU = 3, 0.3
SIZE = (N + 1) ** 3
# Some 100 products of order one are summed per node in float64.
EXACT = {"rtol": 0, "atol": 1e-13}
# Offsets of the blocks' entries yz, xz, xy.
PAIRS = ((1, 2), (0, 2), (0, 1))


def _apply(n, nu=NU):
    """The jitted `moduli (n, n, n), u (3, s) -> K u`, compiled anew."""
    return quick_jit(lambda modulus, u: flat.apply(flat.flatten(modulus), u, n, nu))


apply = _apply(N)


def _moduli(n=N, seed=0):
    return 1e-6 + np.random.default_rng(seed).random((n, n, n))


def _field(n=N, seed=0):
    return np.random.default_rng(seed).standard_normal((3, (n + 1) ** 3))


def _primitives(run, n):
    """The names of the operations that a jitted operator is made of at the top."""
    jaxpr = jax.make_jaxpr(run.__wrapped__)(_moduli(n), _field(n))
    return {equation.primitive.name for equation in jaxpr.eqns}


@functools.lru_cache
def _matrix(n=N, nu=NU):
    return stiffness_matrix(_moduli(n), nu)


def test_elements_stand_where_their_first_nodes_do():
    line = np.asarray(flat.flatten(jnp.asarray(_moduli(), jnp.float32)))
    assert flat.shifts(N) == (16, 4, 1) and flat.margin(N) == 21
    np.testing.assert_array_equal(line[:21], 0)
    grid = line[21:].reshape(N + 1, N + 1, N + 1)
    np.testing.assert_array_equal(grid[:N, :N, :N], _moduli().astype(np.float32))
    # Nothing stands on the far faces: no link from one row to the next.
    assert np.count_nonzero(grid) == N**3


@pytest.mark.parametrize("nu", [0.0, NU, 0.45])
def test_operator_is_the_assembled_matrix(x64, nu):
    u = _field()
    got = _apply(N, nu)(jnp.asarray(_moduli()), jnp.asarray(u))
    want = (_matrix(nu=nu) @ u.ravel()).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


# n + 1 planes of nodes in chunks of 2 to 4: every remainder, and none.
@pytest.mark.parametrize("n, planes", [(4, 2), (5, 2), (4, 3), (5, 3), (6, 3), (6, 4)])
def test_chunks_of_every_remainder(x64, monkeypatch, n, planes):
    plane = (n + 1) ** 2
    # Not quite one more plane: chunks hold whole ones.
    monkeypatch.setattr(flat, "CHUNK", (planes + 1) * plane - 1)
    u = _field(n)
    run = _apply(n)
    assert _primitives(run, n) & {"scan", "while"}
    got = run(jnp.asarray(_moduli(n)), jnp.asarray(u))
    want = (_matrix(n) @ u.ravel()).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


def test_planes_may_be_larger_than_a_chunk(x64, monkeypatch):
    monkeypatch.setattr(flat, "CHUNK", 1)
    u = _field()
    got = _apply(N)(jnp.asarray(_moduli()), jnp.asarray(u))
    want = (_matrix() @ u.ravel()).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


def test_chunks_as_they_are_in_float32():
    n = 34  # 42,875 nodes: the smallest grid that is done in chunks
    assert n**3 < flat.CHUNK < (n + 1) ** 3
    modulus, u = jnp.asarray(_moduli(n), jnp.float32), jnp.asarray(_field(n))
    u = u.astype(jnp.float32)
    got = _apply(n)(modulus, u)
    grid = u.reshape(1, 3, n + 1, n + 1, n + 1)
    want = quick_jit(lambda e, u: operator.apply(e, u, NU))(modulus, grid)
    # Two float32 sums of the same terms of order one, in another order.
    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=0, atol=5e-6)


def test_operator_is_the_same_on_the_accelerators_way(x64, monkeypatch):
    monkeypatch.setattr(device, "on_cpu", lambda: True)
    assert "cond" in _primitives(apply, N)
    monkeypatch.setattr(device, "on_cpu", lambda: False)
    for chunk in (flat.CHUNK, 1):
        monkeypatch.setattr(flat, "CHUNK", chunk)
        run, u = _apply(N), _field()
        assert "cond" not in _primitives(run, N)
        got = run(jnp.asarray(_moduli()), jnp.asarray(u))
        want = (_matrix() @ u.ravel()).reshape(u.shape)
        np.testing.assert_allclose(got, want, **EXACT)


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
    for cell in ((0, 0, 0), (1, 2, 0), (2, 2, 2)):
        modulus = _moduli()
        modulus[cell] = np.nan
        got = np.asarray(apply(jnp.asarray(modulus), jnp.asarray(_field())))
        broken = np.zeros((3, N + 1, N + 1, N + 1), bool)
        i, j, k = cell
        broken[:, i : i + 2, j : j + 2, k : k + 2] = True
        np.testing.assert_array_equal(np.isnan(got), broken.reshape(3, -1))


def test_vmap_over_loads_and_moduli_equals_a_loop(x64):
    modulus = jnp.asarray(np.stack([_moduli(seed=s) for s in range(3)]))
    u = jnp.asarray(np.stack([_field(seed=s) for s in range(3)]))

    def one(e, v):
        return flat.apply(flat.flatten(e), v, N, NU)

    loads = quick_jit(jax.vmap(one, (None, 0)))(modulus[0], u)
    both = quick_jit(jax.vmap(one))(modulus, u)
    for i in range(3):
        np.testing.assert_allclose(loads[i], apply(modulus[0], u[i]), **EXACT)
        np.testing.assert_allclose(both[i], apply(modulus[i], u[i]), **EXACT)


@pytest.mark.parametrize("chunk", [flat.CHUNK, 1])
def test_operator_is_linear_in_the_field(x64, monkeypatch, chunk):
    monkeypatch.setattr(flat, "CHUNK", chunk)
    modulus, u, v = map(jnp.asarray, (_moduli(), _field(), _field(seed=1)))

    @quick_jit
    def run(modulus, u, v):
        def force(u):
            return flat.apply(flat.flatten(modulus), u, N, NU)

        return jax.jvp(force, (u,), (v,)), force(u + 2 * v)

    (at, slope), combined = run(modulus, u, v)
    np.testing.assert_allclose(slope, apply(modulus, v), **EXACT)
    np.testing.assert_allclose(combined, at + 2 * slope, rtol=0, atol=3e-13)


def _macro_gradient(strain):
    gradient = np.diag(strain[:3])
    for value, (i, j) in zip(strain[3:], element.VOIGT[3:], strict=True):
        gradient[i, j] = gradient[j, i] = value / 2
    return gradient


def _macro_force(modulus, stress):
    return flat.macro_force(flat.flatten(modulus), stress, N)


def test_macro_force_is_the_force_of_an_affine_field(x64):
    modulus = jnp.asarray(_moduli())
    x = np.stack(np.indices((N + 1, N + 1, N + 1))).astype(float)
    strains = np.random.default_rng(5).standard_normal((2, 6))
    fields = [np.einsum("ij,jxyz->ixyz", _macro_gradient(e), x) for e in strains]
    plain = quick_jit(lambda e, u: operator.apply(e, u, NU))
    want = plain(modulus, jnp.asarray(np.array(fields)))
    stress = jnp.asarray(element.macro_stress(strains, NU))
    got = quick_jit(jax.vmap(_macro_force, (None, 0)))(modulus, stress)
    np.testing.assert_allclose(got, np.reshape(want, got.shape), **EXACT)


def test_macro_force_is_linear_in_the_moduli(x64):
    # Derivatives of the displacement need the right-hand side of a change of moduli,
    # and its transpose.
    stress = jnp.asarray(element.macro_stress(np.eye(6)[:1], NU)[0])
    e, change = jnp.asarray(_moduli()), jnp.asarray(_moduli(seed=1) - 0.5)
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
    stress = jnp.asarray(element.macro_stress(np.eye(6)[3:4], NU)[0])
    force = quick_jit(_macro_force)(jnp.ones((N, N, N)), stress)
    inner = np.asarray(force).reshape(3, N + 1, N + 1, N + 1)[:, 1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0, **EXACT)


@pytest.mark.parametrize("nu", [0.0, NU, 0.45])
def test_node_blocks_are_those_of_the_assembled_matrix(x64, nu):
    line = flat.flatten(jnp.asarray(_moduli()))
    diagonal, coupling = quick_jit(lambda line: flat.node_blocks(line, N, nu))(line)
    assert diagonal.shape == (SIZE,) and coupling.shape == (3, SIZE)
    matrix = _matrix(nu=nu).reshape(3, SIZE, 3, SIZE)
    blocks = np.einsum("isjs->ijs", matrix)
    for c in range(3):
        np.testing.assert_allclose(blocks[c, c], diagonal, **EXACT)
    for (i, j), got in zip(PAIRS, coupling, strict=True):
        np.testing.assert_allclose(got, blocks[i, j], **EXACT)


def test_float32_stays_float32_in_x64_mode(x64, monkeypatch):
    # NumPy scalars in the set-up would widen it, at twice the memory and time.
    modulus, u = (jnp.asarray(v, jnp.float32) for v in (_moduli(), _field()))
    stress = jnp.asarray(element.macro_stress(np.eye(6)[:1], NU)[0], jnp.float32)

    def everything(modulus, u):
        line = flat.flatten(modulus)
        return (
            *(flat.apply(line, u, N, NU), flat.macro_force(line, stress, N)),
            *flat.node_blocks(line, N, NU),
        )

    for chunk in (flat.CHUNK, 1):
        monkeypatch.setattr(flat, "CHUNK", chunk)
        for result in jax.eval_shape(lambda e, u: everything(e, u), modulus, u):
            assert result.dtype == jnp.float32


def test_images_are_folded_into_a_periodic_operator(x64):
    # Elements at the end of a periodic cell share their far nodes with the first ones.
    u = quick_jit(lambda u: boundary.copy_images(u, N))(_field())
    force = quick_jit(lambda f: boundary.fold_images(f, N))(apply(_moduli(), u))
    matrix = _matrix().reshape(3, *3 * (N + 1,), 3, *3 * (N + 1,))
    for axis in (1, 2, 3, 5, 6, 7):
        matrix = np.moveaxis(matrix, axis, 0)
        matrix = np.concatenate([matrix[:1] + matrix[-1:], matrix[1:-1]])
        matrix = np.moveaxis(matrix, 0, axis)
    grid = np.asarray(u).reshape(3, *3 * (N + 1,))[:, :N, :N, :N]
    want = (matrix.reshape(3 * N**3, -1) @ grid.ravel()).reshape(grid.shape)
    want = np.pad(want, [(0, 0)] + 3 * [(0, 1)])  # no force is left on the images
    np.testing.assert_allclose(force, want.reshape(force.shape), **EXACT)
