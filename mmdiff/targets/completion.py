"""Whole tensors for a target that leaves constants free.

A sampler that gets Poisson's ratio alone has to find the rest of the tensor on its way,
and mostly ends at a cell that is not in one piece. So the rest is settled before: it is
that of a training cell which nearly meets the target, changed by the least that makes
it meet the target exactly. The network knows such cells.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.linalg import multipliers
from mmdiff.targets import feasibility, quantities
from mmdiff.targets.target import Target
from mmdiff.typing import Array, Float

CHOICE = 4  # training cells near the target that are chosen from, for each sample
STEPS = 8  # Newton steps from a cell's tensor to one that meets the target
CLOSE = 1e-3  # error at which it does


def complete(
    target: Target, known: Float[np.ndarray, "N 4"], count: int, seed
) -> Float[np.ndarray, "count 4"]:
    """Return C11, C12, C44, V of several tensors that meet a target.

    Those of training cells (of `known` constants) among the nearest, drawn by `seed`,
    changed so that they meet the target, as far as this leaves them stable; where none
    of them is, as they were. The volume is that of the target or of these cells.
    """
    nearest = feasibility.training_distances(target, known).argsort(kind="stable")
    rows = known[nearest[: CHOICE * count]].astype(float)
    names, goals = zip(*target.asked, strict=True)
    moved = _meet(jnp.asarray(rows[:, :3], float), names, jnp.asarray(goals, float))
    moved = np.asarray(moved, float)
    off = abs(quantities.values(moved, names) - np.array(goals)[None])
    good = (off < CLOSE * quantities.scales(names)[None]).all(1)
    margins = elasticity.stability_margins(moved).values()
    good &= np.all([margin > 0 for margin in margins], axis=0)
    if good.any():
        rows = np.column_stack([moved, rows[:, 3]])[good]
    if target.volume is not None:
        rows[:, 3] = target.volume
    return np.random.default_rng(seed).choice(rows, count, replace=len(rows) < count)


@functools.partial(jax.jit, static_argnums=1)
def _meet(
    constants: Float[Array, "b 3"], names: tuple[str, ...], goals: Float[Array, "k"]
) -> Float[Array, "b 3"]:
    """Change constants by the least, in units of their size, to given quantities."""

    def meet(start):
        # C12, which may vanish, is as large as C11 here.
        size = jnp.stack([start[0], start[0], start[2]])

        def present(change):
            return quantities.values(start + size * change, names)

        def step(_, change):
            rows = jax.jacfwd(present)(change)
            return change + multipliers(rows @ rows.T, goals - present(change)) @ rows

        return start + size * jax.lax.fori_loop(0, STEPS, step, jnp.zeros(3))

    return jax.vmap(meet)(constants)
