"""One cloak: a column in a body under a load case, designed and made of real cells."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping

import numpy as np

from mmdiff.design.cloak import assign, region
from mmdiff.design.cloak import model as models
from mmdiff.design.cloak.assign import Choice
from mmdiff.design.cloak.geometry import Geometry, LoadCase
from mmdiff.design.cloak.model import Model
from mmdiff.design.cloak.pool import Pool
from mmdiff.run import console, saved
from mmdiff.typing import Float, Int

SEVERAL = 4  # times fewer steps and exchanges under several loads


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A cloak to be found, or found.

    The result holds arrays by name: distortions before, designed, nearest and cells
    (l,), constants designed (k, 3), pick (k,), displacements u0, u_before and u_cells
    (3, X, Y, Z) and their load.
    """

    column: str
    reference: str
    load_case: LoadCase
    geometry: Geometry
    pool: Pool
    result: Mapping[str, np.ndarray] | None = None

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.column}, {self.reference}, {self.load_case.name}"

    @property
    def name(self) -> str:
        """Name for files."""
        return f"{self.column}_{self.reference}_{self.load_case.name}"

    @property
    def index(self) -> Int[np.ndarray, "x y z"]:
        """Row of the pool in every element, -1 for the hole."""
        return self.geometry.rows(self.result["pick"], len(self.pool.number) - 1)

    @property
    def constants(self) -> Float[np.ndarray, "x y z 3"]:
        """Constants of every element with the cells chosen, zero in the hole."""
        return np.concatenate([self.pool.constants, np.zeros((1, 3))])[self.index]

    def percent(self, name: str) -> float:
        """Return the worst of some distortions of the result."""
        return 100 * float(self.result[name].max())


def solve(
    case: Case,
    make_model: Callable[[np.ndarray], Model],
    folder: pathlib.Path,
    **limits: int,
) -> Case:
    """Return a case with its result, kept in a folder; limits are those of `find`."""

    def new():
        begun = time.perf_counter()
        model = make_model(case.pool.constants[-1])
        console.say(f"{case.label}: {100 * model.before.max():.2f} % without a cloak")
        classes = case.geometry.num_classes
        constants, choice = find(case.label, model, case.pool, classes, **limits)
        return {
            "before": model.before,
            "designed": model.distortion(constants),
            "nearest": choice.nearest,
            "cells": choice.distortion,
            "pick": choice.pick,
            "constants": constants,
            **_displacements(case, model, choice.pick),
            "seconds": time.perf_counter() - begun,
        }

    result = saved.once(folder / f"{case.name}.npz", new)
    case = dataclasses.replace(case, result=result)
    console.say(
        f"{case.label}: designed {case.percent('designed'):.2f} %, nearest cells "
        f"{case.percent('nearest'):.2f} %, cells chosen {case.percent('cells'):.2f} %"
    )
    return case


def find(
    label: str, model: Model, pool: Pool, classes: int, steps: int, exchanges: int
) -> tuple[Float[np.ndarray, "k 3"], Choice]:
    """Return the constants designed, and the cells chosen for them.

    `steps` is the most iterations of the design, `exchanges` the most evaluations while
    cells are exchanged; under several loads, a quarter of both.
    """
    share = 1 if len(model.u0) == 1 else SEVERAL
    steps, exchanges = steps // share, max(exchanges // share, 1)
    cells = pool.constants
    start, excess = np.tile(cells[-1], (classes, 1)), region.make_excess(cells)
    with console.progress(label, steps + exchanges) as advance:

        def after(step, each):
            advance(1, info=f"{100 * each.max():.2f} %")

        designed = models.design(model, start, excess, steps=steps, after=after)
        choice = assign.choose(model, designed, cells, steps=exchanges, after=after)
    return designed, choice


def _displacements(case: Case, model, pick) -> dict[str, np.ndarray]:
    """Return the displacements of the load that is worst with the cells."""
    constants = case.pool.constants
    classes = np.tile(constants[-1], (case.geometry.num_classes, 1))
    before, _ = model.response(classes)
    after, info = model.response(constants[pick])
    if not info.converged.all():
        console.note(f"{case.name}: the displacement has not converged.")
    load = int(np.argmax(model.distortion(constants[pick])))
    u = {"u0": model.u0[load], "u_before": before[load], "u_cells": after[load]}
    return u | {"load": load}
