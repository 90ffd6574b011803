"""How designs are found: grid, filter, steps of design loop and of the surface.

A `Method` is made of plain values; with a problem it becomes a `RunSpec`, whose loop is
compiled once for all starts of a grid.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np

from mmdiff import elasticity
from mmdiff.cells.mend import Printing
from mmdiff.cells.voxels import good_edge
from mmdiff.design.generate.pipeline import RESOLUTION, RESOLUTIONS
from mmdiff.errors import InputError
from mmdiff.topopt import move, optimize
from mmdiff.topopt.move import Evaluation
from mmdiff.topopt.optimize import STAGES, Loop, Settings, Stage
from mmdiff.topopt.problem import Limits, Problem

SYMMETRIES = ("cubic", "orthotropic")
MIN_RESOLUTION = 16


@dataclasses.dataclass(frozen=True)
class Method:
    """Settings of all designs of a run.

    `robust` is the distance of the eroded and the dilated threshold from 0.5, 0 for
    none; `solver` holds void, tol and maxiter of the finite elements on surfaces.
    """

    design_resolution: int = 64  # elements along the edge of the cell, and samples
    symmetry: str = "cubic"  # or "orthotropic"
    radius: float = 2.0  # of the density filter, in elements
    robust: float = 0.0
    steps: int = 0  # most of the design, over all stages; 0 for as many as they have
    refine_steps: int = 20  # most of the surface before what is thin is mended
    chunk: int = 5  # design steps between two stored states
    nu: float = elasticity.NU  # of the base material
    solver: Mapping[str, float] = dataclasses.field(default_factory=dict)
    printing: Printing = Printing(drainable=False)
    resolution: int = RESOLUTION  # voxels along the edge of a cell as written

    @property
    def n(self) -> int:
        """Elements, and samples of fields, per side of the octant."""
        return self.design_resolution // 2

    @property
    def evaluate(self) -> Callable[..., Evaluation]:
        """Finite elements on fields, compiled once per grid size."""
        options = {"symmetry": self.symmetry, "nu": self.nu, **self.solver}
        return move.make_evaluate(self.n, **options)

    def settings(self, stages: tuple[Stage, ...] = STAGES) -> Settings:
        """Return the settings of the design loop; InputError for what cannot be."""
        if self.resolution not in RESOLUTIONS:
            raise InputError(
                f"resolution={self.resolution} is not one of {RESOLUTIONS}. Set "
                f"`resolution={RESOLUTION}`."
            )
        resolution, steps = self.design_resolution, self.steps
        if resolution < MIN_RESOLUTION or resolution % 8:
            good = max(MIN_RESOLUTION, good_edge(resolution, 8))
            raise InputError(
                f"design_resolution={resolution} is not a multiple of 8 of at least "
                f"{MIN_RESOLUTION}. Next good size: `design_resolution={good}`."
            )
        if self.symmetry not in SYMMETRIES:
            raise InputError(
                f"symmetry={self.symmetry} is unknown. Use {' or '.join(SYMMETRIES)}."
            )
        if not 1 <= self.radius <= resolution / 4:
            raise InputError(
                f"radius={self.radius:g} is not between 1 and {resolution // 4} "
                "elements, a quarter of the edge. Set the radius of the filter with "
                "`radius=2`."
            )
        usual = sum(stage.steps for stage in stages)
        if steps and steps < len(stages):
            raise InputError(
                f"steps={steps} is too small: the continuation has {len(stages)} "
                f"stages. Set `steps={usual}`, or 0 for the same."
            )
        etas = (0.5 + self.robust, 0.5, 0.5 - self.robust) if self.robust else (0.5,)
        return Settings(
            symmetry=self.symmetry,
            radius=self.radius,
            stages=share_out(stages, steps or usual),
            etas=etas,
            nu=self.nu,
        )


def share_out(stages: tuple[Stage, ...], steps: int) -> tuple[Stage, ...]:
    """Return the stages with their steps scaled to a sum, at least one each."""
    # One for each, the rest in proportion, rounded so that the sum is met.
    weights = np.cumsum([stage.steps - 1 for stage in stages])
    upto = np.round((steps - len(stages)) * weights / weights[-1]).astype(int)
    counts = (1 + np.diff(upto, prepend=0)).tolist()
    return tuple(s._replace(steps=c) for s, c in zip(stages, counts, strict=True))


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """Problem, compiled loop and method that all starts of one grid share."""

    loop: Loop
    settings: Settings
    problem: Problem
    limits: Limits
    evaluate: Callable[..., Evaluation]
    refine_steps: int
    chunk: int
    printing: Printing
    solver: Mapping[str, float]  # nu, void, tol, maxiter


def make_run_spec(
    problem: Problem, limits: Limits, method: Method, stages: tuple[Stage, ...] = STAGES
) -> RunSpec:
    """Return what the starts of a problem are run with, through stages.

    Other limits may be put in place of these without compiling anew.
    """
    settings = method.settings(stages)
    loop = optimize.make_optimize(method.n, problem, settings)
    return RunSpec(
        loop=Loop(*map(jax.jit, loop)),
        settings=settings,
        problem=problem,
        limits=limits,
        evaluate=method.evaluate,
        refine_steps=method.refine_steps,
        chunk=method.chunk,
        printing=method.printing,
        solver={"nu": method.nu, **method.solver},
    )
