"""Guidance of the sampler by the homogenizer itself.

Long before a sample is finished, the surface of its estimated end is homogenized and
moved until it has the quantities of the target (`diffusion.guidance.field_step`); the
network goes on from there. At early times the surface is blurred, where the estimate is
no distance yet and large changes are asked; at late ones it is sharp. Changes of the
field are smooth, since those of single samples make surfaces rough.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells import surface
from mmdiff.cells.distance import CLIP
from mmdiff.cells.symmetry import symmetrize
from mmdiff.diffusion.guidance import field_step
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import boundary, homogenize
from mmdiff.fem.device import each
from mmdiff.targets import quantities
from mmdiff.targets.target import Target
from mmdiff.topopt.filters import gaussian_filter
from mmdiff.typing import AnyArray, Array, Float, Scalar

FIRST = 0.95  # time before which the estimate is no use
# Spacings on each side of the surface that count for a part at t = 1 and at t = 0, and
# linearly between.
WIDTH = 2.0, 0.5
SMOOTHING = 1.0  # spacings over which neighbours move together
LONGEST = 1.0  # spacings that a surface moves in a step, at most
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


def shares(x0: Float[AnyArray, "n n n"], t: Scalar, m: int) -> Float[Array, "m m m"]:
    """Return the solid shares of m^3 elements that count for an estimate at a time."""
    early, late = WIDTH
    return surface.soft_fractions(CLIP * x0, m, early * t + late * (1 - t))


@dataclasses.dataclass(frozen=True)
class FemGuidance:
    """`guide(x0, t, goal) -> x0`, traceable.

    `x0` (b, n, n, n) are estimates in [-1, 1] at the scalar time `t`; `goal` see
    `target_values`, (9,) of all or (b, 9) of each. One program serves all targets: free
    quantities are masked. Each Newton step takes one finite-element solution.

    Attributes:
      n: samples along the octant.
      newton: Newton steps on an estimate.
      elements: along the octant, None for as many as samples.
      void: modulus of void as a fraction of solid.
      nu: Poisson's ratio of the base material.
    """

    n: int
    newton: int = 2
    elements: int | None = None
    void: float = homogenize.VOID
    nu: float = NU

    def __call__(
        self, x0: Float[Array, "b n n n"], t: Scalar, goal: Float[AnyArray, "*b 9"]
    ) -> Float[Array, "b n n n"]:
        """Return the estimates, moved towards their goals."""
        goal = jnp.broadcast_to(goal, (len(x0), len(NAMES)))
        m = self.n if self.elements is None else self.elements
        solver = homogenize.make_solver(m, nu=self.nu)
        one = functools.partial(self._guide_one, solver, m, t)
        return lax.cond(t <= FIRST, lambda x0: each(one, x0, goal), lambda x0: x0, x0)

    def _guide_one(self, solver, m, t, x0, goal):
        def properties(x0, fields):
            share = shares(x0, t, m)
            stiff = homogenize.modulus(share, self.void, 1.0)
            tensor, info = solver(stiff, tol=TOL, maxiter=200, fields=fields)
            values = jnp.append(voigt_to_cubic(tensor), share.mean())
            return values, (values, info.fields)

        def step(_, carry):
            x0, fields = carry
            slopes = jax.jacrev(properties, has_aux=True)
            jacobian, (values, fields) = slopes(x0, fields)
            # The solver sees the loads along one axis only.
            jacobian = symmetrize(jacobian)
            slope = -jax.jacfwd(lambda values: residual(values, goal))(values)
            x0 = field_step(
                x0,
                residual(values, goal),
                jnp.einsum("qc,cxyz->qxyz", slope, jacobian),
                smooth=smooth,
                longest=LONGEST / CLIP,
            )
            return jnp.clip(x0, -1, 1), fields

        fields = jnp.zeros(boundary.loads("cubic").field_shape(m), x0.dtype)
        return lax.fori_loop(0, self.newton, step, (x0, fields))[0]


def smooth(field: Float[Array, "n n n"]) -> Float[Array, "n n n"]:
    """Return a change of a field, averaged over a Gaussian, symmetric to the last bit.

    The axes are averaged in turn: exact symmetry is lost by rounding.
    """
    return symmetrize(gaussian_filter(field, SMOOTHING))
