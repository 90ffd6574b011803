"""Fields of a solved cell, for pictures and for finding where it works hardest.

A solve leaves the fluctuation of every load; macro strain and fluctuation together give
the strain energy of each voxel. Energies are even under mirrors, so those of an octant
are reflected like its densities. Nothing here is differentiated or solved.
"""

import jax.numpy as jnp
from jax import lax

from mmdiff.elasticity import NU
from mmdiff.fem import boundary, element, operator
from mmdiff.symmetry import octant_to_cell
from mmdiff.typing import Array, Float


def strain_energy(
    modulus: Float[Array, "n n n"],
    fields: Float[Array, "l 3 m m m"],
    *,
    symmetry: str,
    nu: float = NU,
) -> Float[Array, "l n n n"]:
    """Return the strain energy density of every voxel under each unit macro strain.

    w = E x^T K0 x / 2 with x = macro + fluctuation; its mean over the cell is C_ii / 2
    of the load i.

    Args:
      modulus: Young's moduli of the elements, octant or cell as it was solved.
      fields: `Info.fields` of that solve, in voxel edges.
      symmetry: "cubic" (loads 11 and 23), "orthotropic" or "periodic" (six loads).
      nu: Poisson's ratio of the base material.
    """
    load_cases = boundary.loads(symmetry)
    macro = jnp.asarray(element.macro_modes(load_cases.strain), modulus.dtype)

    def energy(x, macro):
        flat = [mode for c in range(3) for mode in operator.modes(x[c])]
        strain = [f + macro[i] for i, f in enumerate(flat)]
        return 0.5 * modulus * operator.element_energy(strain, strain, nu)

    # One load after the other: the 24 modes of a single one are memory enough.
    fields = boundary.extend(fields, load_cases)
    return lax.map(lambda load: energy(*load), (fields, macro))


def on_cell(field: Float[Array, "l n n n"], symmetry: str) -> Float[Array, "l m m m"]:
    """Return a mirror-even field of a solve on the whole cell."""
    return field if symmetry == "periodic" else octant_to_cell(field)
