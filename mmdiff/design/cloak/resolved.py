"""A cloak of a slab resolved element by element, against what its tensors promise.

Every cell of a slab, one cell thick, is replaced by the solid shares of small elements,
and the same displacements are given to its faces. The mean displacement of the solid of
each cell is compared with that of the elements of its tensor. The slab and its load
have three mirror planes: an eighth is resolved.

Next to the hole and where unlike cells meet, cells do not deform as among their like.
What this adds to the displacements outside is taken into the next design (deferred
correction), so that tensors need to be right only in what changes.
"""

import pathlib
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.cloak.case import Case, find
from mmdiff.design.cloak.geometry import Geometry, LoadCase, geometry, gripped
from mmdiff.design.cloak.model import make_model
from mmdiff.design.cloak.pool import Pool
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem import element, structure
from mmdiff.run import console
from mmdiff.typing import Float, Int

VOID = 1e-5  # modulus of void
TOL = 1e-5


class Check(NamedTuple):
    """Tensors beside resolved cells: of a body with hole, and of one with cloak, too.

    Promised is the distortion of mean displacements outside by the tensors of the
    cells, the difference |u - u_promised| / |u_promised| over all cells but the hole;
    `offset` is what the mean displacements of resolved cells differ, with the cloak
    more than without hole and cloak, in edges of a cell.
    """

    promised: tuple[float, float]
    resolved: tuple[float, float]
    difference: tuple[float, float]
    converged: bool
    offset: Float[np.ndarray, "x y z 3"]


def shares(
    octants: Float[np.ndarray, "N m m m"], label: Int[np.ndarray, "x y z"]
) -> Float[np.ndarray, "X Y Z"]:
    """Return the solid shares of the elements of a body; negative labels are void."""
    cells = np.stack([octant_to_cell(octant) for octant in octants])
    cells = np.concatenate([cells, np.zeros_like(cells[:1])])
    edge = cells.shape[1]
    share = cells[np.where(label < 0, len(cells) - 1, label)]
    return share.transpose(0, 3, 1, 4, 2, 5).reshape([edge * n for n in label.shape])


def check_slab(
    column: str,
    reference: str,
    pool: Pool,
    shape: tuple[int, int, int],
    folder: pathlib.Path,
    *,
    elements: int,
    edge: int,
    corrections: int = 0,
    **settings: int,
) -> dict:
    """Return settings and `Check` of a cloaked slab, one cell thick, as a mapping.

    Args:
      column: a name of `geometry.COLUMNS`.
      reference: name of the body, whose pool this is.
      pool: cells to choose from; their constants on the resolving grid count.
      shape: cells along x, y and z.
      folder: where what is finished is kept.
      elements: along the edge of a cell, where it is its tensor.
      edge: elements along the edge of a cell that is resolved, see `Pool.grids`.
      corrections: how often the slab is designed again with what was resolved.
      **settings: of `case.find`.
    """
    begun = time.perf_counter()
    box = geometry(shape, column, elements=elements)
    load_case = gripped(tuple(elements * n for n in shape))
    make, offset, results = make_model(box, load_case), None, []
    pool = pool.on_grid(edge)
    for count in range(1 + corrections):
        # The name is that of the files.
        load_case = load_case._replace(name=f"grips_{shape[0]}_{count}")
        case = Case(column, reference, load_case, box, pool)
        found = find(case, make(pool.constants[-1], offset), folder, **settings)
        pool = found.pool.on_grid(edge)
        results.append(check(box, labels(box, found.choice.pick, pool), pool, edge))
        offset = at_nodes(results[-1].offset, elements)[None]
        _tell(results[-1], reference, shape, edge, count)
    best = min(results, key=lambda result: result.resolved[1])
    numbers = best._asdict()
    del numbers["offset"]
    return {
        "reference": reference,
        "cells": shape[0],
        "elements along a cell": edge,
        "elements along a cell's tensor": elements,
        "test": "grips",
        "column": column,
        "C11, C12, C44 of the body": pool.constants[-1].tolist(),
        "resolved after each design": [result.resolved[1] for result in results],
        "seconds": time.perf_counter() - begun,
    } | numbers


def _tell(result, reference, shape, edge, count):
    if not result.converged:
        console.note("check: a displacement has not converged.")
    (_, promised), (before, after) = result.promised, result.resolved
    console.say(
        f"slab of {shape[0]} x {shape[1]} cells of {edge} elements, {reference}, "
        f"{f'corrected {count} times' if count else 'first design'}: distortion "
        f"{100 * before:.2f} % without and {100 * after:.2f} % with a cloak, by their "
        f"tensors {100 * promised:.2f} %."
    )


def labels(geometry: Geometry, pick, pool: Pool) -> tuple[np.ndarray, ...]:
    """Return the rows of cells without a hole, with one, and with hole and cloak."""
    last = len(pool.number) - 1
    hollow = np.where(geometry.hole, -1, last)
    return np.full(hollow.shape, last), hollow, geometry.rows(pick, last)


def at_nodes(
    offset: Float[np.ndarray, "x y z 3"], elements: int
) -> Float[np.ndarray, "3 X Y Z"]:
    """Return what mean displacements of cells differ, at the nodes of their elements.

    It is linear between the middles of cells and zero on the gripped faces; in edges of
    the elements.
    """
    ends = np.zeros_like(offset[:1])
    values = np.concatenate([ends, offset, ends])
    for axis, size in enumerate(offset.shape[:3]):
        middles = np.arange(size) + 0.5
        known = np.concatenate([[0], middles, [size]]) if axis == 0 else middles
        nodes = np.arange(elements * size + 1) / elements
        values = np.apply_along_axis(
            lambda line, x=nodes, known=known: np.interp(x, known, line), axis, values
        )
    return elements * np.moveaxis(values, -1, 0)


def check(
    geometry: Geometry,
    labels: tuple[Int[np.ndarray, "x y z"], ...],
    pool: Pool,
    edge: int,
) -> Check:
    """Return the distortion of a gripped slab by tensors and by resolved cells.

    Labels are the row of the cell in every place, negative for none: of the body
    without a hole, with one, and with hole and cloak. Mirror images must be alike. A
    resolved cell has so many elements along its edge, an even number.
    """
    shape, coarse = geometry.hole.shape, geometry.elements
    promised, good = zip(
        *(_promised(shape, coarse, pool.constants, label) for label in labels),
        strict=True,
    )
    used = np.unique(np.concatenate([label.ravel() for label in labels]))
    used = used[used >= 0].tolist()
    octants = {row: surface.fractions(pool.field(row), edge // 2) for row in used}
    run = _resolver(shape, edge)
    resolved, fine_good = zip(*(run(octants, label) for label in labels), strict=True)
    # Cells of which every corner counts.
    every = (slice(None, None, coarse),) * 3
    outside = np.stack(3 * [geometry.outside[every]])
    far = np.all(structure.corners(outside), 0)[0]

    def distance(u, v, counts):
        return float(np.linalg.norm((u - v)[counts]) / np.linalg.norm(v[counts]))

    return Check(
        tuple(distance(u, promised[0], far) for u in promised[1:]),
        tuple(distance(u, resolved[0], far) for u in resolved[1:]),
        tuple(distance(resolved[i], promised[i], ~geometry.hole) for i in (1, 2)),
        all(good) and all(fine_good),
        resolved[2] - promised[2] - (resolved[0] - promised[0]),
    )


def _promised(shape, elements, constants, label):
    """Return the mean displacement of each cell by its tensor, and if it converged."""
    table = np.concatenate([constants, np.zeros((1, 3))])
    field = table[label]
    for axis in range(3):
        field = field.repeat(elements, axis)
    sizes = tuple(elements * n for n in shape)
    u, info = _displacement(sizes, gripped(sizes))(field)
    centre = sum(structure.corners(np.asarray(u[0], np.float64))) / 8
    return _means(centre, np.ones(sizes), elements), bool(info.converged.all())


def _resolver(shape, edge):
    """Return `run(octants, label) -> mean displacement of each cell's solid, good`.

    `octants` holds the solid shares of an octant's elements by the number of the cell.
    """
    sizes = tuple(edge * n for n in shape)
    half = tuple(size // 2 for size in sizes)
    tensor = voigt_to_cubic(np.asarray(element.stiffness_tensor(NU), np.float64))
    displacement = _displacement(half, gripped_eighth(half))

    def run(octants: Mapping[int, np.ndarray], label):
        rows = sorted(octants)
        numbers = np.where(label < 0, -1, np.searchsorted(rows, label))
        share = shares(np.stack([octants[row] for row in rows]), numbers)
        part = share[half[0] :, half[1] :, half[2] :]
        modulus = VOID + (1 - VOID) * part
        u, info = displacement(modulus[..., None] * tensor)
        centre = sum(structure.corners(np.asarray(u[0], np.float32))) / 8
        for axis in range(3):
            sign = np.where(np.arange(3) == axis, -1, 1).astype(np.float32)
            image = np.flip(centre, axis + 1) * sign[:, None, None, None]
            centre = np.concatenate([image, centre], axis + 1)
        return _means(centre, share, edge), bool(info.converged.all())

    return run


def gripped_eighth(shape: tuple[int, int, int]) -> LoadCase:
    """Return the load of `geometry.gripped` for the eighth at the high ends.

    The planes in which it ends on the other side are planes of symmetry.
    """
    x = np.arange(shape[0] + 1.0)[:, None, None]
    values = np.zeros((1, 3, *(n + 1 for n in shape)))
    values[0, 0] = x
    fixed = np.zeros(values.shape[1:], bool)
    fixed[:, -1] = fixed[0, 0] = fixed[1, :, 0] = True
    fixed[2, :, :, [0, -1]] = True
    return LoadCase("grips", fixed, values, np.zeros_like(values))


def _displacement(sizes, load_case):
    solve = jax.jit(structure.make_displacement(sizes, load_case.fixed))
    given = [jnp.asarray(a, jnp.float32) for a in (load_case.values, load_case.forces)]
    return lambda field: solve(jnp.asarray(field, jnp.float32), *given, tol=TOL)


def _means(centre, weight, edge):
    """Return the weighted mean (x, y, z, 3) of each cell's elements, in cell edges."""
    blocks = [size for n in weight.shape for size in (n // edge, edge)]
    total = (centre * weight).reshape(3, *blocks).sum((2, 4, 6), dtype=float)
    count = np.reshape(weight, blocks).sum((1, 3, 5), dtype=float)
    return np.moveaxis(total / np.maximum(count, 1e-9), 0, -1) / edge
