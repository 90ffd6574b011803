"""The search of a quest: starts optimized, the best cell varied and doubled.

Every result is kept in a file of its own below the state of the run, with the number of
finite-element solutions that it took.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.data.dataset import Dataset
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import starts
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest
from mmdiff.design.extremes.starts import Start, StartCounts
from mmdiff.design.extremes.variants import VariantPlan, varied
from mmdiff.design.optimize import resumable
from mmdiff.design.optimize.method import Method, RunSpec, make_run_spec
from mmdiff.run import console
from mmdiff.topopt import binary
from mmdiff.topopt.optimize import FINE_STAGES
from mmdiff.topopt.problem import Limits
from mmdiff.typing import Float, Key


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """What the quests of a run share.

    Attributes:
      data: dataset of the edge cells.
      network: draws starts and variants.
      method: how designs are found.
      counts: how many starts of each kind.
      variants: which variants of the best cell; None for none.
      double: whether the best cell is optimized again at twice the resolution.
      folder: of the run.
    """

    data: Dataset
    network: Network
    method: Method
    counts: StartCounts
    variants: VariantPlan | None
    double: bool
    folder: pathlib.Path

    @functools.cached_property
    def spec(self) -> RunSpec:
        """The design loop, compiled once; each quest has limits of its own."""
        return make_run_spec(PROBLEM, Limits(math.nan), self.method)

    @functools.cached_property
    def fine_spec(self) -> RunSpec:
        """The same at twice the resolution, for cells that have their topology."""
        return make_run_spec(
            PROBLEM, Limits(math.nan), self.method.doubled(), FINE_STAGES
        )


def search(
    quest: Quest, rows: Sequence[int], key: Key, tools: Search
) -> tuple[list[Extreme], float | None]:
    """Return the records of a quest, and the share of its best cell that comes back.

    Args:
      quest: what is asked.
      rows: edge cells of the dataset, see `edges.edge_rows`.
      key: of samples and variants.
      tools: what all quests share.

    Returns:
      all starts, variants and the doubled cell; the share of the best cell's voxels
      that come back from its noise, None where it was not varied.
    """
    begun = starts.make_starts(
        quest,
        rows,
        tools.data,
        counts=tools.counts,
        network=tools.network,
        method=tools.method,
        key=key,
        state=tools.folder / "state",
    )
    found = _optimized(quest, begun, tools)
    best, returned = extreme.best(quest, found), None
    if best is None:
        console.note(
            f"{quest.name}: none of {len(found)} starts gave the cell that was asked "
            "for. Try more `steps` or `num_starts`."
        )
        return found, returned
    if tools.variants is not None:
        more, returned = _variants(quest, best, key, tools)
        found += more
    if tools.double:
        # Variants have the model's resolution, which may be half of it.
        n = tools.method.n
        full = [r for r in found if r.after and len(r.after.octant) == n]
        found.append(_doubled(quest, extreme.best(quest, full), tools))
    return found, returned


def _optimized(quest, begun: Sequence[Start], tools: Search) -> list[Extreme]:
    """Return the starts; those that have a density with their results."""
    total = sum(grid is not None for _, grid in begun) * tools.spec.steps
    with console.progress(f"{quest.name}, design steps", total) as advance:
        return [
            start
            if grid is None
            else run(quest, start, grid, tools.spec, tools.folder, advance)
            for start, grid in begun
        ]


def _doubled(quest, best: Extreme, tools: Search) -> Extreme:
    """Return the best cell, optimized again at twice the resolution."""
    begun = Extreme(quest.name, "doubled", 0, best.name, best.after)
    grid, spec = binary.doubled(best.after.octant), tools.fine_spec
    title = f"{quest.name}, design steps at {2 * grid.shape[0]}^3"
    with console.progress(title, spec.steps) as advance:
        return run(quest, begun, grid, spec, tools.folder, advance)


def _variants(quest, best: Extreme, key, tools: Search) -> tuple[list[Extreme], float]:
    """Return variants of the best cell, and the share of it that comes back."""
    plan, network = tools.variants, tools.network
    key = jax.random.fold_in(key, 1)
    found, returned = varied(quest, best, key, tools.folder / "state", network, plan)
    if not found and math.isnan(returned):
        console.note(f"{best.name} falls apart at {2 * network.n}^3: no variants.")
        return found, returned
    good, kept = sum(r.is_good for r in found), sum(r.kept for r in found)
    console.say(
        f"{quest.name}: {100 * returned:.2f} % of {best.name} come back from its "
        f"noise; of {len(plan.sizes)} variants {good} have what was asked; as good and "
        f"different enough to keep: {kept}"
    )
    return found, returned


def run(
    quest: Quest,
    begun: Extreme,
    grid: Float[np.ndarray, "n n n"],
    spec: RunSpec,
    folder: pathlib.Path,
    advance: Callable[..., None],
) -> Extreme:
    """Return a start with its result of the design loop.

    Args:
      quest: what is asked.
      begun: the start.
      grid: (n, n, n) its density.
      spec: of `PROBLEM`, with any limits.
      folder: of the run; states go to its folder "state".
      advance: moves the progress bar.
    """
    outcome = resumable.tracked(
        grid,
        dataclasses.replace(spec, limits=quest.limits),
        name=begun.name,
        label=begun.name,
        folder=folder,
        advance=advance,
        show=lambda line: f"{line['value']:.4f}",
    )
    shape = starts.solved(outcome.octant, outcome)
    return dataclasses.replace(
        begun,
        after=shape,
        flaws=extreme.flaws(quest, shape),
        steps=outcome.steps,
        solutions=outcome.steps + int(outcome.solutions),
    )
