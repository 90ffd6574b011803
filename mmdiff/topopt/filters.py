"""Filters of octants and smoothed Heaviside projection.

The cone filter gives the design a length scale and the projection makes it nearly
binary; both are differentiable and act on octants with mirror boundaries. Bourdin, Int.
J. Numer. Methods Eng. 50 (2001) 2143; Wang, Lazarov & Sigmund, Struct. Multidisc.
Optim. 43 (2011) 767, Eq. 9.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from mmdiff.typing import AnyArray, Array, Float, Scalar


def cone_kernel(radius: float) -> Float[np.ndarray, "k k k"]:
    """Return the normalised weights max(0, radius - distance), odd edge, in voxels."""
    if radius <= 1:
        return np.ones((1, 1, 1))
    reach = int(np.ceil(radius)) - 1
    line = np.arange(-reach, reach + 1)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    weight = np.maximum(0, radius - np.sqrt(x**2 + y**2 + z**2))
    return weight / weight.sum()


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def cone_filter(
    density: Float[AnyArray, "n n n"], radius: float
) -> Float[Array, "n n n"]:
    """Average the density over a cone; the mirror planes lie on the octant's faces.

    The radius is in voxels; at most 1 leaves the density as it is.
    """
    kernel = cone_kernel(radius)
    n, reach = density.shape[0], kernel.shape[0] // 2
    padded = jnp.pad(density, reach, mode="symmetric")
    # Shifted copies fuse into one loop; XLA's single-channel convolution is 10x slower.
    total = jnp.zeros_like(density)
    for x, y, z in np.argwhere(kernel > 0):
        window = padded[x : x + n, y : y + n, z : z + n]
        total = total + kernel[x, y, z].astype(density.dtype) * window
    return total


def _filter_forward(density, radius):
    return cone_filter(density, radius), None


def _filter_backward(radius, _, cotangent):
    # An even kernel with mirror images makes a symmetric matrix.
    return (cone_filter(cotangent, radius),)


cone_filter.defvjp(_filter_forward, _filter_backward)


def gaussian_filter(
    field: Float[AnyArray, "n n n"], sigma: float
) -> Float[Array, "n n n"]:
    """Average a field over a Gaussian; the mirror planes lie on the octant's faces.

    As a matrix it is symmetric and positive definite, as a covariance has to be. The
    standard deviation is in voxels.
    """
    line = np.eye(field.shape[0])
    line = ndimage.gaussian_filter1d(line, sigma, axis=0, mode="reflect")
    line = jnp.asarray(line, field.dtype)
    return jnp.einsum("ax,by,cz,xyz->abc", line, line, line, field, precision="highest")


def project(
    density: Float[AnyArray, "*n"], beta: Scalar, eta: Scalar = 0.5
) -> Float[Array, "*n"]:
    """Smoothed Heaviside step at `eta` with steepness `beta` (> 0), onto [0, 1]."""
    low = jnp.tanh(beta * eta)
    return (low + jnp.tanh(beta * (density - eta))) / (low + jnp.tanh(beta * (1 - eta)))
