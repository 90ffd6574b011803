"""The matrix-free operator against an assembled matrix."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import QUICK

from mmdiff.fem import element, operator

N, NU = 3, 0.3
SIZE = 3 * (N + 1) ** 3
# Some 100 products of order one are summed per node in float64.
EXACT = {"rtol": 0, "atol": 1e-13}


def _jit(function):
    return jax.jit(function, compiler_options=QUICK)


# Always six fields, so that each form is compiled once.
FORMS = {
    "rows": _jit(lambda modulus, u: operator.apply_rows(modulus, u, NU)),
    "dense": _jit(lambda modulus, u: operator.apply_dense(modulus, u, NU)),
}
both = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


@pytest.fixture(scope="module")
def modulus():
    return 1e-6 + np.random.default_rng(0).random((N, N, N))


@pytest.fixture(scope="module")
def matrix(modulus):
    """Stiffness (192, 192) of a 3^3 grid, dofs ordered component, x, y, z."""
    out = np.zeros((SIZE, SIZE))
    for cell in itertools.product(range(N), repeat=3):
        nodes = [
            np.ravel_multi_index(np.array(cell) + corner, 3 * (N + 1,))
            for corner in element.CORNERS
        ]
        dofs = np.concatenate([(N + 1) ** 3 * c + np.array(nodes) for c in range(3)])
        out[np.ix_(dofs, dofs)] += modulus[cell] * element.stiffness(NU)
    return out


def _fields(count=6, n=N, seed=0):
    shape = (count, 3, n + 1, n + 1, n + 1)
    return np.random.default_rng(seed).standard_normal(shape)


@both
def test_operator_is_the_assembled_matrix(x64, form, matrix, modulus):
    u = _fields()
    got = form(jnp.asarray(modulus), jnp.asarray(u))
    want = (u.reshape(6, -1) @ matrix).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


@both
def test_operator_is_symmetric_and_positive(x64, form, modulus):
    u = _fields()
    f = np.asarray(form(jnp.asarray(modulus), jnp.asarray(u)))
    energy = np.einsum("icxyz,jcxyz->ij", f, u)
    # 192 products of order one per entry, summed in another order.
    np.testing.assert_allclose(energy, energy.T, atol=1e-12)
    assert np.linalg.eigvalsh(energy)[0] > 0


@both
def test_rigid_motions_carry_no_force(x64, form, modulus):
    x = np.stack(np.indices((N + 1, N + 1, N + 1))).astype(float)
    zero, one = np.zeros_like(x[0]), np.ones_like(x[0])
    motions = [
        [one, zero, zero],
        [zero, one, zero],
        [zero, zero, one],
        [zero, -x[2], x[1]],
        [x[2], zero, -x[0]],
        [-x[1], x[0], zero],
    ]
    force = form(jnp.asarray(modulus), jnp.asarray(np.array(motions)))
    np.testing.assert_allclose(force, 0, **EXACT)


@both
def test_vmap_equals_a_loop(x64, form):
    modulus = jnp.asarray(np.random.default_rng(1).random((3, N, N, N)))
    u = jnp.asarray(np.stack([_fields(seed=s) for s in range(3)]))
    got = _jit(jax.vmap(form.__wrapped__))(modulus, u)
    want = [form(e, v) for e, v in zip(modulus, u, strict=True)]
    np.testing.assert_allclose(got, np.stack(want), **EXACT)


def test_modes_and_scatter_are_transposes(x64):
    rng = np.random.default_rng(2)
    u = jnp.asarray(rng.standard_normal((4, 5, 6)))
    f = [jnp.asarray(rng.standard_normal((3, 4, 5))) for _ in range(8)]
    modes, force = _jit(lambda u, f: (operator.modes(u), operator.scatter(f)))(u, f)
    left = sum(np.sum(a * b) for a, b in zip(modes, f, strict=True))
    # The same 480 products summed in another order.
    np.testing.assert_allclose(left, np.sum(u * force), rtol=1e-12)


def test_modes_are_the_hadamard_transform_of_the_corners(x64):
    u = np.random.default_rng(3).standard_normal((2, 2, 2))
    got = np.array([float(m[0, 0, 0]) for m in _jit(operator.modes)(u)])
    np.testing.assert_allclose(got, element.hadamard() @ u.ravel(), **EXACT)


def test_slabs_give_the_same_as_the_whole_grid():
    n = operator.SLAB_FROM
    modulus = jnp.asarray(np.random.default_rng(4).random((n, n, n)), jnp.float32)
    u = jnp.asarray(_fields(1, n), jnp.float32)

    def whole(modulus, u):
        return operator._apply_rows(modulus, u, element.mode_stiffness(NU))

    def slabs(modulus, u):
        return operator.apply_rows(modulus, u, NU)

    got, want = (_jit(f)(modulus, u) for f in (slabs, whole))
    # Two float32 sums of the same terms of order one, in another order.
    np.testing.assert_allclose(got, want, atol=5e-6)


def test_macro_force_is_the_force_of_an_affine_field(x64, modulus):
    strain = np.random.default_rng(5).standard_normal((2, 6))
    x = np.stack(np.indices((N + 1, N + 1, N + 1))).astype(float)
    fields = np.zeros_like(_fields())
    for load, e in enumerate(strain):
        gradient = np.diag(e[:3])
        for value, (i, j) in zip(e[3:], element.VOIGT[3:], strict=True):
            gradient[i, j] = gradient[j, i] = value / 2
        fields[load] = np.einsum("ij,jxyz->ixyz", gradient, x)
    modulus = jnp.asarray(modulus)
    got = _jit(lambda modulus: operator.macro_force(modulus, strain, NU))(modulus)
    want = FORMS["rows"](modulus, jnp.asarray(fields))
    np.testing.assert_allclose(got, want[:2], **EXACT)


def test_float32_stays_float32_in_x64_mode(x64, modulus):
    # NumPy scalars in the set-up would widen it, at twice the memory and time.
    modulus, u = jnp.asarray(modulus, jnp.float32), jnp.asarray(_fields(), jnp.float32)
    for form in FORMS.values():
        assert jax.eval_shape(form, modulus, u).dtype == jnp.float32
    force = jax.eval_shape(lambda e: operator.macro_force(e, np.eye(6), NU), modulus)
    assert force.dtype == jnp.float32


def test_node_sum_gives_the_diagonal(x64, matrix, modulus):
    diagonal = _jit(operator.node_sum)(modulus) * element.diagonal(NU)
    want = np.diag(matrix).reshape(3, *diagonal.shape)
    np.testing.assert_allclose(np.stack([diagonal] * 3), want, **EXACT)


def test_element_energies_add_up_to_the_energy(x64, matrix, modulus):
    x, y = _fields(2)

    @_jit
    def energies(x, y):
        modes = [
            [mode for c in range(3) for mode in operator.modes(field[c])]
            for field in (x, y)
        ]
        return operator.element_energy(*modes, NU)

    energy = energies(x, y)
    assert energy.shape == (N, N, N)
    want = x.ravel() @ matrix @ y.ravel()
    # 192^2 products of order one.
    np.testing.assert_allclose(np.sum(modulus * energy), want, rtol=1e-11)
