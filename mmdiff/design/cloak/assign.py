"""Real cells for a cloak: which cell of a pool stands in which place.

Each class of places first gets the cell nearest to its designed constants; then cells
are exchanged for others of nearly the same constants, many at once, as the gradient of
the distortion promises, and exchanges that do not keep the promise are undone. What
counts is the distortion with the tensors of the cells themselves.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from mmdiff.design.cloak.model import Model
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.typing import Float, Int

CANDIDATES = 32  # nearest cells that one may be exchanged for


def nearest(
    constants: Float[np.ndarray, "N 3"],
    designed: Float[np.ndarray, "k 3"],
    count: int = CANDIDATES,
) -> Int[np.ndarray, "k c"]:
    """Return the rows of the cells nearest to designed constants in the range error."""
    count = min(count, len(constants))
    tree = cKDTree(constants / PAPER_RANGES)
    return tree.query(designed / PAPER_RANGES, count, p=1)[1].reshape(-1, count)


class Choice(NamedTuple):
    """Rows of the cells chosen; distortion with those nearest and with those chosen."""

    pick: Int[np.ndarray, "k"]
    nearest: Float[np.ndarray, "l"]
    distortion: Float[np.ndarray, "l"]


def choose(
    model: Model,
    designed: Float[np.ndarray, "k 3"],
    constants: Float[np.ndarray, "N 3"],
    *,
    steps: int,
    after: Callable[[int, np.ndarray], None] = lambda *known: None,
) -> Choice:
    """Return cells, of given constants, for the designed constants of the classes.

    `steps` is the most evaluations of the distortion; `after` is called with the number
    of each and its distortions.
    """
    options = nearest(constants, designed)
    rows = np.arange(len(designed))
    pick = options[:, 0]
    here = model.slope(constants[pick])
    first, share = here[1], 1.0
    barred = np.zeros(options.shape, bool)
    for step in range(1, steps):
        norm, _, gradient = here
        moved = constants[options] - constants[pick][:, None]
        gain = np.where(barred, 0, np.einsum("kci,ki->kc", moved, gradient))
        best = gain.argmin(1)
        promised = gain[rows, best]
        better = int((promised < 0).sum())
        if not better:
            break
        order = np.argsort(promised)[: max(1, int(share * better))]
        trial = pick.copy()
        trial[order] = options[order, best[order]]
        there = model.slope(constants[trial])
        if there[0] < norm:
            pick, here, share = trial, there, min(1.0, 1.5 * share)
            options, barred[:] = nearest(constants, constants[pick]), False
        elif len(order) > 1:
            share /= 2
        else:
            barred[order, best[order]] = True
        after(step, here[1])
    return Choice(pick, first, np.asarray(model.distortion(constants[pick])))
