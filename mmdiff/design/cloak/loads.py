"""Load cases of a cloak: given displacements of some faces, forces on others."""

import dataclasses

import numpy as np

from mmdiff.fem import structure
from mmdiff.fem.cubic import Shape
from mmdiff.typing import Bool, Float


@dataclasses.dataclass(frozen=True, eq=False)
class LoadCase:
    """Loads with the same fixed dofs, and their symmetry.

    Attributes:
      name: of the loads.
      fixed: (3, X, Y, Z) dofs whose displacement is given.
      values: (l, 3, X, Y, Z) the displacements, in element edges.
      forces: (l, 3, X, Y, Z) nodal forces, base E = 1.
      mirrors: whether the plane x = 0 is one of symmetry, as y = 0 and z = 0 are of
        all load cases.
      swaps: whether x and y may be exchanged.
    """

    name: str
    fixed: Bool[np.ndarray, "3 X Y Z"]
    values: Float[np.ndarray, "l 3 X Y Z"]
    forces: Float[np.ndarray, "l 3 X Y Z"]
    mirrors: bool = True
    swaps: bool = False


def pulled(shape: Shape) -> LoadCase:
    """Return one load: one face normal to x is held, its opposite pulled.

    The traction is uniform and a tenth of the base material's Young's modulus; all
    other faces are free. Everything is linear, so that its size is of no account.
    """
    nodes = (3, *(n + 1 for n in shape))
    fixed = np.zeros(nodes, bool)
    fixed[:, 0] = True
    forces = np.zeros((1, *nodes))
    lines = [np.ones(n + 1) for n in shape[1:]]
    for line in lines:
        line[[0, -1]] = 0.5
    forces[0, 0, -1] = 0.1 * np.outer(*lines)
    return LoadCase("pull", fixed, np.zeros_like(forces), forces, mirrors=False)


def gripped(shape: Shape) -> LoadCase:
    """Return the load of a slab: its faces normal to x are held and moved apart.

    Those normal to z stay in their planes, those normal to y are free.
    """
    values = structure.affine(shape)[:1]
    fixed = np.zeros(values.shape[1:], bool)
    fixed[:, [0, -1]] = True
    fixed[2, :, :, [0, -1]] = True
    return LoadCase("grips", fixed, values, np.zeros_like(values))


def strained(shape: Shape) -> LoadCase:
    """Return six loads: all faces are moved as the unit strains move them.

    In a homogeneous body the strain is uniform then.
    """
    values = structure.affine(shape)
    free = np.zeros_like(values)
    return LoadCase("strains", structure.faces(shape), values, free, swaps=True)


LOADS = {"pull": pulled, "strains": strained}  # those of boxes, by name
