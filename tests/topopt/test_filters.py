"""The filters as symmetric averaging matrices, and the projection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit
from scipy import ndimage

from mmdiff.cells import symmetry
from mmdiff.topopt import filters

_filter = quick_jit(filters.cone_filter, static_argnums=1)


def _random(n, seed=0):
    return np.random.default_rng(seed).random((n, n, n))


@pytest.mark.parametrize("radius", [1.5, 2.0, 3.2])
def test_kernel_is_a_normalised_even_cone(radius):
    kernel = filters.cone_kernel(radius)
    assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
    for axis in range(3):
        np.testing.assert_array_equal(kernel, np.flip(kernel, axis))
    middle = kernel.shape[0] // 2
    line = kernel[middle:, middle, middle] / kernel[middle, middle, middle]
    # Falls linearly; the next voxel would be at the radius or beyond.
    np.testing.assert_allclose(line, 1 - np.arange(len(line)) / radius)
    assert len(line) >= radius


@pytest.mark.parametrize("radius", [0, 0.5, 1, 1.0])
def test_small_radius_is_the_identity(radius):
    density = jnp.asarray(_random(4), jnp.float32)
    np.testing.assert_array_equal(_filter(density, radius), density)


@pytest.mark.parametrize("radius", [1.5, 2.5])
def test_constants_and_bounds_are_kept(radius):
    # Sums of up to 100 weights in float32.
    constant = _filter(jnp.full((6, 6, 6), 0.37), radius)
    np.testing.assert_allclose(constant, 0.37, rtol=1e-6)
    binary = jnp.asarray(_random(6) > 0.5, jnp.float32)
    got = _filter(binary, radius)
    assert -1e-6 <= got.min() and got.max() <= 1 + 1e-6
    assert got.std() < binary.std()


@pytest.mark.parametrize("n, radius", [(6, 2.5), (4, 2.0), (2, 3.5)])
def test_octant_filter_is_the_periodic_filter_of_the_cell(x64, n, radius):
    octant = _random(n)
    want = ndimage.convolve(
        symmetry.octant_to_cell(octant), filters.cone_kernel(radius), mode="wrap"
    )
    got = _filter(octant, radius)
    # Sums of up to 200 products in another order.
    np.testing.assert_allclose(got, want[:n, :n, :n], rtol=1e-13)


@pytest.mark.parametrize("radius", [2.0, 3.5])
def test_filter_matrix_is_symmetric_and_its_gradient_is_the_matrix(x64, radius):
    n, size = 3, 27

    def flat(x):
        return filters.cone_filter(x.reshape(n, n, n), radius).ravel()

    matrix = np.asarray(quick_jit(jax.vmap(flat))(np.eye(size))).T
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)
    # Rows of a custom derivative, against columns of values.
    x = _random(n, 1).ravel()
    backward = quick_jit(lambda x, c: jax.vjp(flat, x)[1](c)[0])
    for i in (0, 5, 13, 26):
        np.testing.assert_allclose(backward(x, np.eye(size)[i]), matrix[i], atol=1e-15)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-13)


def test_gradient_of_a_nonlinear_function_of_the_filter(x64):
    density, direction = _random(4), _random(4, 1) - 0.5

    def value(x):
        return jnp.sum(jnp.sin(3 * filters.cone_filter(x, 2.0)) ** 2)

    run = quick_jit(jax.value_and_grad(value))
    got = np.sum(run(density)[1] * direction)
    h = 1e-5
    change = run(density + h * direction)[0] - run(density - h * direction)[0]
    want = change / (2 * h)
    # Truncation h^2 = 1e-10 and rounding 1e-16 / h = 1e-11, times 64 terms.
    np.testing.assert_allclose(got, want, rtol=1e-8)


def test_cubic_octants_stay_cubic():
    octant = symmetry.spread(_random(10)[0, :2].ravel(), 4).astype(np.float32)
    got = _filter(octant, 2.0)
    np.testing.assert_allclose(got, symmetry.symmetrize(got), atol=1e-6)


@pytest.mark.parametrize("n, sigma", [(4, 1.0), (8, 0.7), (8, 1.5)])
def test_the_gaussian_is_that_of_scipy_and_a_covariance(x64, n, sigma):
    field = _random(n)
    blurred = filters.gaussian_filter(jnp.asarray(field), sigma)
    wanted = ndimage.gaussian_filter(field, sigma, mode="reflect")
    np.testing.assert_allclose(blurred, wanted, atol=1e-12)
    units = jnp.eye(4**3).reshape(-1, 4, 4, 4)
    matrix = jax.vmap(lambda unit: filters.gaussian_filter(unit, sigma))(units)
    matrix = np.asarray(matrix).reshape(64, 64)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("beta", [0.5, 4.0, 64.0])
@pytest.mark.parametrize("eta", [0.5, 0.3])
def test_projection_keeps_the_ends_and_the_order(beta, eta):
    x = jnp.linspace(0, 1, 101)
    y = np.asarray(jax.jit(filters.project)(x, beta, eta))
    np.testing.assert_allclose(y[[0, -1]], [0, 1], atol=1e-6)
    assert (np.diff(y) >= 0).all()
    # Antisymmetric about the threshold where that is in the middle.
    if eta == 0.5:
        np.testing.assert_allclose(y + y[::-1], 1, atol=1e-6)


def test_projection_limits():
    x = jnp.linspace(0, 1, 21)
    # tanh(z) = z up to z^3 / 3 with z = 0.005.
    np.testing.assert_allclose(filters.project(x, 0.01), x, atol=1e-4)
    sharp = filters.project(x, 1e4)
    np.testing.assert_array_equal(sharp, np.heaviside(x - 0.5, 0.5))


def test_projection_gradient(x64):
    x, h = np.linspace(0.05, 0.95, 7), 1e-6
    got = jax.vmap(jax.grad(lambda v: filters.project(v, 8.0, 0.4)))(x)
    want = filters.project(x + h, 8.0, 0.4) - filters.project(x - h, 8.0, 0.4)
    # Truncation beta^3 h^2 = 1e-9 and rounding 1e-16 / h = 1e-10.
    np.testing.assert_allclose(got, want / (2 * h), atol=1e-8)
