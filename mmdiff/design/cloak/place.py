"""Cells made for their place: surfaces moved until they have designed constants.

Where no cell of a pool comes near to what was designed, one is made: places of nearly
the same constants share it. The nearest cell of the pool is moved by Newton steps on
its field, which leave the layer at its faces as it is, so that it still fits its
neighbours.
"""

import pathlib
from collections.abc import Callable

import numpy as np
from scipy.cluster import vq

from mmdiff.cells.grey import repaired
from mmdiff.design.cloak import pool as pools
from mmdiff.design.cloak.assign import nearest
from mmdiff.design.cloak.pool import Pool
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.fem import accuracy
from mmdiff.run import console, saved, workers
from mmdiff.topopt import move
from mmdiff.topopt.room import Widths
from mmdiff.typing import Float

MISS = 2e-3  # range error from which on a place gets a cell of its own
GOAL = 2e-4  # range error at which such a cell is good
ROUNDS, STEPS = 2, 6  # of the fine grid's shift, and of Newton in each
RIM = Widths(rim=2.0)


def range_error(
    constants: Float[np.ndarray, "k 3"], goal: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k"]:
    """Return the mean difference of constants over their ranges."""
    return (abs(constants - goal) / PAPER_RANGES).mean(1)


def targets(
    designed: Float[np.ndarray, "k 3"], constants: Float[np.ndarray, "N 3"], most: int
) -> Float[np.ndarray, "j 3"]:
    """Return constants of cells to be made: those designed that no known cell has.

    These are the places farther than `MISS` from the nearest, or the means of groups of
    them where there are more than `most`.
    """
    known = constants[nearest(constants, designed, 1)[:, 0]]
    missed = designed[range_error(known, designed) > MISS]
    if len(missed) <= most or not most:
        return missed[:most]
    scaled = missed / PAPER_RANGES
    means, _ = vq.kmeans2(scaled, most, minit="++", rng=np.random.default_rng(0))
    return np.unique(means[np.isfinite(means).all(1)], axis=0) * PAPER_RANGES


def make_unit() -> Callable[..., Pool]:
    """Return `unit(file, psi, number, goal) -> Pool` of the cell made, kept in a file.

    The pool is empty where no cell nearer to the goal than the first is found.
    """

    def unit(file, psi, number, goal):
        def new():
            found = moved(psi, goal)
            rows = [] if found is None else [(*found, number, True)]
            return pools.cells(rows)._asdict()

        made = Pool(**saved.once(file, new))
        workers.advance(1)
        return made

    return unit


def moved(
    psi: Float[np.ndarray, "n n n"], goal: Float[np.ndarray, "3"]
) -> tuple[np.ndarray, accuracy.Estimate] | None:
    """Return a field moved towards constants, its faces kept, and its estimate.

    Steps are taken on the coarse grid; what the fine one says more is added. None if
    they lead no nearer.
    """
    coarse, held = move.make_evaluate(psi.shape[-1] // 2), psi[:2]

    def repair(trial):  # a piece that is dropped must not touch the faces
        found = repaired(trial)
        return found if found is not None and (found[:2] == held).all() else None

    here = pools.evaluate(psi)
    best = None
    error = first = range_error(here.constants[None], goal[None])[0]
    for _ in range(ROUNDS):
        found = move.newton(
            psi,
            move.target_residual(goal),
            move.shifted(coarse, here.constants - here.coarse),
            steps=STEPS,
            goal=GOAL / 4,
            repair=repair,
            widths=RIM,
        )
        if found.psi is psi:
            break
        psi, here = found.psi, pools.evaluate(found.psi)
        error = range_error(here.constants[None], goal[None])[0]
        if here.converged and error < first:
            best, first = (psi, here), error
        if error < GOAL:
            break
    return best


def make_cells(
    pool: Pool,
    designed: Float[np.ndarray, "k 3"],
    *,
    most: int,
    folder: pathlib.Path,
    name: str,
    processes: int = 0,
) -> Pool:
    """Return a pool with cells made for designed constants, `most` of them at most.

    What is finished is kept in the folder, under the name.
    """
    goals = targets(designed, pool.constants, most)
    starts = nearest(pool.constants, goals, 1)[:, 0] if len(goals) else []
    units = [
        (folder / f"{name}_cell_{i:03d}.npz", pool.field(row), pool.number[row], goal)
        for i, (row, goal) in enumerate(zip(starts, goals, strict=True))
    ]
    with console.progress(f"{name}, cells for their place", len(units)) as advance:
        options = {"workers": processes, "on_advance": advance}
        done = dict(workers.run_units(make_unit, units, **options))
    made = [done[i] for i in range(len(units)) if len(done[i].number)]
    for one in made:
        pool = pool.with_cells(one)
    return pool
