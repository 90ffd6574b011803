"""Guidance of the sampler by the homogenizer itself.

Long before a sample is finished, its estimated end is homogenized and moved until it
has the quantities of the target (`mmdiff.diffusion.guidance.posterior_step`); the
network goes on from there. The density that is homogenized is greyer than the estimate
at early times, where it responds smoothly, and close to the binary cell at late ones.
Steps are smooth in space: single voxels of the largest gradient make surfaces rough.
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
from mmdiff.targets import quantities
from mmdiff.targets.target import Target
from mmdiff.topopt.filters import gaussian_filter
from mmdiff.typing import AnyArray, Array, Float, Scalar

FIRST = 0.95  # time before which the estimate is no use
# Log-odds of the estimate are multiplied by these at t = 1 and at t = 0, and linearly
# between, before it is homogenized.
SHARPEN = 0.5, 2.0
SOFTEST = 0.98  # estimates beyond +-this count as no more certain
SMOOTHING = 1.0  # voxels over which the log-odds of neighbours move together
TOL = 1e-2  # of these solves: the estimate itself is far less certain
NAMES = (*quantities.NAMES, "V")


def target_values(target: Target) -> Float[np.ndarray, "9"]:
    """Return the values of a target in the order of `NAMES`, NaN where free."""
    asked = dict(target.counted) | {"V": target.volume}
    return np.array([asked.get(name) for name in NAMES], np.float32)


def residual(values: Float[Array, "4"], goal: Float[Array, "9"]) -> Float[Array, "9"]:
    """Return `target_values` less those of C11, C12, C44 and V, in units of error."""
    scale = jnp.asarray([*quantities.scales(), 1.0], values.dtype)
    present = jnp.append(quantities.values(values[:3]), values[3])
    return (goal - present) / scale


def solutions(times: Sequence[float], newton: int) -> int:
    """Return the number of finite-element solutions of one sample at these times."""
    times = np.asarray(times, float)[:-1]  # no step is taken from the last one
    return newton * int((times <= FIRST).sum())


def sharpened(x0: Float[AnyArray, "*b n n n"], t: Scalar) -> Float[Array, "*b n n n"]:
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
    """Return `guide(x0, t, goal) -> x0`, traceable.

    `x0` (b, n, n, n) are estimates in [-1, 1] at the scalar time `t`; `goal` see
    `target_values`, (9,) of all or (b, 9) of each. One program serves all targets: free
    quantities are masked. Each Newton step takes one finite-element solution.
    """
    solver = homogenize.make_solver(n, nu=nu)
    shape = boundary.loads("cubic").field_shape(n)

    def properties(x0, fields, t):
        density = sharpened(x0, t)
        tensor, info = solver(
            homogenize.modulus(density, void), tol=TOL, maxiter=200, fields=fields
        )
        values = jnp.append(voigt_to_cubic(tensor), density.mean())
        return values, (values, info.fields)

    def guide_one(x0, t, goal):
        def step(_, carry):
            x0, fields = carry
            x0 = jnp.clip(x0, -SOFTEST, SOFTEST)
            jacobian, (values, fields) = jax.jacrev(properties, has_aux=True)(
                x0, fields, t
            )
            # The solver sees the loads along one axis only.
            jacobian = symmetrize(jacobian)
            slope = -jax.jacfwd(lambda values: residual(values, goal))(values)
            jacobian = jnp.einsum("qc,cxyz->qxyz", slope, jacobian)
            x0 = posterior_step(
                x0,
                residual(values, goal),
                jacobian,
                # The axes in turn: exact symmetry is lost by rounding.
                smooth=lambda field: symmetrize(gaussian_filter(field, SMOOTHING)),
                softest=SOFTEST,
            )
            return x0, fields

        fields = jnp.zeros(shape, x0.dtype)
        return lax.fori_loop(0, newton, step, (x0, fields))[0]

    def guide(x0, t, goal):
        goal = jnp.broadcast_to(goal, (len(x0), len(NAMES)))
        return lax.cond(
            t <= FIRST,
            lambda x0: each(lambda one, goal: guide_one(one, t, goal), x0, goal),
            lambda x0: x0,
            x0,
        )

    return guide
