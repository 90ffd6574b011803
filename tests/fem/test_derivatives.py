"""Derivatives of tensor and displacement, of every order, forward and reverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit, random_octant
from jax.extend import core

from mmdiff.cells import symmetry
from mmdiff.fem import boundary, element, fields, homogenize, implicit

SYMMETRIES = pytest.mark.parametrize("kind", boundary.SYMMETRIES)
# A full run takes all three; they differ in loads and boundary conditions only.
SLOW = [pytest.param(k, marks=pytest.mark.slow) for k in boundary.SYMMETRIES[1:]]
ONE_FAST = pytest.mark.parametrize("kind", [boundary.SYMMETRIES[0], *SLOW])
TIGHT = {"tol": 1e-12, "maxiter": 200}
# Tangents are solved to 1e-12 as well, at condition numbers of 1e3.
SOLVED = {"rtol": 1e-8, "atol": 1e-11}
N = 4


def _tensor(kind, n=N):
    solver = homogenize.make_solver(n, kind)
    return lambda stiff: solver(stiff, **TIGHT)[0]


def _scalar(tensor):
    """A function of C whose own second derivatives are not zero."""
    return tensor[0, 0] * tensor[3, 3] + tensor[0, 1] ** 2 + jnp.log(tensor[0, 0])


def _moduli(n, kind, seed=0):
    """Random moduli and a direction within the symmetry."""
    rng = np.random.default_rng(seed)
    if kind == "cubic":
        stiff, direction = random_octant(n, seed, low=0.1), random_octant(n, seed + 1)
        return jnp.asarray(stiff), jnp.asarray(direction - 0.5)
    shape = (n, n, n)
    stiff, direction = rng.uniform(0.1, 1, shape), rng.uniform(-0.5, 0.5, shape)
    return jnp.asarray(stiff), jnp.asarray(direction)


def _solves(jaxpr):
    """Count conjugate-gradient loops: loops of fixed length are scans in a jaxpr."""
    count = 0
    for equation in jaxpr.eqns:
        count += equation.primitive.name == "while"
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda v: isinstance(v, core.ClosedJaxpr | core.Jaxpr),
        ):
            if isinstance(value, core.ClosedJaxpr):
                value = value.jaxpr
            if isinstance(value, core.Jaxpr):
                count += _solves(value)
    return count


def _dense(stiff, nu=0.3):
    """C of a periodic cell by a dense solve that JAX differentiates by itself."""
    n = stiff.shape[0]
    grid = np.arange(n**3).reshape(n, n, n)
    nodes = np.stack(
        [np.roll(grid, [-s for s in c], (0, 1, 2)) for c in element.CORNERS], -1
    ).reshape(-1, 8)
    dofs = (n**3 * np.arange(3)[:, None] + nodes[:, None]).reshape(-1, 24)
    local = element.stiffness(nu)
    # Modes of the macro strains back to the corners.
    macro = element.macro_modes(np.eye(6)).reshape(6, 3, 8) @ element.hadamard() / 8
    macro = macro.reshape(6, 24).T
    flat = stiff.reshape(-1, 1, 1)
    load = -flat * (local @ macro)[None]
    matrix = jnp.zeros((3 * n**3, 3 * n**3))
    matrix = matrix.at[dofs[:, :, None], dofs[:, None]].add(flat * local[None])
    load = jnp.zeros((3 * n**3, 6)).at[dofs].add(load)
    free = np.setdiff1d(np.arange(3 * n**3), [0, n**3, 2 * n**3])
    x = jnp.linalg.solve(matrix[np.ix_(free, free)], load[free])
    macro_energy = stiff.sum() * (macro.T @ local @ macro)
    return (macro_energy - x.T @ load[free]) / n**3


@ONE_FAST
def test_first_derivatives_need_one_solve(kind):
    tensor, stiff = _tensor(kind), jnp.ones((N, N, N))

    def value(stiff):
        return _scalar(tensor(stiff))

    def count(function, *args):
        return _solves(jax.make_jaxpr(function)(*args).jaxpr)

    assert count(tensor, stiff) == 1
    if kind == "mixed":  # mean stresses are not stationary
        return
    assert count(jax.value_and_grad(value), stiff) == 1
    assert count(jax.jacrev(tensor), stiff) == 1
    assert count(lambda v: jax.jvp(tensor, (stiff,), (v,)), stiff) == 1
    # The implicit route is there when it is needed.
    assert count(jax.grad(lambda e: jax.grad(value)(e)[0, 0, 0]), stiff) > 1


def test_gradient_and_hessian_are_those_of_the_dense_matrix(x64):
    stiff, _ = _moduli(N, "periodic")
    tensor = _tensor("periodic")

    @quick_jit
    def derivatives(flat):
        def mine(flat):
            return _scalar(tensor(flat.reshape(N, N, N)))

        def dense(flat):
            return _scalar(_dense(flat.reshape(N, N, N)))

        def all_of(f):
            def slope(flat):
                value, gradient = jax.value_and_grad(f)(flat)
                return gradient, (value, gradient)

            hessian, known = jax.jacfwd(slope, has_aux=True)(flat)
            return *known, hessian

        return all_of(mine), all_of(dense)

    got, want = derivatives(stiff.ravel())
    for mine, dense in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, dense, **SOLVED)
    np.testing.assert_allclose(got[2], got[2].T, atol=1e-10)


def test_forward_and_reverse_agree(x64):
    tensor = _tensor("orthotropic")
    stiff, _ = _moduli(N, "orthotropic")
    forward, reverse = quick_jit(
        lambda e: (jax.jacfwd(tensor)(e), jax.jacrev(tensor)(e))
    )(stiff)
    # The same sums in another order.
    np.testing.assert_allclose(forward, reverse, rtol=1e-11, atol=1e-15)


@pytest.mark.slow
def test_hessian_is_the_difference_of_gradients(x64):
    n = 8
    tensor = _tensor("cubic", n)
    start = jnp.asarray(np.random.default_rng(0).uniform(0.3, 1, 120))

    def value(values):  # one per orbit of the octant: every direction is cubic
        return _scalar(tensor(homogenize.modulus(symmetry.spread(values, n))))

    gradient = quick_jit(lambda points: jax.lax.map(jax.grad(value), points))
    h = 1e-4
    steps = h * np.eye(120)
    points = jnp.concatenate([start[None] + steps, start[None] - steps])
    slopes = gradient(points)
    want = (slopes[:120] - slopes[120:]) / (2 * h)
    got = quick_jit(jax.hessian(value))(start)
    # Truncation h^2 = 1e-8 against entries up to one.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * abs(want).max())


@ONE_FAST
def test_hessian_vector_product_is_the_difference_of_gradients(x64, kind):
    tensor = _tensor(kind)
    stiff, direction = _moduli(N, kind, seed=3)

    def value(stiff):
        return _scalar(tensor(stiff))

    @quick_jit
    def run(stiff, direction):
        return jax.jvp(jax.grad(value), (stiff,), (direction,))

    h = 1e-4
    ends = [run(stiff + s * h * direction, direction)[0] for s in (1, -1)]
    want = (ends[0] - ends[1]) / (2 * h)
    got = run(stiff, direction)[1]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * abs(want).max())


@pytest.mark.slow
def test_third_derivative_is_the_difference_of_second_ones(x64):
    tensor = _tensor("cubic")
    stiff, direction = _moduli(N, "cubic", seed=5)

    def along(function):
        return lambda t: jax.jvp(function, (t,), (jnp.ones(()),))[1]

    def value(t):
        return _scalar(tensor(stiff + t * direction))

    second = along(along(value))
    run = quick_jit(lambda t: (second(t), along(second)(t)))
    h = 1e-3
    want = (run(h)[0] - run(-h)[0]) / (2 * h)
    # Truncation h^2 / 6 times the fifth derivative.
    assert float(run(0.0)[1]) == pytest.approx(float(want), rel=1e-4)


def _displacement(kind, n=N):
    run = implicit.make_displacement(n, kind)
    return lambda stiff: run(stiff[None], **TIGHT)[0]


@pytest.mark.slow
@ONE_FAST
def test_derivatives_of_the_displacement(x64, kind):
    displacement = _displacement(kind)
    stiff, direction = _moduli(N, kind, seed=7)

    # A point force is not balanced, and lies on fixed components as well.
    def value(stiff):
        x = displacement(stiff)
        region = fields.strain_energy(stiff[None], x, symmetry=kind)[0, :2, 1:]
        return jnp.stack([x[0, 0, 1, 2, 1], x[1, 2, 0, 1, 3], region.sum()])

    @quick_jit
    def run(stiff, direction):
        value_, forward = jax.jvp(value, (stiff,), (direction,))
        return value_, forward, jax.jacrev(value)(stiff)

    _, forward, reverse = run(stiff, direction)
    h = 1e-4
    ends = [run(stiff + s * h * direction, direction)[0] for s in (1, -1)]
    # Truncation h^2 = 1e-8.
    np.testing.assert_allclose(forward, (ends[0] - ends[1]) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(
        np.sum(reverse * direction[None], (1, 2, 3)), forward, **SOLVED
    )


@pytest.mark.slow
def test_both_routes_to_the_sensitivity_agree(x64):
    tensor, displacement = _tensor("periodic"), _displacement("periodic")
    stiff, _ = _moduli(N, "periodic", seed=9)

    def through_fields(stiff):
        x = displacement(stiff)
        energy = fields.strain_energy(stiff[None], x, symmetry="periodic")
        return 2 * energy[1].mean()

    got, want = quick_jit(
        lambda e: (jax.grad(through_fields)(e), jax.grad(lambda e: tensor(e)[1, 1])(e))
    )(stiff)
    np.testing.assert_allclose(got, want, **SOLVED)


@pytest.mark.slow
def test_second_derivatives_in_batches(x64):
    tensor = _tensor("cubic")

    def product(stiff, direction):
        return jax.jvp(jax.grad(lambda e: _scalar(tensor(e))), (stiff,), (direction,))[
            1
        ]

    pairs = [_moduli(N, "cubic", seed) for seed in range(3)]
    got = quick_jit(jax.vmap(product))(
        *(jnp.stack(v) for v in zip(*pairs, strict=True))
    )
    single = quick_jit(product)
    for i, pair in enumerate(pairs):
        np.testing.assert_allclose(got[i], single(*pair), **SOLVED)


def test_tiny_and_broken_directions():
    displacement = implicit.make_displacement(N, "cubic")

    @quick_jit
    def run(stiff, direction):
        def solve(e):
            return displacement(e[None], tol=1e-5, maxiter=50)[0]

        _, forward = jax.jvp(solve, (stiff,), (direction,))
        _, back = jax.vjp(solve, stiff)
        return forward, back(forward)[0]

    stiff, direction = (v.astype(jnp.float32) for v in _moduli(N, "cubic"))
    want = run(stiff, direction)
    # Squares of these leave the range of float32; a power of two rounds nothing.
    got = run(stiff, direction * 2.0**-80)
    for small, large in zip(got, want, strict=True):
        np.testing.assert_allclose(small * 2.0**80, large, rtol=1e-4, atol=1e-5)
    for zero in run(stiff, jnp.zeros_like(direction)):
        np.testing.assert_array_equal(zero, 0)
    # What is not a number is seen.
    forward, _ = run(stiff, direction.at[0, 0, 0].set(jnp.nan))
    assert np.isnan(forward).any()


def test_homogenize_takes_every_transformation():
    def value(density):
        return _scalar(homogenize.homogenize(density, symmetry="orthotropic")[0])

    # Traced only: the numbers are those of the tests above.
    many = jax.ShapeDtypeStruct((3, 8, 8, 8), jnp.float32)

    assert jax.eval_shape(jax.vmap(jax.jit(jax.grad(value))), many) == many


@SYMMETRIES
def test_what_is_reported_has_no_derivative(kind):
    solver = homogenize.make_solver(N, kind)
    stiff, _ = (v.astype(jnp.float32) for v in _moduli(N, kind))

    def reported(stiff):
        _, info = solver(stiff, tol=1e-4, maxiter=50)
        return info.fields.sum() + info.residual.sum()

    np.testing.assert_array_equal(quick_jit(jax.grad(reported))(stiff), 0)


def test_start_and_tolerance_have_no_derivative(x64):
    displacement = implicit.make_displacement(N, "cubic")
    stiff, _ = _moduli(N, "cubic")
    shape = boundary.loads("cubic").field_shape(N)
    start = np.random.default_rng(0).standard_normal(shape)

    def value(start, tol):
        x, _ = displacement(stiff[None], tol=tol, maxiter=100, fields=start)
        return x[0, 0, 1, 2, 3]

    for slope in quick_jit(jax.grad(value, (0, 1)))(start, 1e-10):
        np.testing.assert_array_equal(slope, 0)
