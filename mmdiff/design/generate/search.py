"""The search for cells that meet a target: batches of samples, the best refined.

Samples become fields, are homogenized, and ranked by their distance from the target
and, at a price, from its volume. The best are refined until they meet it. Samples that
are not one piece, load bearing and verified, and cells that cannot be printed, are
counted and replaced by new ones, and so are, to a number, cells that stay far from the
target. With a time budget this goes on until the budget is used or every cell meets the
target.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from mmdiff.cells.grey import to_field
from mmdiff.design.generate.cell import Cell
from mmdiff.design.generate.refine import FAR, cost, goal
from mmdiff.targets.target import Target
from mmdiff.typing import Key

ROUNDS = 4  # batches of samples drawn before giving up


def in_turn(function: Callable) -> Callable[..., Iterator]:
    """Return what yields `function(item, *args)` of each item, one after the other."""
    return lambda items, *args: (function(item, *args) for item in items)


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be drawn and refined.

    Attributes:
      rounds: most batches of samples; of no account with a time budget.
      spare: most cells to refine in place of those that stay far from the target,
        where another one shows that it can be met.
      time_left: whether some is left of a time budget; asked before each batch but the
        first, and before each cell to refine once there is one. None for no budget.
    """

    rounds: int = ROUNDS
    spare: int = 0
    time_left: Callable[[], bool] | None = None


def search(
    key: Key,
    target: Target,
    *,
    draw: Callable,
    check: Callable[..., Iterable[Cell | None]],
    num_best: int,
    refine: Callable[..., Iterable[Cell]] | None = None,
    flaw: Callable[[Cell], str] = lambda cell: "",
    budget: Budget = Budget(),
) -> tuple[list[Cell], dict[str, int]]:
    """Return the `num_best` best cells for a target and counts of the samples.

    `draw(key, target)` gives arrays (b, n, n, n), `check(fields, target)` the verified
    cell of each field, None where it does not converge. `refine(cells, target)` makes
    cells meet the target, in their order; without it they come as sampled. What it does
    beyond what is wanted is left out: the outcome is that of `in_turn`, whatever is
    done side by side. `flaw` says why a cell is left out, "" for none.
    """
    counts = collections.Counter()
    waiting, done, seen = [], [], set()
    spare, timed = budget.spare, budget.time_left is not None
    near = goal(target) if timed else FAR * goal(target)

    def rank(cell):
        return cost(cell, target)

    def met():
        return sum(rank(cell) <= near for cell in done)

    def ended():
        hopeless = not timed and len(done) >= num_best and not met()
        return met() >= num_best or hopeless

    for i in itertools.count():
        samples = np.asarray(draw(jax.random.fold_in(key, i), target))
        fields = _new(samples, target, seen, counts)
        cells = [cell for cell in check(fields, target) if cell]
        counts["unconverged"] += len(fields) - len(cells)
        waiting += cells
        waiting.sort(key=rank)
        last = not timed and i + 1 == budget.rounds
        if not (timed or last or done) and len(waiting) < num_best:
            continue
        # Of each batch as many are refined as are returned in all, and the spare ones.
        most = num_best if timed else num_best + spare - len(done)
        stopped = not refine
        while most > 0 and waiting and not stopped:
            # So many are wanted anyway, or else one in place of another.
            batch = waiting[: max(min(num_best - len(done), most), 1)]
            refined = iter(refine(batch, target))
            for _ in batch:
                stopped = ended() or (timed and done and not budget.time_left())
                if stopped:
                    break
                cell = next(refined)
                waiting.pop(0)
                if reason := flaw(cell):
                    counts[reason] += 1
                else:
                    done.append(cell)
                    most -= 1
        used_up = not refine or len(done) >= num_best + spare
        if last or ended() or (not budget.time_left() if timed else used_up):
            best = done if refine else waiting
            return sorted(best, key=rank)[:num_best], dict(+counts)


def _new(samples, target, seen, counts) -> list[np.ndarray]:
    """Return the new and connected fields of a batch; count the others."""
    fields = []
    counts["sampled"] += len(samples)
    for sample in samples:
        psi, reason = to_field(sample, target.volume)
        if not reason and psi.tobytes() in seen:
            reason = "duplicate"
        if reason:
            counts[reason] += 1
        else:
            seen.add(psi.tobytes())
            fields.append(psi)
    return fields
