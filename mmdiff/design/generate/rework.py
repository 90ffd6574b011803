"""Rework of a cell whose surface cannot be moved any further towards its target.

Moving the surface keeps the topology. Here the cell is blurred and gets sharp again in
stages while Newton steps of least norm, in the variables of
`mmdiff.topopt.parametrization`, hold the quantities of the target: walls may vanish,
merge and appear as long as the density is grey. The result is grey at a voxel or so of
the surface, to be made binary and polished as a sample is.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import ndimage

from mmdiff.cells.symmetry import gather_independent, multiplicity
from mmdiff.design.generate import fem_guidance
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize
from mmdiff.linalg import multipliers
from mmdiff.topopt import parametrization
from mmdiff.typing import Array, Float

# Sharpness of the projection, step by step.
BETAS = (2.0,) * 14 + (4.0,) * 10 + (8.0,) * 8 + (16.0,) * 8
RADIUS = 2.0  # of the filter, in voxels
PENAL = 3.0
VOID = 1e-4  # while grey; stiffer than the void of the cells it is solved faster
TOL = 1e-3
RIDGE = 1e-5
BLUR = 1.0  # standard deviation in voxels
MARGIN = 0.02  # so that every variable can move from the start


@functools.lru_cache(maxsize=4)
def make_rework(
    n: int, *, nu: float = NU, betas: tuple[float, ...] = BETAS
) -> Callable[..., Float[Array, "n n n"]]:
    """Return `rework(octant, goal) -> density`, compiled once per grid size.

    `octant` (n, n, n) is binary; `goal` (9,) as of
    `mmdiff.design.generate.fem_guidance.target_values`; the density (n, n, n) in [0, 1]
    is nearly binary. `betas` are the sharpness of the projection, step by step.
    """
    solver = homogenize.make_solver(n, nu=nu)
    shape = boundary.loads("cubic").field_shape(n)
    share = 1 / np.asarray(multiplicity(n), np.float32)

    def physical(design, beta):
        return parametrization.physical(design, n, "cubic", radius=RADIUS, beta=beta)

    def properties(design, beta, fields):
        density = physical(design, beta)
        tensor, info = solver(
            homogenize.modulus(density, VOID, PENAL),
            tol=TOL,
            maxiter=150,
            fields=fields,
        )
        values = jnp.append(voigt_to_cubic(tensor), density.mean())
        return values, (values, info.fields)

    @jax.jit
    def run(design, goal):
        def step(i, carry):
            design, fields = carry
            beta = jnp.asarray(betas, design.dtype)[i]
            jacobian, (values, fields) = jax.jacrev(properties, has_aux=True)(
                design, beta, fields
            )
            residual = fem_guidance.residual(values, goal)
            asked = ~jnp.isnan(residual)
            slope = -jax.jacfwd(lambda v: fem_guidance.residual(v, goal))(values)
            rows = jnp.where(asked[:, None], slope, 0.0) @ jacobian
            # A voxel's change costs its square, so an orbit's costs that many.
            lazy = rows * jnp.asarray(share)[None]
            change = multipliers(lazy @ rows.T, residual, ridge=RIDGE) @ lazy
            change = change / jnp.maximum(abs(change).max(), 1.0)
            return jnp.clip(design + change, 0.0, 1.0), fields

        start = design, jnp.zeros(shape, design.dtype)
        design, _ = lax.fori_loop(0, len(betas), step, start)
        return physical(design, betas[-1])

    def rework(octant, goal):
        octant = np.asarray(octant, np.float64)
        blurred = ndimage.gaussian_filter(octant, BLUR, mode="reflect")
        design = gather_independent(np.clip(blurred, MARGIN, 1 - MARGIN))
        return np.asarray(
            run(jnp.asarray(design, jnp.float32), jnp.asarray(goal, jnp.float32))
        )

    return rework
