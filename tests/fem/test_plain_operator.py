"""The plain operator, for energies and derivatives, against an assembled matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit, stiffness_matrix

from mmdiff.fem import element, stencil
from mmdiff.fem.brick import Brick

N, NU = 3, 0.3
BRICK = Brick("modulus", NU)
# Some 100 products of order one are summed per node in float64.
EXACT = {"rtol": 0, "atol": 1e-13}


# Always six fields, so that it is compiled once.
apply = quick_jit(lambda modulus, u: stencil.plain_apply(modulus[None], u, BRICK))


@pytest.fixture(scope="module")
def modulus():
    return 1e-6 + np.random.default_rng(0).random((N, N, N))


@pytest.fixture(scope="module")
def matrix(modulus):
    return stiffness_matrix(modulus, NU)


def _fields(count=6, seed=0):
    shape = (count, 3, N + 1, N + 1, N + 1)
    return np.random.default_rng(seed).standard_normal(shape)


def test_operator_is_the_assembled_matrix(x64, matrix, modulus):
    u = _fields()
    got = apply(jnp.asarray(modulus), jnp.asarray(u))
    want = (u.reshape(6, -1) @ matrix).reshape(u.shape)
    np.testing.assert_allclose(got, want, **EXACT)


def test_operator_is_symmetric_and_positive(x64, modulus):
    u = _fields()
    f = np.asarray(apply(jnp.asarray(modulus), jnp.asarray(u)))
    energy = np.einsum("icxyz,jcxyz->ij", f, u)
    # 192 products of order one per entry, summed in another order.
    np.testing.assert_allclose(energy, energy.T, atol=1e-12)
    assert np.linalg.eigvalsh(energy)[0] > 0


def test_rigid_motions_carry_no_force(x64, modulus):
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
    force = apply(jnp.asarray(modulus), jnp.asarray(np.array(motions)))
    np.testing.assert_allclose(force, 0, **EXACT)


def test_vmap_equals_a_loop(x64):
    modulus = jnp.asarray(np.random.default_rng(1).random((3, N, N, N)))
    u = jnp.asarray(np.stack([_fields(seed=s) for s in range(3)]))
    got = quick_jit(jax.vmap(lambda e, v: stencil.plain_apply(e[None], v, BRICK)))(
        modulus, u
    )
    want = [apply(e, v) for e, v in zip(modulus, u, strict=True)]
    np.testing.assert_allclose(got, np.stack(want), **EXACT)


def test_derivatives_of_a_bilinear_map(x64, modulus):
    # The energy v^T K(E) u has the derivatives K(E) v in u and v^T K0 u in E.
    e, u, v = jnp.asarray(modulus), _fields(seed=1), _fields(seed=2)

    @quick_jit
    def derivatives(e, u, v):
        def energy(e, u):
            return (v * stencil.plain_apply(e[None], u, BRICK)).sum()

        change = 2 * e + 1
        return (
            jax.grad(energy, (0, 1))(e, u),
            jax.jvp(energy, (e, u), (change, v)),
            energy(change, u) + energy(e, v),
        )

    (by_modulus, by_field), (value, slope), want = derivatives(e, u, v)
    np.testing.assert_allclose(by_field, apply(e, jnp.asarray(v)), **EXACT)
    # Euler: the energy is homogeneous of degree one in the moduli. Sums of 6 x 192
    # products of order one.
    np.testing.assert_allclose((by_modulus * e).sum(), value, rtol=1e-11)
    np.testing.assert_allclose(slope, want, rtol=1e-11)


def test_modes_are_the_hadamard_transform_of_the_corners(x64):
    u = np.random.default_rng(3).standard_normal((2, 2, 2))
    got = np.array([float(m[0, 0, 0]) for m in quick_jit(stencil.modes)(u)])
    np.testing.assert_allclose(got, element.hadamard() @ u.ravel(), **EXACT)


def test_float32_stays_float32_in_x64_mode(x64, modulus):
    # NumPy scalars in the set-up would widen it, at twice the memory and time.
    modulus, u = jnp.asarray(modulus, jnp.float32), jnp.asarray(_fields(), jnp.float32)
    assert jax.eval_shape(apply, modulus, u).dtype == jnp.float32


def test_element_energies_add_up_to_the_energy(x64, matrix, modulus):
    x, y = _fields(2)

    @quick_jit
    def energies(x, y):
        modes = [
            [mode for c in range(3) for mode in stencil.modes(field[c])]
            for field in (x, y)
        ]
        return stencil.element_energy(*modes, BRICK)[0]

    energy = energies(x, y)
    assert energy.shape == (N, N, N)
    want = x.ravel() @ matrix @ y.ravel()
    # 192^2 products of order one.
    np.testing.assert_allclose(np.sum(modulus * energy), want, rtol=1e-11)
