"""One cloak: a column in a body under a load case, designed and made of real cells."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mmdiff.design.cloak import assign, place, region
from mmdiff.design.cloak import model as models
from mmdiff.design.cloak.assign import Choice
from mmdiff.design.cloak.geometry import LOADS, Geometry, LoadCase, geometry
from mmdiff.design.cloak.model import Model
from mmdiff.design.cloak.pool import Pool
from mmdiff.run import console, saved
from mmdiff.typing import Float, Int

SEVERAL = 4  # times fewer steps and exchanges under several loads


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A cloak to be found, or found.

    The result holds arrays by name: distortions (l,) before, designed, nearest, cells
    and, with these cells on a finer mesh, finer and finer_before, constants designed
    (k, 3), pick (k,), displacements u0, u_before and u_cells (3, X, Y, Z) at corners of
    cells and their load.
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
        """Row of the pool in every place, -1 for the hole."""
        return self.geometry.rows(self.result["pick"], len(self.pool.number) - 1)

    @property
    def constants(self) -> Float[np.ndarray, "x y z 3"]:
        """Constants in every place with the cells chosen, zero in the hole."""
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
    """Return a case with its result, kept in a folder; limits are those of `find`.

    Its pool has the cells that were made for it, too.
    """

    def new():
        begun = time.perf_counter()
        model = make_model(case.pool.constants[-1])
        console.say(f"{case.label}: {100 * model.before.max():.2f} % without a cloak")
        found = find(case, model, folder, **limits)
        return {
            "before": model.before,
            "designed": model.distortion(found.designed),
            "nearest": found.choice.nearest,
            "cells": found.choice.distortion,
            "pick": found.choice.pick,
            "constants": found.designed,
            **_displacements(case, model, found),
            **{f"pool_{name}": part for name, part in found.pool._asdict().items()},
            "seconds": time.perf_counter() - begun,
        }

    result = saved.once(folder / f"{case.name}.npz", new)
    own = Pool(*(result[f"pool_{name}"] for name in Pool._fields))
    case = dataclasses.replace(case, result=result, pool=own)
    more = saved.once(folder / f"{case.name}_finer.npz", lambda: finer(case))
    case = dataclasses.replace(case, result={**result, **more})
    console.say(
        f"{case.label}: designed {case.percent('designed'):.2f} %, nearest cells "
        f"{case.percent('nearest'):.2f} %, cells chosen {case.percent('cells'):.2f} %, "
        f"on a finer mesh {case.percent('finer'):.2f} %"
    )
    return case


def finer(case: Case) -> dict[str, np.ndarray]:
    """Return the distortions with the cells chosen on twice as many elements an edge.

    A mesh that is too coarse promises too much, see docs/cloak.md.
    """
    every = 2 * case.geometry.elements
    shape = case.geometry.hole.shape
    loads = LOADS[case.load_case.name](tuple(every * size for size in shape))
    kind = {"mirrors": loads.mirrors, "swaps": loads.swaps, "elements": every}
    box = geometry(shape, case.column, **kind)
    cells = case.pool.constants
    model = models.make_model(box, loads)(cells[-1])
    return {
        "finer": model.distortion(cells[case.result["pick"]]),
        "finer_before": model.before,
    }


class Found(NamedTuple):
    """Constants designed, the pool with cells made for them, and those chosen."""

    designed: Float[np.ndarray, "k 3"]
    pool: Pool
    choice: Choice


def find(
    case: Case,
    model: Model,
    folder: pathlib.Path,
    *,
    steps: int,
    exchanges: int,
    own_cells: int,
    processes: int = 0,
) -> Found:
    """Return the design of a case and the cells chosen for it.

    Args:
      case: whose name is that of the files in the folder.
      model: see `model.make_model`.
      folder: where what is finished is kept.
      steps: most iterations of the design; under several loads a quarter of them.
      exchanges: most evaluations while cells are exchanged; likewise.
      own_cells: most cells made for their place.
      processes: that make them, 0 for one on every core.
    """
    share = 1 if len(model.u0) == 1 else SEVERAL
    steps, exchanges = steps // share, max(exchanges // share, 1)
    cells = case.pool.constants

    def new():
        start = np.tile(cells[-1], (case.geometry.num_classes, 1))
        options = {"steps": steps, "after": after}
        excess = region.make_excess(cells)
        return {"constants": models.design(model, start, excess, **options)}

    with _progress(f"{case.label}, design", steps) as after:
        designed = saved.once(folder / f"{case.name}_designed.npz", new)["constants"]
    options = {"most": own_cells, "folder": folder, "processes": processes}
    pool = place.make_cells(case.pool, designed, name=case.name, **options)
    with _progress(f"{case.label}, choice", exchanges) as after:
        options = {"steps": exchanges, "after": after}
        choice = assign.choose(model, designed, pool.constants, **options)
    return Found(designed, pool, choice)


@contextlib.contextmanager
def _progress(label, steps):
    """Yield `after(step, distortions)`, which tells how far a search is."""
    with console.progress(label, steps) as advance:
        yield lambda step, each: advance(1, info=f"{100 * each.max():.2f} %")


def _displacements(case: Case, model: Model, found: Found) -> dict[str, np.ndarray]:
    """Return displacements of the load that is worst, at the corners of the cells."""
    constants = found.pool.constants
    classes = np.tile(constants[-1], (case.geometry.num_classes, 1))
    before, _ = model.response(classes)
    after, info = model.response(constants[found.choice.pick])
    if not info.converged.all():
        console.note(f"{case.name}: the displacement has not converged.")
    load = int(np.argmax(found.choice.distortion))
    every = case.geometry.elements  # whose edges are the unit

    def corners(u):
        return np.asarray(u[load])[:, ::every, ::every, ::every] / every

    u = {"u0": model.u0, "u_before": before, "u_cells": after}
    return {name: corners(part) for name, part in u.items()} | {"load": load}
