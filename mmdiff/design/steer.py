"""Guidance of the sampler by the homogenizer itself.

Long before a sample is finished, its estimated end can be homogenized. The estimate is
moved until it has the asked quantities (`mmdiff.diffusion.guidance.posterior_step`) and
the network goes on from there: what it would have got wrong is put right while the cell
still can change its shape. No trained regressor is needed, and the physics is exact.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.design import quantities
from mmdiff.design.target import Target
from mmdiff.diffusion.guidance import posterior_step
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize
from mmdiff.fem.device import each
from mmdiff.fem.implicit import field_shape
from mmdiff.symmetry import symmetrize
from mmdiff.typing import Array, Float

# Before the first of these times nothing can be told from the estimate; after the
# second the shape is settled, and moving the surface of the binary cell does more.
FIRST, LAST = 0.95, 0.3
SHARPEN = 3.0  # log-odds of the estimate are multiplied by this before homogenization
SOFTEST = 0.98  # estimates beyond +-this count as no more certain
TOL = 1e-3  # of these solves: the estimate itself is far less certain
NAMES = (*quantities.NAMES, "V")


def wanted_of(target: Target) -> np.ndarray:
    """Return what a target counts, (9,) in the order of `NAMES`, NaN where free."""
    asked = dict(target.counted) | {"V": target.volume}
    return np.array([asked.get(name) for name in NAMES], np.float32)


def missing(values: Float[Array, "4"], wanted: Float[Array, "9"]) -> Float[Array, "9"]:
    """Return what C11, C12, C44 and V miss of `wanted_of`, in units of error."""
    scale = jnp.asarray([*quantities.scales(), 1.0], values.dtype)
    present = jnp.append(quantities.values(values[:3]), values[3])
    return (wanted - present) / scale


def solutions(times: Sequence[float], newton: int) -> int:
    """Return the finite-element solutions that one sample of these times costs."""
    times = np.asarray(times, float)[:-1]  # the last one is arrived at
    return newton * int(((times <= FIRST) & (times >= LAST)).sum())


def make_steer(
    n: int,
    *,
    newton: int = 2,
    void: float = homogenize.VOID,
    nu: float = NU,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `steer(x0, t, wanted) -> x0`, traceable.

    `x0` (b, n, n, n) are estimates in [-1, 1] at the scalar time `t`; `wanted` (9,) see
    `wanted_of`. One program serves all targets: what is free is masked.

    Args:
      n: octant side.
      newton: Newton steps per call, one finite-element solution each.
      void: modulus of void as a fraction of solid.
      nu: Poisson's ratio of the base material.
    """
    solver = homogenize.make_solver(n, nu=nu)
    shape = field_shape(boundary.loads("cubic"), n)

    def properties(x0, fields):
        density = 0.5 * (1 + jnp.tanh(SHARPEN * jnp.arctanh(x0)))
        tensor, info = solver(
            homogenize.modulus(density, void), tol=TOL, maxiter=200, fields=fields
        )
        values = jnp.append(voigt_to_cubic(tensor), density.mean())
        return values, (values, info.fields)

    def steer_one(x0, wanted):
        def step(_, carry):
            x0, fields = carry
            x0 = jnp.clip(x0, -SOFTEST, SOFTEST)
            jacobian, (values, fields) = jax.jacrev(properties, has_aux=True)(
                x0, fields
            )
            # The solver sees the loads along one axis only.
            jacobian = symmetrize(jacobian)
            slope = -jax.jacfwd(lambda values: missing(values, wanted))(values)
            jacobian = jnp.einsum("qc,cxyz->qxyz", slope, jacobian)
            x0 = posterior_step(x0, missing(values, wanted), jacobian, softest=SOFTEST)
            return x0, fields

        fields = jnp.zeros(shape, x0.dtype)
        return lax.fori_loop(0, newton, step, (x0, fields))[0]

    def steer(x0, t, wanted):
        return lax.cond(
            (t <= FIRST) & (t >= LAST),
            lambda x0: each(lambda one: steer_one(one, wanted), x0),
            lambda x0: x0,
            x0,
        )

    return steer
