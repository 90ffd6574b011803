"""A cloak of a slab resolved voxel by voxel, against what its tensors promise.

Every element of a slab, one cell thick, is replaced by the voxels of its cell, and the
same displacements are given to its faces. The mean displacement of the solid of each
cell is compared with that of the element; the latter with the tensors of the cells at
the resolution of the voxels, so that only the step from cells to tensors is judged.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.cloak.case import find
from mmdiff.design.cloak.geometry import Geometry, geometry, gripped
from mmdiff.design.cloak.model import make_model
from mmdiff.design.cloak.pool import Pool
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import element, structure
from mmdiff.run import console
from mmdiff.typing import Float, Int, UInt8

VOID = 1e-5  # modulus of void, of the voxels and of the cells' tensors
TOL = 1e-4


class Check(NamedTuple):
    """Tensors beside voxels, each of a body with hole and one with hole and cloak.

    Promised is the distortion of mean displacements outside by the tensors of the
    cells, the difference |u - u_promised| / |u_promised| over all cells but the hole.
    """

    promised: tuple[float, float]
    resolved: tuple[float, float]
    difference: tuple[float, float]
    converged: bool


def voxels(octants: np.ndarray, label: Int[np.ndarray, "x y z"]) -> np.ndarray:
    """Return the solid of a body of octants (N, n, n, n); negative labels are void."""
    cells = np.stack([octant_to_cell(octant) for octant in octants])
    cells = np.concatenate([cells, np.zeros_like(cells[:1])])
    edge = cells.shape[1]
    solid = cells[np.where(label < 0, len(cells) - 1, label)]
    return solid.transpose(0, 3, 1, 4, 2, 5).reshape([edge * n for n in label.shape])


def check_slab(column: str, pool: Pool, cells: int, **settings) -> dict:
    """Return settings and `Check` of a cloaked slab, one cell thick, as a mapping.

    The pool has void of modulus `VOID`, the slab so many cells along each edge; the
    settings are steps and exchanges of `case.find`.
    """
    shape = (cells, cells, 1)
    box, load_case = geometry(shape, column), gripped(shape)
    model = make_model(box, load_case)(pool.constants[-1])
    edge = 2 * pool.octants.shape[1]
    label = f"slab of {cells} x {cells} cells at {edge} voxels"
    _, choice = find(label, model, pool, box.num_classes, **settings)
    begun = time.perf_counter()
    last = len(pool.number) - 1
    hollow = np.where(box.hole, -1, last)
    labels = np.full(shape, last), hollow, box.rows(choice.pick, last)
    found = check(box, labels, pool.octants, pool.constants)
    if not found.converged:
        console.note("check: a displacement has not converged.")
    (_, promised), (before, after) = found.promised, found.resolved
    console.say(
        f"{label} each: distortion {100 * before:.2f} % without and {100 * after:.2f} "
        f"% with a cloak, by their tensors {100 * promised:.2f} %."
    )
    return {
        "cells": list(shape),
        "voxels along a cell": edge,
        "test": load_case.name,
        "column": column,
        "C11, C12, C44 of the body": pool.constants[-1].tolist(),
        "seconds": time.perf_counter() - begun,
    } | found._asdict()


def check(
    geometry: Geometry,
    labels: tuple[Int[np.ndarray, "x y z"], ...],
    octants: UInt8[np.ndarray, "N n n n"],
    constants: Float[np.ndarray, "N 3"],
) -> Check:
    """Return the distortion of a gripped slab by its cells' tensors and by voxels.

    Labels are the number of the cell in every element, negative for none: of the body
    without a hole, with one, and with hole and cloak. Constants: void of `VOID`.
    """
    shape = geometry.hole.shape
    edge = 2 * octants.shape[1]
    tensor = voigt_to_cubic(np.asarray(element.stiffness_tensor(NU), np.float64))
    table = np.concatenate([constants, np.zeros((1, 3))])

    def fine(solid):
        return np.where(solid[..., None] > 0, tensor, VOID * tensor), solid

    coarse, good = _means(shape, ((table[label], label >= 0) for label in labels), 1)
    fields = (fine(voxels(octants, label)) for label in labels)
    resolved, fine_good = _means(tuple(edge * n for n in shape), fields, edge)
    resolved = [u / edge for u in resolved]  # in edges of a cell
    # Elements of which every node counts.
    far = np.all(structure.corners(np.stack(3 * [geometry.outside])), 0)[0]

    def distance(u, v, counts):
        return float(np.linalg.norm((u - v)[counts]) / np.linalg.norm(v[counts]))

    return Check(
        tuple(distance(u, coarse[0], far) for u in coarse[1:]),
        tuple(distance(u, resolved[0], far) for u in resolved[1:]),
        tuple(distance(resolved[i], coarse[i], ~geometry.hole) for i in (1, 2)),
        good and fine_good,
    )


def _means(shape, fields, edge):
    """Return the mean displacement (x, y, z, 3) of each cell's solid, per field."""
    load_case = gripped(shape)
    displacement = jax.jit(structure.make_displacement(shape, load_case.fixed))
    given = [jnp.asarray(a, jnp.float32) for a in (load_case.values, load_case.forces)]
    found, good = [], True
    for field, solid in fields:
        u, info = displacement(jnp.asarray(field, jnp.float32), *given, tol=TOL)
        good &= bool(info.converged.all())
        centre = sum(structure.corners(np.asarray(u[0], np.float64))) / 8
        middle = np.moveaxis(centre, 0, -1) * solid[..., None]
        blocks = [size for n in shape for size in (n // edge, edge)]
        total = middle.reshape(*blocks, 3).sum((1, 3, 5))
        count = np.reshape(solid, blocks).sum((1, 3, 5), dtype=float)
        found.append(total / np.maximum(count, 1)[..., None])
    return found, good
