"""A cloak of a slab resolved voxel by voxel, against what its tensors promise.

Every element of a slab, one cell thick, is replaced by the voxels of its cell, and the
same displacements are given to its faces. The mean displacement of the solid of each
cell is compared with that of the element; the latter with the tensors of the cells at
the resolution of the voxels, so that only the step from cells to tensors is judged.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.connectivity import clean_octant, is_load_bearing
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.cloak.model import Body, Test
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import element, structure
from mmdiff.typing import Float, Int

VOID = 1e-5  # modulus of void; the promise is made with the same
TOL = 1e-4


class Check(NamedTuple):
    """What the voxels say, each of a body with hole and one with hole and cloak.

    Attributes:
      promised: distortion outside by the tensors of the cells, mean displacements.
      resolved: the same by the voxels.
      difference: |u - u_promised| / |u_promised| over all cells but the hole.
      converged: whether all solves met their tolerance.
    """

    promised: tuple[float, float]
    resolved: tuple[float, float]
    difference: tuple[float, float]
    converged: bool


def shrunk(octant: np.ndarray, m: int) -> np.ndarray:
    """Return an octant of m voxels a side and nearly the same volume."""
    k = octant.shape[0] // m
    mean = octant.reshape(m, k, m, k, m, k).mean((1, 3, 5))
    return threshold_to_volume(mean, octant.mean())


def coarsened(octant: np.ndarray, m: int) -> np.ndarray | None:
    """Return the largest piece of a smaller octant; None if it carries no load."""
    coarse, _, _ = clean_octant(shrunk(octant, m))
    return coarse if is_load_bearing(coarse) else None


def voxels(octants: np.ndarray, label: Int[np.ndarray, "x y z"]) -> np.ndarray:
    """Return the solid of a body of cells, (x, y, z) times the edge of a cell.

    Args:
      octants: (N, n, n, n) of 0 and 1.
      label: number of the cell in every element, negative for none.
    """
    cells = np.stack([octant_to_cell(octant) for octant in octants])
    cells = np.concatenate([cells, np.zeros_like(cells[:1])])
    edge = cells.shape[1]
    solid = cells[np.where(label < 0, len(cells) - 1, label)]
    return solid.transpose(0, 3, 1, 4, 2, 5).reshape([edge * n for n in label.shape])


def check(
    where: Body,
    labels: tuple[Int[np.ndarray, "x y z"], ...],
    octants: np.ndarray,
    constants: Float[np.ndarray, "N 3"],
    make_test: Callable[[tuple[int, int, int]], Test],
) -> Check:
    """Return what became of a promise.

    Args:
      where: the slab.
      labels: number of the cell in every element, negative for none: of the body
        without a hole, with one, and with hole and cloak.
      octants: (N, n, n, n) the cells.
      constants: (N, 3) their constants, void of modulus `VOID`.
      make_test: the loads for a shape; displacements scale with it.
    """
    shape = where.hole.shape
    edge = 2 * octants.shape[1]
    fine = tuple(edge * n for n in shape)
    tensor = voigt_to_cubic(np.asarray(element.stiffness_tensor(NU), np.float64))
    table = np.concatenate([constants, np.zeros((1, 3))])

    def rough_fields():
        for label in labels:
            yield table[label], ~(label < 0)

    def fine_fields():
        for label in labels:
            solid = voxels(octants, label)
            yield np.where(solid[..., None] > 0, tensor, VOID * tensor), solid

    coarse, good = _means(shape, rough_fields(), make_test, 1)
    resolved, fine_good = _means(fine, fine_fields(), make_test, edge)
    resolved = [u / edge for u in resolved]  # in edges of a cell
    # Elements of which every node counts.
    nodes = where.outside
    far = np.ones(shape, bool)
    for x, y, z in element.CORNERS:
        far &= nodes[x : x + shape[0], y : y + shape[1], z : z + shape[2]]

    def distance(u, v, counts):
        return float(np.linalg.norm((u - v)[counts]) / np.linalg.norm(v[counts]))

    pairs = list(zip(resolved, coarse, strict=True))
    return Check(
        tuple(distance(u, coarse[0], far) for u in coarse[1:]),
        tuple(distance(u, resolved[0], far) for u in resolved[1:]),
        tuple(distance(u, v, ~where.hole) for u, v in pairs[1:]),
        good and fine_good,
    )


def _means(shape, fields, make_test, edge):
    """Return the mean displacement (x, y, z, 3) of each cell's solid, per field."""
    test = make_test(shape)
    displacement = jax.jit(structure.make_displacement(shape, test.fixed))
    loads = [jnp.asarray(a, jnp.float32) for a in (test.values, test.forces)]
    found, good = [], True
    for field, solid in fields:
        u, info = displacement(jnp.asarray(field, jnp.float32), *loads, tol=TOL)
        good &= bool(info.converged.all())
        u = np.asarray(u[0], np.float64)
        corners = [
            u[:, x : x + shape[0], y : y + shape[1], z : z + shape[2]]
            for x, y, z in element.CORNERS
        ]
        middle = np.moveaxis(sum(corners) / 8, 0, -1) * solid[..., None]
        blocks = [size for n in shape for size in (n // edge, edge)]
        total = middle.reshape(*blocks, 3).sum((1, 3, 5))
        count = np.reshape(solid, blocks).sum((1, 3, 5), dtype=float)
        found.append(total / np.maximum(count, 1)[..., None])
    return found, good
