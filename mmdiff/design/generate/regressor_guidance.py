"""Classifier guidance: the sampler guided by the gradient of a trained regressor.

Where `mmdiff.design.generate.fem_guidance` takes the constants of an estimate from
finite elements, this takes them from `mmdiff.models.regressor`. The aim is the highest
K / K_HS, as in arXiv 2401.13570, or the values of a target. A network is no physics: it
can be led to where it is wrong, so cells are checked by finite elements afterwards, as
all are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.bounds import hashin_shtrikman
from mmdiff.cells.distance import CLIP
from mmdiff.cells.symmetry import symmetrize
from mmdiff.design.generate import fem_guidance
from mmdiff.diffusion.guidance import field_step
from mmdiff.elasticity import NU
from mmdiff.models.regressor import make_regress, volume_of
from mmdiff.typing import Array, Float

# Before the first of these times the estimate is no use, after the second the shape is
# settled.
FIRST, LAST = fem_guidance.FIRST, 0.3
LONGEST = 0.5  # spacings that a surface moves in a step, at most

# residual((C11, C12, C44, V), goal) -> (k,), NaN where free
Residual = Callable[..., Float[Array, "k"]]


def bulk_residual(
    values: Float[Array, "4"], goal: Float[Array, "9"], *, nu: float = NU
) -> Float[Array, "2"]:
    """Return 1 less K / K_HS, and the volume of the goal less that of the values.

    Of `goal` only the last entry counts, the volume, NaN where it is free.
    """
    bulk = (values[0] + 2 * values[1]) / 3
    ratio = bulk / hashin_shtrikman(values[3], nu)[0]
    return jnp.stack([1 - ratio, goal[-1] - values[3]])


def make_regressor_guidance(
    params: Any,
    meta: dict,
    *,
    residual: Residual = fem_guidance.residual,
    count: int = 2,
    longest: float = LONGEST,
    first: float = FIRST,
    last: float = LAST,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `guide(x0, t, goal) -> x0`, traceable, as `fem_guidance.FemGuidance` is.

    Each step moves an estimate by the smallest smooth change that cancels the residual
    to first order, see `field_step`, and no sample by more than `longest` spacings: the
    network is trusted near its training cells. `count` are the steps per call, and
    `params` and `meta` are of the regressor. Before `first` and after `last` nothing is
    moved.
    """
    regress = make_regress(params, meta)

    def properties(x0: Float[Array, "b n n n"]):
        # C11, C12, C44 and V of estimates.
        constants, _ = regress(x0)
        return jnp.concatenate([constants, volume_of(x0)[:, None]], -1)

    def step(_, x0, goal):
        values, pull = jax.vjp(properties, x0)
        # Examples do not see each other: one pull-back serves the whole batch.
        units = jnp.eye(4, dtype=x0.dtype)[:, None]
        units = jnp.broadcast_to(units, (4, *values.shape))
        rows = symmetrize(jax.vmap(pull)(units)[0])

        def move(x0, values, rows, goal):
            off = residual(values, goal)
            slope = -jax.jacfwd(lambda v: residual(v, goal))(values)
            jacobian = jnp.einsum("kc,cxyz->kxyz", slope, rows)
            return field_step(
                x0, off, jacobian, smooth=fem_guidance.smooth, longest=longest / CLIP
            )

        return jnp.clip(jax.vmap(move, (0, 0, 1, 0))(x0, values, rows, goal), -1, 1)

    def guide_batch(x0, t, goal):
        goal = jnp.broadcast_to(goal, (len(x0), len(fem_guidance.NAMES)))
        return lax.cond(
            (t <= first) & (t >= last),
            lambda x0: lax.fori_loop(0, count, lambda i, x: step(i, x, goal), x0),
            lambda x0: x0,
            x0,
        )

    return guide_batch
