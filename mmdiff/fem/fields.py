"""Displacement, strain and energy of a solved cell, for files and pictures.

A solve leaves the fluctuation of every load in voxel edges. Here macro strain and
fluctuation are put together, and the fields of an octant are continued over its cell:
under a mirror a load is even or odd, and so are its fields.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.elasticity import NU
from mmdiff.fem import boundary, element
from mmdiff.fem.energy import pair_energies, total_modes
from mmdiff.typing import Array, Float

# Among the 8 modes of a component, those that are its slopes along x, y and z (times 4
# at the centre of the element).
SLOPES = (4, 2, 1)


@functools.partial(jax.jit, static_argnames=("symmetry", "nu"))
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
    own = tuple((i, i) for i in range(len(load_cases.voigt)))
    fields = boundary.extend(fields, load_cases)
    return 0.5 * modulus[None] * pair_energies(fields, load_cases.strain, own, nu)


@functools.partial(jax.jit, static_argnames="symmetry")
def strain(
    fields: Float[Array, "l 3 m m m"], *, symmetry: str
) -> Float[Array, "l 6 n n n"]:
    """Return the strain at the centre of every element under each unit macro strain.

    Voigt order, engineering shear. The mean over the cell is the macro strain.

    Args:
      fields: `Info.fields` of a solve, in voxel edges.
      symmetry: of that solve.
    """
    load_cases = boundary.loads(symmetry)
    macro = jnp.asarray(element.macro_modes(load_cases.strain), fields.dtype)

    def one(load):
        x = total_modes(*load)
        slope = [[x[8 * c + mode] / 4 for mode in SLOPES] for c in range(3)]
        return jnp.stack(
            [
                slope[i][j] if i == j else slope[i][j] + slope[j][i]
                for i, j in element.VOIGT
            ]
        )

    return lax.map(one, (boundary.extend(fields, load_cases), macro))


@functools.partial(jax.jit, static_argnames="symmetry")
def displacement(
    fields: Float[Array, "l 3 m m m"], *, symmetry: str
) -> Float[Array, "l 3 k k k"]:
    """Return the displacement at the (n + 1)^3 nodes under each unit macro strain.

    In units of the cell's edge; the macro part has no rotation and vanishes at the
    first node.

    Args:
      fields: `Info.fields` of a solve, in voxel edges.
      symmetry: of that solve.
    """
    load_cases = boundary.loads(symmetry)
    fields = boundary.extend(fields, load_cases)
    n = fields.shape[-1] - 1
    slopes = jnp.asarray(_macro_slopes(load_cases), fields.dtype)
    node = jnp.indices(3 * (n + 1,), fields.dtype)
    affine = jnp.einsum("lca,axyz->lcxyz", slopes, node, precision="highest")
    return (fields + affine) / (n if load_cases.periodic else 2 * n)


def on_cell(field: Float[Array, "l n n n"], symmetry: str) -> Float[Array, "l m m m"]:
    """Return a mirror-even field of a solve, as energies are, on the whole cell."""
    return field if symmetry == "periodic" else octant_to_cell(field)


def strain_on_cell(
    field: Float[Array, "l 6 n n n"], symmetry: str
) -> Float[Array, "l 6 m m m"]:
    """Return the strain (or stress) of a solve on the whole cell."""
    load_cases = boundary.loads(symmetry)
    if load_cases.periodic:
        return field
    odd = np.array(
        [[i != j and axis in (i, j) for axis in range(3)] for i, j in element.VOIGT]
    )
    load = odd[list(load_cases.voigt)]
    xp = np if isinstance(field, np.ndarray) else jnp
    for axis in range(3):
        sign = _column(xp, np.where(load[:, None, axis] ^ odd[:, axis], -1, 1), field)
        field = xp.concatenate([field, sign * xp.flip(field, axis + 2)], axis + 2)
    return field


def vectors_on_cell(
    field: Float[Array, "l 3 k k k"], symmetry: str
) -> Float[Array, "l 3 m m m"]:
    """Return the `displacement` of a solve at the nodes of the whole cell.

    The image of an octant under the mirror at x = 1/2 is moved on by the macro strain
    over a cell's edge, so that opposite faces differ by that and nothing else.
    """
    load_cases = boundary.loads(symmetry)
    if load_cases.periodic:
        return field
    fixed, slopes = load_cases.fixed(), _macro_slopes(load_cases)
    xp = np if isinstance(field, np.ndarray) else jnp
    for axis in range(3):
        sign = _column(xp, np.where(fixed[:, :, axis], -1, 1), field)
        jump = _column(xp, slopes[:, :, axis], field)
        image = xp.flip(xp.delete(field, -1, axis + 2), axis + 2)
        field = xp.concatenate([field, sign * image + jump], axis + 2)
    return field


def _macro_slopes(load_cases):
    """Return the displacement gradients (l, 3, 3) of the macro strains."""
    modes = element.macro_modes(load_cases.strain).reshape(-1, 3, 8)
    return modes[:, :, SLOPES] / 4


def _column(xp, values, like):
    return xp.asarray(values, like.dtype)[:, :, None, None, None]
