"""Cells that fit a body: cells of a dataset with the outermost layer of another.

Homogenized constants are those of a cell among its like. Where the faces of neighbours
do not fit, the walls of one end in the void of the other and a structure is far softer
than its tensors promise. So every cell of the pool gets the outermost layer of voxels
of the body's cell, on all faces, and its constants are computed anew: all faces that
touch are equal then. Cells that this leaves in pieces are not taken.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.connectivity import clean_octant, spanning_axes
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import pack
from mmdiff.data import select, space
from mmdiff.design.cloak.resolved import shrunk
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import Float, Int, UInt8

BODY, SOLID = -1, -2  # numbers of the cells that are none of the dataset
ISOTROPY = 0.01  # of Zener's ratio
SAMPLE = 100  # cells by which bodies are judged


class Pool(NamedTuple):
    """Cells to choose from; the last one is the body's.

    Attributes:
      octants: (N, n, n, n) of 0 and 1.
      constants: (N, 3) C11, C12, C44, base E = 1.
      number: (N,) of the cell of the dataset that each was; `SOLID` for the one that
        is solid but for its faces, `BODY` for the body's.
    """

    octants: UInt8[np.ndarray, "N n n n"]
    constants: Float[np.ndarray, "N 3"]
    number: Int[np.ndarray, "N"]


def joined(octant: np.ndarray, body: np.ndarray) -> np.ndarray | None:
    """Return an octant with the outermost layer of another; None if it falls apart.

    Loose pieces inside are left out.

    Args:
      octant: (n, n, n) of 0 and 1, cubic.
      body: (n, n, n) the same, whose layer it gets.
    """
    octant = np.array(octant, np.uint8)
    for axis in range(3):
        layer = (slice(None),) * axis + (0,)
        octant[layer] = body[layer]
    kept, _, _ = clean_octant(octant)  # one piece
    whole = np.array_equal(kept[0], body[0])
    return kept if whole and all(spanning_axes(octant_to_cell(kept))) else None


def isotropic_body(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
    candidates: Sequence[np.ndarray],
    evaluate: Callable[[np.ndarray], Evaluation],
) -> np.ndarray:
    """Return the octant of the best isotropic cell for a body.

    Of those within `ISOTROPY` of Zener's ratio 1, or the most isotropic if none is, and
    of those again that nearly as many cells fit as any, the softest: what hides a hole
    is stiffer than the body, which leaves more room around a soft one.

    Args:
      data: octants, constants and volume of the cells of a dataset.
      candidates: octants (n, n, n), at least one.
      evaluate: finite elements on one octant.
    """
    octants, constants, volume = data
    known = np.stack([evaluate(octant).constants for octant in candidates])
    off = abs(np.log(elasticity.moduli(known)["zener"]))
    rows = np.flatnonzero(off <= max(np.log1p(ISOTROPY), off.min()))
    n = len(candidates[0])
    some = [shrunk(octants[row], n) for row in _order(constants, volume)[:SAMPLE]]
    fit = np.array(
        [
            sum(joined(octant, candidates[row]) is not None for octant in some)
            for row in rows
        ]
    )
    rows = rows[fit >= 0.9 * fit.max()]
    return candidates[rows[np.argmin(known[rows, 0])]]


def make_pool(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
    body: np.ndarray,
    evaluate: Callable[[np.ndarray], Evaluation],
    *,
    most: int,
    advance: Callable[[], None] = lambda: None,
) -> Pool:
    """Return cells spread over property space, with the faces of the body.

    Args:
      data: octants, constants and volume of the cells of a dataset.
      body: (n, n, n) octant of the body's cell, n dividing the side of the dataset's,
        which are made as small first.
      evaluate: finite elements on one octant, `mmdiff.topopt.interface.make_evaluate`.
      most: cells of the dataset that are taken, if so many stay whole.
      advance: called after every one.
    """
    found = {}
    for number, octant in _fitting(data, body):
        key = pack(octant[None]).tobytes()
        if key in found:
            continue
        result = evaluate(octant)
        if not result.converged:
            continue
        found[key] = (octant, result.constants, number)
        advance()
        if len(found) == most + 1:  # and the solid
            break
    octants, constants, numbers = zip(
        *found.values(), (body, evaluate(body).constants, BODY), strict=True
    )
    return Pool(
        np.stack(octants).astype(np.uint8), np.stack(constants), np.array(numbers)
    )


def _fitting(data, body) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the solid, then cells that stay whole, the bins of property space in turn.

    The order does not depend on how many are taken.
    """
    octants, constants, volume = data
    solid = joined(np.ones_like(body), body)
    if solid is not None:
        yield SOLID, solid
    for row in _order(constants, volume):
        octant = joined(shrunk(octants[row], len(body)), body)
        if octant is not None:
            yield int(row), octant


def _order(constants, volume):
    index = space.bin_index(constants, volume)
    return select.uniform_order(np.random.default_rng(0), index)
