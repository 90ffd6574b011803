"""Optimality criteria: the classical update of a design under one volume constraint.

Every variable is multiplied by a power of its gain, the fall of the objective per unit
of volume, over a multiplier that keeps the linearized volume: Bendsoe & Sigmund,
Topology Optimization (2003), Eq. 1.12. `Optimizer` is the interface of all design
updates here: minimize f(x) subject to g(x) <= 0 within bounds on x. For several
constraints, or gains of either sign, there is `mma`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from mmdiff.errors import InputError
from mmdiff.typing import Array, Float

BISECTIONS = 50  # of 16 decades: down to the last bit of float32, 1e-14 in float64


class Optimizer(NamedTuple):
    """A design update for: minimize f(x), g_j(x) <= 0 for j < k, x (m,) in a box.

    Attributes:
      init: `design (m,) -> state`, a pytree of arrays.
      update: `(gradient (m,), state, design (m,), constraints (k,), jacobian (k, m)) ->
        (design, state)`, with the gradient of f and the values and derivatives of g.
    """

    init: Callable
    update: Callable


class OcState(NamedTuple):
    """State of the OC update: nothing but the last multiplier."""

    multiplier: Float[Array, ""]


def optimality_criteria(
    *,
    move: float = 0.2,
    damping: float = 0.5,
    low: float = 0.001,
    high: float = 1.0,
) -> Optimizer:
    """Return the OC method for one constraint with positive derivatives.

    x_new = clip(x (gain / multiplier)^damping) within the move limit, where gain =
    max(-df/dx, 0) / (dg/dx) and bisection finds the multiplier that makes the
    linearized constraint an equality. Where this is out of reach within the move limit,
    the design comes as near to it as it can.

    `move` is the largest change of a variable per step; variables stay within `low`,
    which is positive as the update multiplies, and `high`.
    """

    def init(design):
        return OcState(jnp.ones((), design.dtype))

    def update(gradient, state, design, constraints, jacobian):
        if jacobian.shape[0] != 1:
            raise InputError(
                "optimality criteria take exactly one constraint, got a jacobian of "
                f"shape {jacobian.shape}; use mma for other problems."
            )
        share = jacobian[0]
        lowest = jnp.maximum(design - move, low)
        highest = jnp.minimum(design + move, high)
        gain = jnp.maximum(-gradient, 0) / jnp.maximum(share, 1e-12 * share.max())
        # Scaled by the mean so that the bracket fits every objective and constraint.
        gain = gain / jnp.where(gain.mean() > 0, gain.mean(), 1)
        raised = design * gain**damping

        def step(multiplier):
            return jnp.clip(raised / multiplier**damping, lowest, highest)

        def bisect(_, bracket):
            small, large = bracket
            middle = jnp.sqrt(small * large)
            change = jnp.dot(share, step(middle) - design, precision="highest")
            too_much = constraints[0] + change > 0
            return (
                jnp.where(too_much, middle, small),
                jnp.where(too_much, large, middle),
            )

        one = jnp.ones((), design.dtype)
        small, large = lax.fori_loop(0, BISECTIONS, bisect, (1e-8 * one, 1e8 * one))
        multiplier = jnp.sqrt(small * large)
        return step(multiplier), OcState(multiplier)

    return Optimizer(init, update)
