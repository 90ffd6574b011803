"""The search of a quest: starts optimized, the best cell varied.

Random starts are designed first, then all surfaces are moved; both are units of work
for all cores. Every result is kept in a file of its own below the state of the run,
with the number of finite-element solutions that it took.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import surface
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import starts
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest, Shape
from mmdiff.design.extremes.starts import Setup
from mmdiff.design.extremes.variants import VariantPlan, varied
from mmdiff.design.optimize.method import Method, make_run_spec
from mmdiff.fem import accuracy
from mmdiff.run import console, saved, workers
from mmdiff.topopt import finish
from mmdiff.topopt.problem import Limits
from mmdiff.typing import Float, Key


class Task(NamedTuple):
    """A quest, the rows of its edge cells in the dataset, the key of its samples."""

    quest: Quest
    rows: Sequence[int]
    key: Key
    plan: VariantPlan | None = None  # of its best cell, None for no variants


def make_tasks(
    quests: Sequence[Quest],
    rows: Sequence[Sequence[int]],
    key: Key,
    plan: VariantPlan | None,
) -> list[Task]:
    """Return the tasks of quests; the best cell of the first of each aim is varied.

    Samples and designs of random starts are the same for all quests of an aim.
    """
    tasks, aims = [], []
    for quest, near in zip(quests, rows, strict=True):
        first = quest.aim not in aims
        aims += [quest.aim] if first else []
        own = jax.random.fold_in(key, aims.index(quest.aim))
        tasks.append(Task(quest, near, own, plan if first else None))
    return tasks


def search(
    tasks: Sequence[Task], setup: Setup
) -> tuple[list[Extreme], dict[str, float | None]]:
    """Return the records of all quests, and how much of their best cells comes back.

    Records are those of all starts and of variants; what comes back is by quest the
    share of voxels from the noise, None where nothing was varied.
    """
    begun = [
        starts.make_starts(task.quest, task.rows, task.key, setup) for task in tasks
    ]
    found = [[start for start, _ in own] for own in begun]
    places = [
        (i, j)
        for i, own in enumerate(begun)
        for j, (_, chosen) in enumerate(own)
        if chosen
    ]
    aims = [task.quest.aim for task in tasks]

    def order(place):
        # Random starts are designed by the first quest of their aim, and take longest.
        i, j = place
        return found[i][j].kind != "random", aims[:i].count(aims[i])

    places.sort(key=order)
    # One quest of each aim: their random starts are the same.
    by_aim = {task.quest.aim: task.quest for task in tasks}
    grids = {aim: starts.densities(quest, setup) for aim, quest in by_aim.items()}
    prepare = functools.partial(make_unit, setup.method, setup.state)
    units = [_unit(tasks[i].quest, found[i][j], grids) for i, j in places]
    with console.progress("surfaces", len(places)) as advance:
        options = {"workers": setup.workers, "on_advance": advance}
        for k, result in workers.run_units(prepare, units, **options):
            i, j = places[k]
            found[i][j] = result
    returned = {}
    for task, own in zip(tasks, found, strict=True):
        more, returned[task.quest.name] = _varied(task, own, setup)
        own += more
        if setup.recheck and (best := extreme.best(task.quest, own)):
            own[own.index(best)] = _rechecked(best, setup.state)
    return [record for own in found for record in own], returned


def _rechecked(best: Extreme, state: pathlib.Path) -> Extreme:
    """Return a record with the constants of its cell from finer grids."""
    psi = best.after.psi

    def made():
        result = accuracy.check(psi)
        return {"constants": np.where(result.converged, result.constants, np.nan)}

    known = saved.once(state / f"checked_{best.name}.npz", made)
    return dataclasses.replace(best, checked=Shape(psi, known["constants"]))


def _unit(quest, start, grids):
    """Return the arguments of a unit of work, see `make_unit`."""
    random = start.kind == "random"
    return quest, start, grids[quest.aim][start.number] if random else None


def _varied(task: Task, found, setup) -> tuple[list[Extreme], float | None]:
    """Return variants of the best cell of a quest; tell what it is."""
    quest, title = task.quest, f"{task.quest.aim}, {task.quest.terms}"
    best = extreme.best(quest, found)
    if best is None:
        console.note(
            f"{title}: none of {len(found)} starts gave the cell that was asked for. "
            "Try more `steps` or `num_starts`."
        )
        return [], None
    console.say(f"{title}: {extreme.shown(quest, best.after)} from {best.name}")
    if task.plan is None:
        return [], None
    return _variants(quest, best, task.key, setup, task.plan)


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


def make_unit(method: Method, state: pathlib.Path) -> Callable[..., Extreme]:
    """Return `unit(quest, begun, density)`, a start with its result.

    Where there is a density, the start is what that is designed to.
    """
    # Compiled once; each quest has limits of its own.
    spec = make_run_spec(PROBLEM, Limits(math.nan), method)

    def unit(quest: Quest, begun: Extreme, density: Float[np.ndarray, "n n n"] | None):
        psi, steps = begun.before.psi, 0
        if density is not None:
            file = state / f"design_{quest.aim}_{begun.number:02d}.npz"
            made = saved.once(file, lambda: _designed(density, quest, spec))
            psi, steps = made["psi"], int(made["steps"])
        psi = surface.resampled(psi, method.n)
        file = state / f"result_{begun.name}.npz"
        known = saved.once(file, lambda: _moved(psi, quest, spec))
        workers.advance(1, info=begun.name)
        shape = Shape(known["psi"], known["constants"])
        return dataclasses.replace(
            begun,
            after=shape,
            flaws=extreme.flaws(quest, shape),
            steps=steps,
            solutions=steps + int(known["solves"]),
        )

    return unit


def _designed(density, quest, spec) -> dict[str, np.ndarray]:
    """Return the field that a density is designed to, and the number of steps.

    Where no connected part is left it is what there is.
    """
    state = spec.loop.init(jnp.asarray(density, jnp.float32))
    while not spec.loop.done(state):
        state = spec.loop.run(state, quest.limits, spec.chunk)
    found = np.asarray(spec.loop.density(state), np.float64)
    psi, _ = finish.field_of(found, quest.volume)
    return {"psi": psi, "steps": np.array(int(state.total))}


def _moved(psi, quest, spec) -> dict[str, np.ndarray]:
    """Return the field of a moved surface, its constants, and its solutions.

    The constants are NaN where the surface bears no load.
    """
    design = finish.finish_field(
        psi,
        spec.problem,
        quest.limits,
        spec.evaluate,
        steps=spec.refine_steps,
        printing=quest.printing,
        solver=spec.solver,
    )
    result = design.estimate
    good = result is not None and result.converged
    return {
        "psi": psi if result is None else design.psi,
        "constants": result.constants if good else np.full(3, np.nan),
        "solves": np.array(design.solves),
    }
