"""From a target to printable cells: the model, finite elements and refinement at work.

`generate` is what `mmdiff.generate` and, with the settings of configs/generate.py, the
command line run. `make_generate` prepares the same for many targets.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmdiff.design.generate import refine, rework, sampler
from mmdiff.design.generate.cell import Cell
from mmdiff.design.generate.search import Budget, search
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import homogenize
from mmdiff.models.weights import Model, load_model
from mmdiff.run import console
from mmdiff.targets import feasibility
from mmdiff.targets.target import Target, parse
from mmdiff.topopt import interface
from mmdiff.typing import Key

RANGES = {
    **dict.fromkeys(("num_cells", "num_samples", "maxiter"), "[1, inf)"),
    **dict.fromkeys(("guidance", "newton", "polish_steps", "rework"), "[0, inf)"),
    **dict.fromkeys(("spare", "volume_price"), "[0, inf)"),
    **dict.fromkeys(("void", "tol"), "(0, 1)"),
    "steps": "[2, inf)",
    "time_limit_s": "[0, inf) s",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How cells are drawn, checked and refined.

    Attributes:
      steps: evaluations of the network per sample.
      guidance: classifier-free guidance weight, 1 for none.
      newton: Newton steps on the estimated end of each sampling step; 0 for none.
      guide: what gives their constants, "homogenizer" or "regressor".
      polish_steps: most steps of polishing; 0 gives the best cells as sampled.
      rework: most times that a cell which polishing leaves far is made anew.
      spare: most cells polished in place of those that stay far all the same.
      volume_price: error that a unit of volume off is worth.
      double: whether cells get twice the resolution of the model.
      time_limit_s: seconds in which batch after batch is drawn and polished; 0 for one
        round without a limit.
      void: modulus of void as a fraction of solid.
      tol: relative residual of the finite elements.
      maxiter: most iterations of their solver.
    """

    steps: int = 16
    guidance: float = 1.0
    newton: int = 2
    guide: str = sampler.GUIDES[0]
    polish_steps: int = 24
    rework: int = 1
    spare: int = 2
    volume_price: float = refine.PRICE
    double: bool = False
    time_limit_s: float = 0.0
    void: float = homogenize.VOID
    tol: float = homogenize.TOL
    maxiter: int = homogenize.MAXITER


NAMES = tuple(field.name for field in dataclasses.fields(Settings))


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings by name; other values are not read."""
    return Settings(**{name: values[name] for name in NAMES if name in values})


def generate(
    target: Target | str,
    model: Model | None = None,
    *,
    num_cells: int = 4,
    num_samples: int = 8,
    seed: int = 0,
    allow_infeasible: bool = False,
    settings: Settings | None = None,
    **options,
) -> list[Cell]:
    """Return printable unit cells that have a given elastic tensor, best first.

    Samples of a diffusion model are made binary and homogenized; the best of them are
    smoothed, and their surface is moved until the tensor is what was asked. Each cell
    is one piece, carries load, and has its tensor from finite elements on its voxels.
    With the shipped model cells have 64^3 voxels, and take seconds each on a CPU; the
    first call compiles programs for half a minute.

    Args:
      target: from `mmdiff.target`, or a text for it, such as "E=0.1,nu=0.2,V=0.3".
      model: from `mmdiff.load_model`; None for the shipped one.
      num_cells: cells to return; fewer where fewer samples are good.
      num_samples: samples drawn at a time.
      seed: of the samples; the same one gives the same cells.
      allow_infeasible: ask also for what exceeds the bounds of elasticity.
      settings: how cells are drawn, checked and refined, all at once; None for the
        defaults of `mmdiff.design.generate.pipeline.Settings`.
      **options: fields of it, one by one. `polish_steps=0` gives cells as sampled,
        `double=True` cells of 128^3 voxels, `time_limit_s=600` goes on until all cells
        meet the target, and a higher `volume_price` (0.1) holds the volume at the
        expense of the tensor; `steps`, `newton` and `guide` are of the sampler, `void`,
        `tol` and `maxiter` of the finite elements.

    Returns:
      the cells, with `voxels`, `tensor`, `volume`, `error` and more, see `mmdiff.Cell`.

    Raises:
      InputError: the target is beyond what any cell can be, an option is out of its
        range, or no sample was a connected, load-bearing cell.

    Example:
      >>> target = mm.target("0.110,0.045,0.040", volume=0.3)
      >>> quick = {"num_samples": 1, "steps": 4, "newton": 0, "polish_steps": 0}
      >>> (cell,) = mm.generate(target, num_cells=1, **quick)
      >>> cell.voxels.shape, cell.tensor.shape, cell.pieces
      ((64, 64, 64), (6, 6), 1)
    """
    start = time.monotonic()
    unknown = [name for name in options if name not in NAMES]
    if unknown:
        raise TypeError(
            f"generate() has no option {unknown[0]!r}. Use some of {', '.join(NAMES)}."
        )
    settings = dataclasses.replace(settings or Settings(), **options)
    target = parse(target) if isinstance(target, str) else target
    feasibility.check_feasible(target, allow_infeasible=allow_infeasible)
    build = _make_shipped if model is None else make_generate
    make = build(model, settings, num_cells=num_cells, num_samples=num_samples)
    cells, counts, _ = make(target, jax.random.key(seed), start)
    if not cells:
        raise InputError(no_cell(counts))
    return cells


def make_generate(
    model: Model | None = None,
    settings: Settings = Settings(),
    *,
    num_cells: int = 4,
    num_samples: int = 8,
) -> Callable[..., tuple[list[Cell], dict[str, int], float]]:
    """Return `make(target, key, start=None) -> cells, counts, distance`.

    The cells come best first, the counts are those of `search`, and the distance is
    that to the nearest training cell, a fraction, noted where it is large. `start` is
    the `time.monotonic()` at which a time limit begins, None for now. Programs are
    compiled once for all targets; arguments see `generate`.
    """
    counts = {"num_cells": num_cells, "num_samples": num_samples}
    check_ranges(vars(settings) | counts, RANGES)
    model = load_model() if model is None else model
    n = int(model.meta["octant"])
    draw = make_draw(model, settings, num_samples)
    evaluate = make_evaluate(n, settings)
    improve = make_improve(n, settings, evaluate)
    fine = make_evaluate(2 * n, settings) if settings.double else None
    known = np.array(model.meta["training"]["labels"])
    limit = settings.time_limit_s

    def make(target: Target, key: Key, start: float | None = None):
        end = (time.monotonic() if start is None else start) + limit
        time_left = (lambda: time.monotonic() < end) if limit else None
        distance = feasibility.training_distance(target, known)
        if distance > model.meta["training"]["coverage"]:
            console.note(
                "target is outside the region this checkpoint was trained on (nearest "
                f"training cell differs by {100 * distance:.1f} %). Expect larger "
                "errors; distance is recorded in properties.json."
            )
        cells, counts = search(
            key,
            target,
            draw=draw,
            evaluate=evaluate,
            num_best=num_cells,
            refine=improve,
            price=settings.volume_price,
            budget=Budget(spare=settings.spare, time_left=time_left),
        )
        if fine:
            cells = _doubled(cells, target, fine, 2 * n, settings)
        return cells, counts, distance

    return make


# Programs of the shipped model are kept for the next call of `generate`.
_make_shipped = functools.lru_cache(maxsize=4)(make_generate)


def make_draw(model: Model, settings: Settings, num_samples: int) -> Callable:
    """Return `draw(key, target) -> (num_samples, n, n, n)` sampled fields."""
    return sampler.make_sampler(
        *model,
        num_samples=num_samples,
        steps=settings.steps,
        weight=settings.guidance,
        newton=settings.newton,
        guide=settings.guide,
    )


def make_evaluate(n: int, settings: Settings) -> Callable[..., interface.Evaluation]:
    """Return the finite elements on octants of side n."""
    return interface.make_evaluate(
        n, void=settings.void, tol=settings.tol, maxiter=settings.maxiter
    )


def make_improve(
    n: int,
    settings: Settings,
    evaluate: Callable[..., interface.Evaluation],
    *,
    doubled: bool = False,
) -> Callable[[Cell, Target], Cell] | None:
    """Return what makes a cell meet its target; None where cells stay as sampled.

    Cells that were doubled are smooth, and are not made anew.
    """
    if not settings.polish_steps:
        return None
    anew = settings.rework and not doubled
    return refine.make_refine(
        evaluate,
        steps=settings.polish_steps,
        rework=rework.make_rework(n) if anew else None,
        rounds=settings.rework,
        price=settings.volume_price,
        smooth=not doubled,
    )


def _doubled(cells, target, evaluate, n, settings):
    """Return the cells as octants of side n, polished there, best first."""
    improve = make_improve(n, settings, evaluate, doubled=True)
    fine = []
    for i, cell in enumerate(cells):
        try:
            cell = refine.double(cell, target, evaluate)
        except ValueError as error:
            console.note(f"cell {i} is left out at twice the resolution: {error}.")
            continue
        fine.append(improve(cell, target) if improve else cell)

    def cost(cell):
        volume, price = target.volume, settings.volume_price
        return interface.cost(cell.error, cell.volume, volume, price)

    return sorted(fine, key=cost)


def no_cell(counts: Mapping[str, int]) -> str:
    """Return the message that no sample was good, and what to do."""
    return (
        f"none of {counts['sampled']} samples was a connected, load-bearing cell "
        f"({counts}). Ask for more samples with `num_samples`, or for a target nearer "
        "to the trained region."
    )
