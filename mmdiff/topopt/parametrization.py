"""From design variables to the density of the octant.

Variables -> octant -> cone filter -> smoothed Heaviside projection. The variables of a
cubic octant are one number per orbit, so that designs are symmetric to the last bit;
those of an orthotropic one are its voxels. SIMP, the last link, is
`mmdiff.fem.homogenize.modulus`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.symmetry import multiplicity, orbit_first, spread
from mmdiff.topopt import filters
from mmdiff.typing import Array, Float, Int, Scalar


def to_octant(
    design: Float[Array, "m"], n: int, symmetry: str = "cubic"
) -> Float[Array, "n n n"]:
    """Return the octant of the variables, see `symmetry.spread`."""
    return _spread(design, n) if symmetry == "cubic" else spread(design, n, symmetry)


def physical(
    design: Float[Array, "m"],
    n: int,
    symmetry: str = "cubic",
    *,
    radius: float,
    beta: Scalar,
    eta: Scalar = 0.5,
) -> Float[Array, "n n n"]:
    """Return the filtered and projected density; see `filters`."""
    octant = to_octant(design, n, symmetry)
    return filters.project(filters.cone_filter(octant, radius), beta, eta)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(design, n):
    return spread(design, n)


def _spread_forward(design, n):
    return _spread(design, n), None


def _spread_backward(n, _, cotangent):
    # Sums over orbits as gathers: XLA's CPU scatter runs one element at a time.
    index, share = _images(n)
    images = cotangent.ravel()[index]
    return (images.sum(0) * jnp.asarray(share, cotangent.dtype),)


_spread.defvjp(_spread_forward, _spread_backward)


@functools.lru_cache(maxsize=8)
def _images(n: int) -> tuple[Int[np.ndarray, "6 m"], Float[np.ndarray, "m"]]:
    """Return the six images of each orbit and the share of each image, read-only.

    Orbits of three or one voxels meet each of them two or six times.
    """
    place = np.stack(np.unravel_index(orbit_first(n), (n, n, n)))
    images = [
        np.ravel_multi_index(place[list(order)], (n, n, n))
        for order in itertools.permutations(range(3))
    ]
    index, share = np.stack(images).astype(np.int32), multiplicity(n) / 6
    index.setflags(write=False)
    share.setflags(write=False)
    return index, share
