"""Real cells for a cloak: which cell of a dataset stands in which place.

The designed constants are those of no cell. Each class of places first gets the cell
nearest to its constants; then cells are exchanged for others of nearly the same
constants, many at once, as the gradient of the distortion and the fit of their faces to
those of their neighbours promise, and what does not keep the promise is taken back.
What counts is the distortion with the tensors of the cells themselves.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from mmdiff.design.cloak import Body, Model
from mmdiff.elasticity import NU, PAPER_RANGES
from mmdiff.fem import element
from mmdiff.typing import Float, Int

CANDIDATES = 32  # nearest cells that one may be exchanged for


class Palette(NamedTuple):
    """Cells to choose from; the last one is the reference.

    Attributes:
      constants: (N, 3) C11, C12, C44, base E = 1.
      faces: (N, f) voxels of the outer face, -1 or 1.
    """

    constants: Float[np.ndarray, "N 3"]
    faces: Float[np.ndarray, "N f"]


def with_solid(
    octants: np.ndarray,
    constants: Float[np.ndarray, "N 3"],
    volume: Float[np.ndarray, "N"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the arrays of a dataset with one cell more, the solid itself."""
    tensor = element.stiffness_tensor(NU)
    solid = tensor[[0, 0, 3], [0, 1, 3]]
    return (
        np.concatenate([octants, np.ones_like(octants[:1])]),
        np.concatenate([constants, solid[None]]),
        np.append(volume, 1.0),
    )


def palette(octants: np.ndarray, constants: np.ndarray, reference) -> Palette:
    """Return the cells of a dataset and the reference, an (octant, constants) pair.

    All six faces of a cubic cell are alike, so that one stands for all.
    """
    octant, own = reference
    solid = np.concatenate([octants[:, 0], octant[None, 0]]).reshape(
        len(octants) + 1, -1
    )
    faces = 2 * (solid > 0.5).astype(np.float32) - 1
    return Palette(np.concatenate([constants, np.asarray(own)[None]]), faces)


def touching(where: Body) -> sparse.csr_matrix:
    """Return how many faces elements of two classes share, as a share of all.

    Returns:
      (k, k + 1), a row for each class of the cloak; the last column is the reference.
      Its sum is 1: faces between elements of the cloak count from either side.
    """
    k = where.num_classes
    label = np.full(where.hole.shape, k)
    label[where.hole] = -1
    label[where.cloak] = where.index
    pairs = []
    for axis in range(3):
        a, b = (
            np.take(label, range(i, label.shape[axis] - 1 + i), axis).ravel()
            for i in (0, 1)
        )
        pairs += [(a, b), (b, a)]
    rows, columns = (np.concatenate(side) for side in zip(*pairs, strict=True))
    counts = (rows >= 0) & (rows < k) & (columns >= 0)
    rows, columns = rows[counts], columns[counts]
    ones = np.ones(len(rows))
    return sparse.coo_matrix((ones / len(rows), (rows, columns)), (k, k + 1)).tocsr()


def agreement(cells: Palette, touch: sparse.csr_matrix, pick: Int[np.ndarray, "k"]):
    """Return the mean share of equal voxels of faces that touch in a cloak."""
    return float((_wishes(cells, touch, pick) * cells.faces[pick]).sum() + 1) / 2


def _wishes(cells, touch, pick):
    """Return the mean faces (k, f) around each class, scaled to be multiplied."""
    every = np.append(pick, len(cells.faces) - 1)
    return touch @ cells.faces[every] / cells.faces.shape[1]


def nearest(constants, wanted, count: int = CANDIDATES) -> Int[np.ndarray, "k c"]:
    """Return the rows of the cells nearest in the range error, (k, c)."""
    count = min(count, len(constants))
    tree = cKDTree(constants / PAPER_RANGES)
    return tree.query(wanted / PAPER_RANGES, count, p=1)[1].reshape(-1, count)


class Choice(NamedTuple):
    """The cells chosen.

    Attributes:
      pick: (k,) their numbers.
      nearest: distortion (l,) with the cells that are nearest.
      distortion: (l,) with those chosen.
      nearest_agreement: mean share of equal voxels of touching faces, of the nearest.
      agreement: of those chosen.
    """

    pick: Int[np.ndarray, "k"]
    nearest: Float[np.ndarray, "l"]
    distortion: Float[np.ndarray, "l"]
    nearest_agreement: float
    agreement: float


def choose(
    model: Model,
    wanted: Float[np.ndarray, "k 3"],
    cells: Palette,
    touch: sparse.csr_matrix,
    *,
    steps: int,
    weight: float,
    after: Callable[[int, np.ndarray, float], None] = lambda *known: None,
) -> Choice:
    """Return real cells for the designed constants.

    The merit is log(distortion) - weight * agreement, to be small.

    Args:
      model: the body under its test.
      wanted: designed constants of the classes.
      cells: to choose from.
      touch: see `touching`.
      steps: most evaluations of the distortion.
      weight: of the agreement of the faces; 0 for cells chosen by stiffness alone.
      after: called with the number of evaluations, distortions and agreement.
    """
    # The reference itself is a cell like any other.
    options = nearest(cells.constants, wanted)
    rows = np.arange(len(wanted))

    def look(pick):
        norm, each, gradient = model.slope(cells.constants[pick])
        fit = agreement(cells, touch, pick)
        return np.log(norm) - weight * fit, each, gradient / norm, fit

    pick = options[:, 0]
    here = look(pick)
    first, share = here, 1.0
    barred = np.zeros(options.shape, bool)
    for step in range(1, steps):
        moved = cells.constants[options] - cells.constants[pick][:, None]
        gain = np.einsum("kci,ki->kc", moved, here[2])
        if weight:
            wish = _wishes(cells, touch, pick)
            fit = np.einsum("kcf,kf->kc", cells.faces[options], wish)
            # A face between two classes counts in both of their rows.
            gain -= weight * (fit - (cells.faces[pick] * wish).sum(1)[:, None])
        gain = np.where(barred, 0, gain)
        best = gain.argmin(1)
        promised = gain[rows, best]
        hopeful = int((promised < 0).sum())
        if not hopeful:
            break
        order = np.argsort(promised)[: max(1, int(share * hopeful))]
        trial = pick.copy()
        trial[order] = options[order, best[order]]
        there = look(trial)
        if there[0] < here[0]:
            pick, here, share = trial, there, min(1.0, 1.5 * share)
            options, barred[:] = nearest(cells.constants, cells.constants[pick]), False
        elif len(order) > 1:
            share /= 2
        else:
            barred[order, best[order]] = True
        after(step, here[1], here[3])
    return Choice(
        pick, first[1], np.asarray(model.distortion(cells.constants[pick])),
        first[3], here[3],
    )  # fmt: skip
