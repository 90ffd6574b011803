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

from mmdiff import elasticity, memory
from mmdiff.cells.mend import Printing
from mmdiff.design.generate import sampler
from mmdiff.design.generate.cell import RESOLUTION, Cell, make_cell
from mmdiff.design.generate.refine import cost, make_refine
from mmdiff.design.generate.search import Budget, in_turn, search
from mmdiff.errors import InputError, check_ranges
from mmdiff.fem import accuracy, homogenize
from mmdiff.models.weights import Model, load_model
from mmdiff.run import console
from mmdiff.targets import feasibility
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import AnyTarget, closest_cubic, parse
from mmdiff.topopt import move
from mmdiff.typing import Key

RANGES = {
    **dict.fromkeys(("num_cells", "num_samples", "maxiter"), "[1, inf)"),
    **dict.fromkeys(("guidance", "polish_steps", "spare"), "[0, inf)"),
    "newton": "[0, 100]",
    **dict.fromkeys(("min_wall", "min_gap"), "[0, 0.5)"),
    **dict.fromkeys(("void", "tol"), "(0, 1)"),
    "steps": "[2, 1000]",
    "nu": "[0.2, 0.45]",
    "time_limit_s": "[0, inf) s",
}
SAMPLE_BYTES = 400_000  # of a sample at least
RESOLUTIONS = (64, 128, 256)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How cells are drawn, checked and refined.

    Attributes:
      steps: evaluations of the network per sample.
      guidance: classifier-free guidance weight, 1 for none.
      newton: Newton steps on the estimated end of each sampling step; 0 for none.
      guide: what gives their constants, "homogenizer", "fine" or "regressor".
      polish_steps: most steps that move a surface; 0 gives the best cells as sampled.
      spare: most cells polished in place of those that stay far from the target.
      min_wall: least thickness of walls, as a share of the cell's edge; 0 for any.
      min_gap: the same of gaps and of drain holes.
      drainable: whether the void must be one piece.
      resolution: voxels along the edge of a cell as written, 64, 128 or 256.
      time_limit_s: seconds in which batch after batch is drawn and polished; 0 for one
        round without a limit. Moving cells on to an orthotropic target comes on top.
      nu: Poisson's ratio of the base material.
      void: modulus of void as a fraction of solid.
      tol: relative residual of the finite elements.
      maxiter: most iterations of their solver.
    """

    steps: int = 16
    guidance: float = 1.0
    newton: int = 2
    guide: str = sampler.GUIDES[0]
    polish_steps: int = 40
    spare: int = 2
    min_wall: float = 0.03
    min_gap: float = 0.03
    drainable: bool = True
    resolution: int = RESOLUTION
    time_limit_s: float = 0.0
    nu: float = elasticity.NU
    void: float = homogenize.VOID
    tol: float = 1e-4
    maxiter: int = homogenize.MAXITER

    @property
    def printing(self) -> Printing:
        """What cells must comply with; cells as sampled need not."""
        return Printing(self.min_wall, self.min_gap, self.drainable)

    @property
    def solver(self) -> dict[str, float]:
        """Options of the finite elements."""
        limits = {"tol": self.tol, "maxiter": self.maxiter}
        return {"void": self.void, "nu": self.nu, **limits}

    @property
    def coarse(self) -> dict[str, float]:
        """The same where steps of a surface are evaluated."""
        return self.solver | {"tol": max(self.tol, move.TOL)}


NAMES = tuple(field.name for field in dataclasses.fields(Settings))


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings by name, limits as in `limits_of`; others are not read."""
    known = {name: values[name] for name in NAMES if name in values}
    return Settings(**known | limits_of(values))


def limits_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Return "min_wall" and "min_gap" in edges of the cell, where they are given.

    That is as "min_wall_mm" and "min_gap_mm", of an edge of "cell_size_mm"; 0 stands
    for the default.
    """
    known = {}
    for name in ("min_wall", "min_gap"):
        if least := values.get(f"{name}_mm"):
            edge = values["cell_size_mm"]
            if least >= edge / 2:
                raise InputError(
                    f"{name}_mm={least:g} is half of the cell's edge of {edge:g} mm or "
                    f"more. Set `{name}_mm` to less than {edge / 2:g}."
                )
            known[name] = least / edge
    return known


def check_settings(settings: Settings, **counts: int) -> None:
    """Refuse settings, and numbers of cells or samples, that are out of their range."""
    values = vars(settings) | counts
    check_ranges(values, {k: r for k, r in RANGES.items() if k in values})
    sampler.check_guide(settings.guide)
    number = values.get("num_samples", 0)
    needed = number * SAMPLE_BYTES
    memory.require(needed, f"num_samples={number}", "Set `num_samples` lower.")
    if settings.resolution not in RESOLUTIONS:
        raise InputError(
            f"resolution={settings.resolution} is not one of {RESOLUTIONS}. Set "
            f"`resolution={RESOLUTION}`."
        )


def generate(
    target: AnyTarget | str,
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

    Samples of a diffusion model become level-set fields and are homogenized; the
    surfaces of the best are moved until the tensor is what was asked. Each cell is one
    piece, carries load, can be printed, and has the tensor of its surface, from finite
    elements on two grids. Cells take seconds each on a CPU; the first call compiles
    programs for half a minute.

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
        `drainable=False` cells with closed pores, `resolution=256` finer voxels, and
        `time_limit_s=600` goes on until all cells meet the target; `nu` is Poisson's
        ratio of the base material; `steps`, `newton` and `guide` are of the sampler,
        `void`, `tol` and `maxiter` of the finite elements.

    Returns:
      the cells, with `voxels`, `tensor`, `uncertainty`, `error` and more, see
      `mmdiff.Cell`.

    Raises:
      InputError: the target is beyond what any cell can be, an option is out of its
        range, or no sample was a connected, load-bearing cell.

    Example:
      >>> target = mm.target("0.110,0.045,0.040", volume=0.3)
      >>> quick = {"num_samples": 1, "steps": 4, "newton": 0, "polish_steps": 0}
      >>> (cell,) = mm.generate(target, num_cells=1, **quick)
      >>> cell.voxels.shape, cell.tensor.shape, cell.printability.pieces
      ((128, 128, 128), (6, 6), 1)
    """
    start = time.monotonic()
    unknown = [name for name in options if name not in NAMES]
    if unknown:
        raise TypeError(
            f"generate() has no option {unknown[0]!r}. Use some of {', '.join(NAMES)}."
        )
    settings = dataclasses.replace(settings or Settings(), **options)
    check_settings(settings)
    target = parse(target) if isinstance(target, str) else target
    feasibility.check_feasible(
        target, nu=settings.nu, allow_infeasible=allow_infeasible
    )
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
    parts: tuple[Callable, Callable] | None = None,
) -> Callable[..., tuple[list[Cell], dict[str, int], float]]:
    """Return `make(target, key, start=None) -> cells, counts, distance`.

    The cells come best first, the counts are those of `search`, and the distance is
    that to the nearest training cell, a fraction, noted where it is large. `start` is
    the `time.monotonic()` at which a time limit begins, None for now. Programs are
    compiled once for all targets; arguments see `generate`. `parts` are functions
    in place of those that `make_draw` and `make_find` return.
    """
    check_settings(settings, num_cells=num_cells, num_samples=num_samples)
    model = load_model() if model is None else model
    draw, find = parts or (
        make_draw(model, settings, num_samples),
        make_find(int(model.meta["octant"]), settings, num_cells),
    )
    known = sampler.known_cells(model.meta, settings.nu)
    limit = settings.time_limit_s

    def make(target: AnyTarget, key: Key, start: float | None = None):
        if isinstance(target, OrthotropicTarget) and not settings.polish_steps:
            raise InputError(
                "an orthotropic target is met by moving the surface of a cubic cell, "
                "and polish_steps=0. Set `polish_steps=40`, or `project_cubic=True`."
            )
        end = (time.monotonic() if start is None else start) + limit
        time_left = (lambda: time.monotonic() < end) if limit else None
        distance = feasibility.training_distance(closest_cubic(target), known)
        if distance > model.meta["training"]["coverage"]:
            console.note(
                "target is outside the region this checkpoint was trained on (nearest "
                f"training cell differs by {100 * distance:.1f} %). Expect larger "
                "errors; distance is recorded in properties.json."
            )
        budget = Budget(spare=settings.spare, time_left=time_left)
        return *find(key, target, draw, budget), distance

    return make


# Programs of the shipped model are kept for the next call of `generate`.
_make_shipped = functools.lru_cache(maxsize=4)(make_generate)


def make_draw(model: Model, settings: Settings, num_samples: int) -> Callable:
    """Return `draw(key, target) -> (num_samples, n, n, n)` sampled arrays."""
    return sampler.make_sampler(
        *model,
        num_samples=num_samples,
        steps=settings.steps,
        weight=settings.guidance,
        newton=settings.newton,
        guide=settings.guide,
        drainable=settings.drainable,
        nu=settings.nu,
    )


def make_find(
    n: int, settings: Settings, num_cells: int
) -> Callable[..., tuple[list[Cell], dict[str, int]]]:
    """Return `find(key, target, draw, budget)`, the cells as delivered, and the counts.

    For octants of n^3 samples; see `search`.
    """
    improve = make_improve(n, settings)
    return find_with(
        in_turn(make_check(n, settings)),
        improve and in_turn(improve),
        in_turn(finished),
        in_turn(make_fit(n, settings)),
        settings=settings,
        num_cells=num_cells,
    )


def find_with(
    check: Callable,
    refine: Callable | None,
    finish: Callable,
    fit: Callable,
    *,
    settings: Settings,
    num_cells: int,
) -> Callable[..., tuple[list[Cell], dict[str, int]]]:
    """Return `find` of functions that each take many fields or cells.

    Cells for an orthotropic target are those for the closest cubic one, moved on.
    """
    flaw = settings.printing.flaw

    def find(key: Key, target: AnyTarget, draw: Callable, budget: Budget):
        cells, counts = search(
            key,
            closest_cubic(target),
            draw=draw,
            check=check,
            num_best=num_cells,
            refine=refine,
            flaw=flaw,
            budget=budget,
        )
        if isinstance(target, OrthotropicTarget):
            fitted = list(fit(cells, target))
            cells = [cell for cell in fitted if not flaw(cell)]
            cells.sort(key=lambda cell: cost(cell, target))
            if lost := len(fitted) - len(cells):
                counts = {**counts, "not printable once moved": lost}
        return list(finish(cells, settings)), counts

    return find


def finished(cell: Cell, settings: Settings) -> Cell:
    """Return a cell as it is delivered: with what its voxels would measure."""
    options = {"symmetry": cell.symmetry, **settings.solver}
    binary = accuracy.of_voxels(cell.psi, RESOLUTION // 2, **options)
    return dataclasses.replace(cell, as_voxels=binary, resolution=settings.resolution)


def make_check(n: int, settings: Settings) -> Callable[..., Cell | None]:
    """Return `check(psi, target)`: the cell of a field, None where a solve fails.

    Where cells are polished the coarse grid alone has to do for samples.
    """
    evaluate = move.make_evaluate(n, **settings.coarse)

    def check(psi, target):
        found = evaluate(psi)
        coarse = found.values[:3]
        if settings.polish_steps:
            result = accuracy.of_coarse(coarse, found.values[3], found.residual)
            solves = 1
        else:
            result = accuracy.estimate(psi, coarse=coarse, **settings.solver)
            solves = 2
        made = make_cell(psi, result, target, solves=solves)
        return made if found.converged else None

    return check


def make_fit(n: int, settings: Settings) -> Callable[[Cell, OrthotropicTarget], Cell]:
    """Return what moves the surface of a cell to an orthotropic target."""
    options = {"symmetry": "orthotropic", **settings.coarse}

    def fit(cell, target):
        evaluate = move.make_evaluate(n, **options)  # rarely needed
        refine = make_refine(
            evaluate,
            steps=settings.polish_steps,
            printing=settings.printing,
            symmetry="orthotropic",
            **settings.solver,
        )
        found = evaluate(cell.psi)
        *constants, volume = found.values
        result = accuracy.of_coarse(np.array(constants), volume, found.residual)
        start = make_cell(cell.psi, result, target, solves=cell.solves + 1)
        return refine(start, target)

    return fit


def make_improve(
    n: int, settings: Settings
) -> Callable[[Cell, AnyTarget], Cell] | None:
    """Return what makes a cell meet its target; None where cells stay as sampled."""
    if not settings.polish_steps:
        return None
    return make_refine(
        move.make_evaluate(n, **settings.coarse),
        steps=settings.polish_steps,
        printing=settings.printing,
        **settings.solver,
    )


def no_cell(counts: Mapping[str, int]) -> str:
    """Return the message that no sample was good, and what to do."""
    refused = ", ".join(f"{k} {why}" for why, k in counts.items() if why != "sampled")
    return (
        f"none of {counts['sampled']} samples gave a connected, load-bearing cell that "
        f"can be printed: {refused or 'none was drawn'}. Ask for more samples with "
        "`num_samples`, allow thinner walls or closed pores, or take a target nearer "
        "to the trained region."
    )
