"""Strain energies of a solved cell, for one load or between two.

A solve leaves fluctuations; macro strain and fluctuation together make the strain x of
every element, and e = x_i^T K0 x_j is its energy for a modulus of one. The effective
tensor, its sensitivity and the energy fields for output are all made of these.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import element, operator
from mmdiff.typing import Array, Float


def total_modes(x: Float[Array, "3 m m m"], macro: Float[Array, "24"]) -> list[Array]:
    """Return the 24 modes (n, n, n) of macro strain and fluctuation together.

    The macro part is added to the modes and not to the nodes, where its large numbers
    would round the fluctuation.
    """
    flat = [mode for c in range(3) for mode in operator.modes(x[c])]
    return [f + macro[i] for i, f in enumerate(flat)]


def pair_energies(
    fields: Float[Array, "l 3 m m m"],
    strain: Float[np.ndarray, "l 6"],
    pairs: tuple[tuple[int, int], ...],
    nu: float,
) -> Float[Array, "p n n n"]:
    """Return x_i^T K0 x_j of every element for pairs (i, j) of loads.

    Args:
      fields: fluctuations on (n + 1)^3 nodes, in voxel edges.
      strain: macro strains of the loads in Voigt order, engineering shear.
      pairs: load numbers.
      nu: Poisson's ratio of the base material.
    """
    macro = jnp.asarray(element.macro_modes(strain), fields.dtype)

    # Derivatives keep the fields and make the 48 modes again.
    @jax.checkpoint
    def energy(fields, i, j):
        x, y = (total_modes(fields[k], macro[k]) for k in (i, j))
        return operator.element_energy(x, y, nu)

    # One pair after the other: their modes are memory enough, and compiled only once.
    first, second = jnp.asarray(pairs, jnp.int32).T
    return lax.map(lambda pair: energy(fields, *pair), (first, second))
