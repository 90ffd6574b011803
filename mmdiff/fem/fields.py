"""Displacement, strain and energy of a solved cell.

A solve leaves the fluctuation of every load in voxel edges. Macro strain and
fluctuation together make the strain x of every element, and e = x_i^T K0 x_j is its
energy for a coefficient of one: the effective tensor, its sensitivity and the fields of
files and pictures are all made of these. The fields of an octant are continued over its
cell: under a mirror a load is even or odd, and so are its fields.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.fem import boundary, element, stencil
from mmdiff.fem.brick import SOLID, UNIT, Brick, Edges
from mmdiff.typing import AnyArray, Array, Float

# Among the 8 modes of a component, those that are its slopes along x, y and z (times 4
# at the centre of the element).
SLOPES = (4, 2, 1)


def total_modes(x: Float[Array, "3 X Y Z"], macro: Float[Array, "24"]) -> list[Array]:
    """Return the 24 modes (nx, ny, nz) of macro strain and fluctuation together.

    The macro part is added to the modes and not to the nodes, where its large numbers
    would round the fluctuation.
    """
    flat = [mode for c in range(3) for mode in stencil.modes(x[c])]
    return [f + macro[i] for i, f in enumerate(flat)]


def pair_energies(
    fields: Float[Array, "l 3 X Y Z"],
    strain: Float[np.ndarray, "l 6"],
    pairs: tuple[tuple[int, int], ...],
    brick: Brick,
) -> Float[Array, "q p nx ny nz"]:
    """Return x_i^T K_k x_j of every element for pairs (i, j) of loads.

    For every unit coefficient k of the elements, and per volume. The fields are
    fluctuations at the nodes, images included, in the unit of the elements' edges; the
    strains are the macro strains of the loads in Voigt order, engineering shear.
    """
    macro = jnp.asarray(element.macro_modes(strain, brick.edges), fields.dtype)

    # Derivatives keep the fields and make the 48 modes again.
    @jax.checkpoint
    def energy(fields, i, j):
        x, y = (total_modes(fields[k], macro[k]) for k in (i, j))
        return stencil.element_energy(x, y, brick)

    # One pair after the other: their modes are memory enough, and compiled only once.
    first, second = jnp.asarray(pairs, jnp.int32).T
    total = lax.map(lambda pair: energy(fields, *pair), (first, second))
    return total if brick.volume == 1 else total / brick.volume


@functools.partial(jax.jit, static_argnames=("symmetry", "brick"))
def strain_energy(
    coefficients: Float[Array, "p nx ny nz"],
    fields: Float[Array, "l 3 X Y Z"],
    *,
    symmetry: str,
    brick: Brick = SOLID,
) -> Float[Array, "l nx ny nz"]:
    """Return the strain energy density of every voxel under each unit macro strain.

    w = x^T K x / 2 with x = macro + fluctuation, per volume; its mean over the cell is
    C_ii / 2 of the load i. Coefficients are those of the elements, octant or cell as it
    was solved; the fields are `Info.fields` of that solve.
    """
    load_cases = boundary.loads(symmetry)
    own = tuple((i, i) for i in range(len(load_cases.voigt)))
    fields = boundary.extend(fields, load_cases)
    energies = pair_energies(fields, load_cases.strain, own, brick)
    return 0.5 * (coefficients[None] * energies).sum(1)


@functools.partial(jax.jit, static_argnames=("symmetry", "edges"))
def strain(
    fields: Float[Array, "l 3 X Y Z"], *, symmetry: str, edges: Edges = UNIT
) -> Float[Array, "l 6 nx ny nz"]:
    """Return the strain at the centre of every element under each unit macro strain.

    Voigt order, engineering shear, from `Info.fields` of a solve of elements with these
    edges. The mean over the cell is the macro strain, but for "mixed" windows.
    """
    load_cases = boundary.loads(symmetry)
    macro = jnp.asarray(element.macro_modes(load_cases.strain, edges), fields.dtype)

    def one(load):
        x = total_modes(*load)
        slope = [
            [
                x[8 * c + mode] / (4 * edge)
                for mode, edge in zip(SLOPES, edges, strict=True)
            ]
            for c in range(3)
        ]
        shear = [slope[i][j] + slope[j][i] for i, j in element.VOIGT[3:]]
        return jnp.stack([*(slope[i][i] for i in range(3)), *shear])

    return lax.map(one, (boundary.extend(fields, load_cases), macro))


@functools.partial(jax.jit, static_argnames=("symmetry", "edges"))
def displacement(
    fields: Float[Array, "l 3 X Y Z"], *, symmetry: str, edges: Edges = UNIT
) -> Float[Array, "l 3 x y z"]:
    """Return the displacement at all nodes under each unit macro strain.

    In units of the cell's edge along x, from `Info.fields` of a solve of elements with
    these edges; the macro part has no rotation and vanishes at the first node.
    """
    load_cases = boundary.loads(symmetry)
    fields = boundary.extend(fields, load_cases)
    slopes = jnp.asarray(_macro_slopes(load_cases), fields.dtype)
    scale = jnp.asarray(edges, fields.dtype)[:, None, None, None]
    node = jnp.indices(fields.shape[2:], fields.dtype) * scale
    affine = jnp.einsum("lca,axyz->lcxyz", slopes, node, precision="highest")
    length = (fields.shape[2] - 1) * edges[0]
    octant = symmetry in boundary.OCTANTS
    return (fields + affine) / (2 * length if octant else length)


def on_cell(
    field: Float[AnyArray, "l nx ny nz"], symmetry: str
) -> Float[AnyArray, "l mx my mz"]:
    """Return a mirror-even field of a solve, as energies are, on the whole cell."""
    return octant_to_cell(field) if symmetry in boundary.OCTANTS else field


def strain_on_cell(
    field: Float[AnyArray, "l 6 nx ny nz"], symmetry: str
) -> Float[AnyArray, "l 6 mx my mz"]:
    """Return the strain (or stress) of a solve on the whole cell."""
    load_cases = boundary.loads(symmetry)
    if symmetry not in boundary.OCTANTS:
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
    field: Float[AnyArray, "l 3 x y z"], symmetry: str, *, edges: Edges = UNIT
) -> Float[AnyArray, "l 3 X Y Z"]:
    """Return the `displacement` of a solve at the nodes of the whole cell.

    The image of an octant under the mirror at x = 1/2 is moved on by the macro strain
    over a cell's edge, so that opposite faces differ by that and nothing else.
    """
    load_cases = boundary.loads(symmetry)
    if symmetry not in boundary.OCTANTS:
        return field
    length = [(n - 1) * edge for n, edge in zip(field.shape[2:], edges, strict=True)]
    fixed, slopes = load_cases.fixed(), _macro_slopes(load_cases)
    xp = np if isinstance(field, np.ndarray) else jnp
    for axis in range(3):
        sign = _column(xp, np.where(fixed[:, :, axis], -1, 1), field)
        jump = _column(xp, slopes[:, :, axis] * (length[axis] / length[0]), field)
        image = xp.flip(xp.delete(field, -1, axis + 2), axis + 2)
        field = xp.concatenate([field, sign * image + jump], axis + 2)
    return field


def _macro_slopes(load_cases):
    """Return the displacement gradients (l, 3, 3) of the macro strains."""
    modes = element.macro_modes(load_cases.strain).reshape(-1, 3, 8)
    return modes[:, :, SLOPES] / 4


def _column(xp, values, like):
    return xp.asarray(values, like.dtype)[:, :, None, None, None]
