"""The search for cells that meet a target: batches of samples, the best refined.

Samples are made binary, homogenized, and ranked by their distance from the target and,
at a price, from its volume. The best are refined until they meet it. Samples that are
not one piece, load bearing and verified are counted and replaced by new ones, and so
are, to a number, cells that stay far from the target. With a time budget this goes on
until the budget is used or every cell meets the target.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable

import jax
import numpy as np

from mmdiff.design.generate.cell import Cell, binarize, make_cell
from mmdiff.design.generate.refine import FAR, goal
from mmdiff.targets.target import Target
from mmdiff.topopt import interface
from mmdiff.topopt.interface import Evaluation
from mmdiff.typing import Key

ROUNDS = 4  # batches of samples drawn before giving up


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be drawn and refined.

    Attributes:
      rounds: most batches of samples; of no account with a time budget.
      spare: most cells to refine in place of those that stay far from the target,
        where another one shows that it can be met.
      time_left: whether some is left of a time budget; asked before each batch but the
        first and before each cell to refine. None for no budget.
    """

    rounds: int = ROUNDS
    spare: int = 0
    time_left: Callable[[], bool] | None = None


def search(
    key: Key,
    target: Target,
    *,
    draw: Callable,
    evaluate: Callable[..., Evaluation],
    num_best: int,
    refine: Callable[[Cell, Target], Cell] | None = None,
    price: float = 0.0,
    budget: Budget = Budget(),
) -> tuple[list[Cell], dict[str, int]]:
    """Return the `num_best` best cells for a target and counts of the samples.

    `draw(key, target)` gives fields (b, n, n, n) and `evaluate` the finite elements on
    one octant. `refine` makes a cell meet the target; without it cells come as sampled.
    `price` is the error that a unit of volume off is worth, see `interface.cost`.
    """
    counts = collections.Counter()
    waiting, done, seen = [], [], set()
    spare, timed = budget.spare, budget.time_left is not None
    near = goal(target) if timed else FAR * goal(target)

    def cost(cell):
        return interface.cost(cell.error, cell.volume, target.volume, price)

    def met():
        return sum(cost(cell) <= near for cell in done)

    def ended():
        hopeless = not timed and len(done) >= num_best and not met()
        return met() >= num_best or hopeless

    for i in itertools.count():
        fields = np.asarray(draw(jax.random.fold_in(key, i), target))
        waiting += _verified(fields, target, evaluate, seen, counts)
        waiting.sort(key=cost)
        last = not timed and i + 1 == budget.rounds
        if not (timed or last or done) and len(waiting) < num_best:
            continue
        # Of each batch as many are refined as are returned in all, and the spare ones.
        most = num_best if timed else num_best + spare - len(done)
        for _ in range(most if refine else 0):
            if not waiting or ended() or (timed and not budget.time_left()):
                break
            done.append(refine(waiting.pop(0), target))
        used_up = not refine or len(done) >= num_best + spare
        if last or ended() or (not budget.time_left() if timed else used_up):
            return sorted(waiting + done, key=cost)[:num_best], dict(counts)


def _verified(fields, target, evaluate, seen, counts) -> list[Cell]:
    """Return the new, connected and converged cells of a batch; count the others."""
    cells = []
    counts["sampled"] += len(fields)
    for field in fields:
        octant, reason, pieces = binarize(field, target.volume)
        if not reason and octant.tobytes() in seen:
            reason = "duplicate"
        if not reason:
            seen.add(octant.tobytes())
            result = evaluate(octant)
            reason = "" if result.converged else "unconverged"
        if reason:
            counts[reason] += 1
        else:
            cells.append(make_cell(octant, result, target, pieces))
    return cells
