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
from mmdiff.cells.symmetry import symmetrize
from mmdiff.design.generate import fem_guidance
from mmdiff.diffusion.guidance import posterior_step
from mmdiff.elasticity import NU
from mmdiff.models.regressor import make_regress
from mmdiff.typing import Array, Float

# Before the first of these times the estimate is no use, after the second the shape is
# settled.
FIRST, LAST = fem_guidance.FIRST, 0.3
SHARPEN = 3.0  # the network knows binary cells: log-odds are multiplied by this

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
    longest: float = 1.0,
    first: float = FIRST,
    last: float = LAST,
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `guide(x0, t, goal) -> x0`, traceable, as `make_fem_guidance` does.

    Each step moves an estimate in log-odds by the least change that cancels the
    residual to first order, see `posterior_step`, and no voxel by more than `longest`:
    the network is trusted near its training cells.
    `longest` is of half the log-odds, `count` the steps per call, and `params` and
    `meta` are of the regressor. Before `first` and after `last` nothing is moved.
    """
    regress = make_regress(params, meta)

    def properties(x0: Float[Array, "b n n n"]):
        # C11, C12, C44 and V of estimates.
        x0 = jnp.clip(x0, -fem_guidance.SOFTEST, fem_guidance.SOFTEST)
        x = jnp.tanh(SHARPEN * jnp.arctanh(x0))
        constants, _ = regress(x)
        volume = 0.5 * (1 + x.mean((1, 2, 3)))
        return jnp.concatenate([constants, volume[:, None]], -1)

    def step(_, x0, goal):
        x0 = jnp.clip(x0, -fem_guidance.SOFTEST, fem_guidance.SOFTEST)
        values, pull = jax.vjp(properties, x0)
        # Examples do not see each other: one pull-back serves the whole batch.
        units = jnp.eye(4, dtype=x0.dtype)[:, None]
        units = jnp.broadcast_to(units, (4, *values.shape))
        rows = symmetrize(jax.vmap(pull)(units)[0])

        def move(x0, values, rows, goal):
            off = residual(values, goal)
            slope = -jax.jacfwd(lambda v: residual(v, goal))(values)
            jacobian = jnp.einsum("kc,cxyz->kxyz", slope, rows)
            return posterior_step(
                x0, off, jacobian, longest=longest, softest=fem_guidance.SOFTEST
            )

        return jax.vmap(move, (0, 0, 1, 0))(x0, values, rows, goal)

    def guide_batch(x0, t, goal):
        goal = jnp.broadcast_to(goal, (len(x0), len(fem_guidance.NAMES)))
        return lax.cond(
            (t <= first) & (t >= last),
            lambda x0: lax.fori_loop(0, count, lambda i, x: step(i, x, goal), x0),
            lambda x0: x0,
            x0,
        )

    return guide_batch
