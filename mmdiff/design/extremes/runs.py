"""The search of a quest: starts optimized, the best cell varied.

Every result is kept in a file of its own below the state of the run, with the number of
finite-element solutions that it took.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import starts
from mmdiff.design.extremes.quest import Extreme, Quest, Shape
from mmdiff.design.extremes.starts import Setup
from mmdiff.design.extremes.variants import VariantPlan, varied
from mmdiff.design.optimize import resumable
from mmdiff.design.optimize.method import RunSpec
from mmdiff.run import console
from mmdiff.typing import Float, Key


def search(
    quest: Quest,
    rows: Sequence[int],
    key: Key,
    setup: Setup,
    plan: VariantPlan | None = None,
) -> tuple[list[Extreme], float | None]:
    """Return the records of a quest, and how much of its best cell comes back.

    Records are those of all starts and of variants; what comes back is the share of
    its voxels from its noise, None where it was not varied (no plan). The rows are edge
    cells of the dataset, see `edges.edge_rows`, the key that of samples and variants.
    """
    begun = starts.make_starts(quest, rows, key, setup)
    total = sum(grid is not None for _, grid in begun) * setup.spec.settings.steps
    with console.progress(f"{quest.name}, design steps", total) as advance:
        tools = setup.spec, setup, advance
        found = [
            start if grid is None else run(quest, start, grid, *tools)
            for start, grid in begun
        ]
    best, returned = extreme.best(quest, found), None
    if best is None:
        console.note(
            f"{quest.name}: none of {len(found)} starts gave the cell that was asked "
            "for. Try more `steps` or `num_starts`."
        )
        return found, returned
    if plan is not None:
        more, returned = _variants(quest, best, key, setup, plan)
        found += more
    return found, returned


def _variants(quest, best, key, setup, plan) -> tuple[list[Extreme], float]:
    """Return variants of the best cell, and the share of it that comes back."""
    key, network = jax.random.fold_in(key, 1), setup.network
    found, returned = varied(quest, best, key, setup.state, network, plan)
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
    setup: Setup,
    advance: Callable[..., None],
) -> Extreme:
    """Return a start, of the density `grid`, with its result of the design loop."""
    outcome = resumable.tracked(
        grid,
        dataclasses.replace(spec, limits=quest.limits),
        name=begun.name,
        label=begun.name,
        folder=setup.folder,
        advance=advance,
        show=lambda line: f"{line['value']:.4f}",
    )
    constants = np.where(outcome.converged, outcome.constants, np.nan)
    shape = Shape(outcome.psi, constants)
    return dataclasses.replace(
        begun,
        after=shape,
        flaws=extreme.flaws(quest, shape),
        steps=outcome.steps,
        solutions=outcome.steps + int(outcome.solutions),
    )
