"""Topology optimization of one octant under a volume constraint.

Density -> cone filter -> projection -> SIMP -> C -> objective, updated by optimality
criteria, all in one jitted loop whose solves start from the fields of the last design
and stop at a loose residual. The optimizer is an `(init, update)` pair; several
constraints are outside its scope.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.elasticity import NU
from mmdiff.fem import boundary, homogenize
from mmdiff.symmetry import symmetrize
from mmdiff.topopt import filters
from mmdiff.typing import Array, Float


class OcState(NamedTuple):
    """State of the optimality-criteria update: nothing but the last multiplier."""

    multiplier: Float[Array, ""]


def optimality_criteria(volume: float, move: float = 0.2, damping: float = 0.5):
    """Return the `(init, update)` pair of the OC method for one volume equality.

    x_new = clip(x (g / (lambda v))^damping) within the move limit, with lambda found by
    bisection on the linearized volume. Bendsoe & Sigmund, Topology Optimization (2003),
    Eq. 1.12.

    Args:
      volume: wanted mean of the physical density.
      move: largest change of a design variable per step.
      damping: exponent.
    """

    def init(design):
        return OcState(jnp.ones((), design.dtype))

    def update(gradient, state, design, physical_volume, volume_gradient):
        low = jnp.maximum(design - move, 0.001)
        high = jnp.minimum(design + move, 1.0)
        gain = jnp.maximum(gradient, 0) / jnp.maximum(volume_gradient, 1e-12)
        # Scaled by the mean so that the bracket fits every objective and volume.
        gain = gain / (gain.mean() + 1e-30)

        def step(multiplier):
            return jnp.clip(design * (gain / multiplier) ** damping, low, high)

        def bisect(_, bracket):
            small, large = bracket
            middle = jnp.sqrt(small * large)
            change = (volume_gradient * (step(middle) - design)).sum()
            too_much = physical_volume + change > volume
            return jnp.where(too_much, middle, small), jnp.where(
                too_much, large, middle
            )

        one = jnp.ones((), design.dtype)
        small, large = lax.fori_loop(0, 50, bisect, (1e-8 * one, 1e8 * one))
        multiplier = jnp.sqrt(small * large)
        return step(multiplier), OcState(multiplier)

    return init, update


class Result(NamedTuple):
    """Outcome of an optimization.

    Attributes:
      density: physical (filtered, projected) density of the last design.
      value: objective at every step.
      volume: mean physical density at every step.
      iterations: conjugate-gradient iterations at every step, worst load.
    """

    density: Float[Array, "n n n"]
    value: Float[Array, "s"]
    volume: Float[Array, "s"]
    iterations: Float[Array, "s"]


def make_optimize(
    n: int,
    objective,
    *,
    steps: int = 60,
    radius: float = 2.0,
    betas: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0),
    penal: float = 3.0,
    void: float = 1e-4,
    nu: float = NU,
    tol: float = 1e-3,
    maxiter: int = 100,
    move: float = 0.2,
):
    """Return a jit-able `optimize(start, volume, params) -> Result`.

    Args:
      n: voxels per side of the octant.
      objective: `objective(params) -> (C -> value)`, a value to maximize whose
        sensitivity is positive.
      steps: design steps; the projection sharpens in equal stages of `betas`.
      radius: filter radius in voxels.
      betas: projection steepness of the stages.
      penal: SIMP exponent.
      void: void stiffness during optimization.
      nu: Poisson's ratio of the base material.
      tol: relative residual of the solves inside the loop.
      maxiter: most CG iterations of one solve.
      move: move limit of the OC update.
    """
    load_cases = boundary.loads("cubic")
    solver = homogenize.make_solver(n, "cubic", nu=nu)
    per_stage = -(-steps // len(betas))

    def physical(design, beta):
        return filters.project(filters.cone_filter(design, radius), beta)

    def optimize(start, volume, params):
        schedule = jnp.asarray(betas, start.dtype)
        goal = objective(params)
        init, update = optimality_criteria(volume, move)

        def evaluate(design, beta, fields):
            density = physical(design, beta)
            stiff = homogenize.modulus(density, void, penal)
            tensor, info = solver(stiff, tol=tol, maxiter=maxiter, fields=fields)
            return goal(tensor), info

        def step(carry, i):
            design, state, fields = carry
            beta = schedule[i // per_stage]
            (value, info), gradient = jax.value_and_grad(evaluate, has_aux=True)(
                design, beta, fields
            )
            filled, slope = jax.value_and_grad(lambda d: physical(d, beta).mean())(
                design
            )
            new, state = update(gradient, state, design, filled, slope)
            # Rounding would let the symmetry drift over the steps.
            new = symmetrize(new)
            record = (value, filled, info.iterations.max())
            return (new, state, info.fields), record

        m = load_cases.nodes(n)
        fields = jnp.zeros((2, 3, m, m, m), start.dtype)
        carry = (start, init(start), fields)
        (design, _, _), (value, filled, iterations) = lax.scan(
            step, carry, jnp.arange(steps)
        )
        return Result(physical(design, schedule[-1]), value, filled, iterations)

    return optimize
