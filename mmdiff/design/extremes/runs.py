"""The search of a quest: starts optimized, the best cell varied.

Starts are units of work for all cores. Every result is kept in a file of its own below
the state of the run, with the number of finite-element solutions that it took.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import starts
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest, Shape
from mmdiff.design.extremes.starts import Setup
from mmdiff.design.extremes.variants import VariantPlan, varied
from mmdiff.design.optimize import resumable
from mmdiff.design.optimize.method import Method, make_run_spec
from mmdiff.run import console, workers
from mmdiff.topopt.problem import Limits
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
    found = [start for start, _ in begun]
    places = [i for i, (_, grid) in enumerate(begun) if grid is not None]
    steps = sum(stage.steps for stage in setup.method.settings().stages)
    prepare = functools.partial(make_unit, setup.method, setup.folder)
    title = f"{quest.name}, design steps"
    with console.progress(title, len(places) * steps) as advance:
        units = [(quest, *begun[i]) for i in places]
        options = {"workers": setup.workers, "on_advance": advance}
        for i, result in workers.run_units(prepare, units, **options):
            found[places[i]] = result
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


def make_unit(method: Method, folder: pathlib.Path) -> Callable[..., Extreme]:
    """Return `unit(quest, begun, grid)`, a start with its result of the design loop.

    The loop begins with the density `grid`.
    """
    # Compiled once; each quest has limits of its own.
    spec = make_run_spec(PROBLEM, Limits(math.nan), method)

    def unit(quest: Quest, begun: Extreme, grid: Float[np.ndarray, "n n n"]):
        outcome = resumable.tracked(
            grid,
            dataclasses.replace(spec, limits=quest.limits),
            name=begun.name,
            label=begun.name,
            folder=folder,
            advance=workers.advance,
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

    return unit
