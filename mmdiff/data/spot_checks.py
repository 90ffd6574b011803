"""Labels against a finer grid: a hundredth of the cells is homogenized once more.

The check has as many elements along the octant as the field has samples, and twice as
many, and their limit (`fem.accuracy`) is taken for the truth; labels may come from
coarser grids. What a label is off is compared with the uncertainty that it states.
What is one voxel thick in these cells is counted beside.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmdiff.cells import surface, voxels
from mmdiff.data import store, tables
from mmdiff.fem import accuracy
from mmdiff.typing import Float, Int

SHARE = 0.01  # of the cells


class SpotChecks(NamedTuple):
    """Labels of some cells, and their tensors from the finer grid."""

    ids: list[int]
    stored: Float[np.ndarray, "k 3"]
    uncertainty: Float[np.ndarray, "k 3"]
    fine: Float[np.ndarray, "k 3"]
    thin: Float[np.ndarray, "k"]  # `voxels.thin_share` with a voxel for each sample
    seconds: float  # of a cell, compilation left out where there are several


def choose(able: Int[np.ndarray, "N"], share: float = SHARE) -> Int[np.ndarray, "k"]:
    """Return a share of some cells, evenly spread over their list; one at least."""
    count = min(max(round(share * len(able)), 1), len(able))
    return able[np.linspace(0, len(able) - 1, count).round().astype(int)]


def spot_check(
    labels: store.Labels,
    index: Sequence[int] | Int[np.ndarray, "k"],
    *,
    estimate: Callable[..., accuracy.Estimate] = accuracy.estimate,
    on_cell: Callable[[], None] = lambda: None,
) -> SpotChecks:
    """Return labels, finer tensors and thin parts of the cells of the given numbers.

    The finite elements have the void of the dataset and the usual tolerance; `on_cell`
    is called after each cell.
    """
    base = store.read_layout(labels.root)["base"]
    solver = {name: base[name] for name in ("void", "nu")}
    index = np.asarray(index, int)
    fine, thin, seconds = np.empty((len(index), 3)), np.empty(len(index)), []
    for row, i in enumerate(index):
        start = time.perf_counter()
        psi = labels.fields([i])[0]
        fine[row] = estimate(psi, **solver).constants
        thin[row] = voxels.thin_share(surface.voxels(psi, labels.n))
        seconds.append(time.perf_counter() - start)
        on_cell()
    records = [labels.records[i] for i in index]
    return SpotChecks(
        ids=[record["id"] for record in records],
        stored=labels.constants[index],
        uncertainty=np.array([record["uncertainty"] for record in records]),
        fine=fine,
        thin=thin,
        seconds=float(np.median(seconds)),
    )


def summary(checks: SpotChecks) -> list[dict]:
    """Return median, 90th percentile and most of what labels are off, see `tables`."""
    return tables.spread(tables.deviation(checks.stored - checks.fine, checks.fine))


def within(checks: SpotChecks) -> float:
    """Return the share of constants that are off by no more than their uncertainty."""
    return float((abs(checks.stored - checks.fine) <= checks.uncertainty).mean())
