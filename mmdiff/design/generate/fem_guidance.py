"""Guidance of the sampler by the homogenizer itself.

Long before a sample is finished, its estimated end can be homogenized. The estimate is
moved until it has the asked quantities (`mmdiff.diffusion.guidance.posterior_step`) and
the network goes on from there: what it would have got wrong is put right while the cell
still can change its shape. No trained regressor is needed, and the physics is exact.

What is homogenized early is greyer than the estimate and answers smoothly; late it is
close to the binary cell that the sample will be cut to. Steps are smooth in space:
single voxels that would answer best make surfaces rough, which is hard to print.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import symmetrize
from mmdiff.diffusion.guidance import posterior_step
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize
from mmdiff.fem.device import each
from mmdiff.fem.implicit import field_shape
from mmdiff.targets import quantities
from mmdiff.targets.target import Target
from mmdiff.topopt.filters import gaussian_filter
from mmdiff.typing import Array, Float

FIRST = 0.95  # time before which nothing can be told from the estimate
# Log-odds of the estimate are multiplied by these at t = 1 and at t = 0, and linearly
# between, before it is homogenized.
SHARPEN = 0.5, 2.0
SOFTEST = 0.98  # estimates beyond +-this count as no more certain
SMOOTHING = 1.0  # voxels over which the log-odds of neighbours move together
TOL = 1e-2  # of these solves: the estimate itself is far less certain
NAMES = (*quantities.NAMES, "V")


def target_values(target: Target) -> np.ndarray:
    """Return what a target counts, (9,) in the order of `NAMES`, NaN where free."""
    asked = dict(target.counted) | {"V": target.volume}
    return np.array([asked.get(name) for name in NAMES], np.float32)


def missing(values: Float[Array, "4"], wanted: Float[Array, "9"]) -> Float[Array, "9"]:
    """Return what C11, C12, C44 and V miss of `target_values`, in units of error."""
    scale = jnp.asarray([*quantities.scales(), 1.0], values.dtype)
    present = jnp.append(quantities.values(values[:3]), values[3])
    return (wanted - present) / scale


def solutions(times: Sequence[float], newton: int) -> int:
    """Return the finite-element solutions that one sample of these times costs."""
    times = np.asarray(times, float)[:-1]  # the last one is arrived at
    return newton * int((times <= FIRST).sum())


def sharpened(x0: Float[Array, "..."], t: Float[Array, ""]) -> Float[Array, "..."]:
    """Return the density in [0, 1] that counts for an estimate in [-1, 1] at a time."""
    early, late = SHARPEN
    return 0.5 * (1 + jnp.tanh((early * t + late * (1 - t)) * jnp.arctanh(x0)))


def make_fem_guidance(
    n: int,
    *,
    newton: int = 2,
    void: float = homogenize.VOID,
    nu: float = NU,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `guide(x0, t, wanted) -> x0`, traceable.

    `x0` (b, n, n, n) are estimates in [-1, 1] at the scalar time `t`; `wanted` see
    `target_values`, (9,) of all or (b, 9) of each. One program serves all targets: what
    is free is masked.

    Args:
      n: octant side.
      newton: Newton steps per call, one finite-element solution each.
      void: modulus of void as a fraction of solid.
      nu: Poisson's ratio of the base material.
    """
    solver = homogenize.make_solver(n, nu=nu)
    shape = field_shape(boundary.loads("cubic"), n)

    def properties(x0, fields, t):
        density = sharpened(x0, t)
        tensor, info = solver(
            homogenize.modulus(density, void), tol=TOL, maxiter=200, fields=fields
        )
        values = jnp.append(voigt_to_cubic(tensor), density.mean())
        return values, (values, info.fields)

    def smooth(field):
        # The axes in turn: exact symmetry is lost by rounding.
        return symmetrize(gaussian_filter(field, SMOOTHING))

    def guide_one(x0, t, wanted):
        def step(_, carry):
            x0, fields = carry
            x0 = jnp.clip(x0, -SOFTEST, SOFTEST)
            jacobian, (values, fields) = jax.jacrev(properties, has_aux=True)(
                x0, fields, t
            )
            # The solver sees the loads along one axis only.
            jacobian = symmetrize(jacobian)
            slope = -jax.jacfwd(lambda values: missing(values, wanted))(values)
            jacobian = jnp.einsum("qc,cxyz->qxyz", slope, jacobian)
            x0 = posterior_step(
                x0,
                missing(values, wanted),
                jacobian,
                smooth=smooth,
                softest=SOFTEST,
            )
            return x0, fields

        fields = jnp.zeros(shape, x0.dtype)
        return lax.fori_loop(0, newton, step, (x0, fields))[0]

    def guide(x0, t, wanted):
        wanted = jnp.broadcast_to(wanted, (len(x0), len(NAMES)))
        return lax.cond(
            t <= FIRST,
            lambda x0: each(lambda one, goal: guide_one(one, t, goal), x0, wanted),
            lambda x0: x0,
            x0,
        )

    return guide
