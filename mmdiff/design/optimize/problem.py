"""From what a person asks of an optimization to a problem; says early what cannot be.

Plain values in, a `Problem` with its `Limits` out, in units of the base material. Every
refusal names the value seen and what to pass instead; nothing is compiled on the way.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmdiff import elasticity
from mmdiff.cells.resample import good_edge
from mmdiff.design.optimize import goal as goals
from mmdiff.design.optimize.goal import Goal
from mmdiff.errors import InputError, check_least
from mmdiff.targets import feasibility
from mmdiff.targets import target as targets
from mmdiff.targets.target import Target
from mmdiff.topopt.optimize import STAGES, Settings, Stage
from mmdiff.topopt.problem import Limits, Problem

SYMMETRIES = ("cubic", "orthotropic")
VOLUME_IS = ("at most", "equal")
FLOOR = 0.01  # of Young's modulus where Poisson's ratio alone is asked for
MIN_RESOLUTION = 16
LEAST = {
    **{"num_starts": 1, "num_best": 1, "refine_steps": 0, "store_every": 1},
    "waves": 1,
    **{"min_wall": 0.0, "solver.maxiter": 1},
}
POSITIVE = {"cell_size_mm": 10.0, "solver.void": 1e-6, "solver.tol": 1e-5}


class Ask(NamedTuple):
    """What is asked for.

    Attributes:
      goal: objective and how it is shown.
      problem: its static part.
      limits: its numbers, base E = 1.
      target: the target, None where none was given.
      notes: what the user should know about it.
    """

    goal: Goal
    problem: Problem
    limits: Limits
    target: Target | None
    notes: tuple[str, ...]


def ask(
    objective: str,
    *,
    target: str = "",
    weights: tuple[float, float, float] = (1.0, 0.0, 0.0),
    volume: float,
    volume_is: str = "at most",
    isotropy: float = 0.0,
    min_young: float = 0.0,
    base: float = 1.0,
    nu: float = elasticity.NU,
    symmetry: str = "cubic",
    allow_infeasible: bool = False,
) -> Ask:
    """Return the problem of an objective and its constraints.

    Args:
      objective: see `goal.choose`.
      target: see `target.parse`; needed by the objective "target" only.
      weights: see `goal.choose`; of the objective "weighted".
      volume: volume fraction of solid in (0, 1).
      volume_is: "at most" or "equal".
      isotropy: half width of the band of the Zener ratio around 1; 0 leaves it free.
      min_young: floor of Young's modulus along <100> in units of `base`; 0 for none.
      base: Young's modulus of the base material.
      nu: its Poisson's ratio.
      symmetry: of the cell, "cubic" or "orthotropic".
      allow_infeasible: skip the bounds on target and floor.

    Raises:
      InputError: a value out of range, or what no cell can be.
    """
    if not 0 < volume < 1:
        raise InputError(
            f"vf={volume:g} is not between 0 and 1. Give the volume fraction of solid, "
            "such as --config.vf=0.3."
        )
    if volume_is not in VOLUME_IS:
        raise InputError(
            f"vf_is={volume_is!r} is unknown. Use 'at most' or 'equal', such as "
            "--config.vf_is=equal."
        )
    _check_base(base, nu)
    if not 0 <= isotropy < math.inf:
        raise InputError(
            f"isotropy={isotropy:g} is negative. Give the half width of the band "
            "around 1 for the Zener ratio, such as --config.isotropy=0.05, or 0 to "
            "leave it free."
        )
    if objective == "target" and not target:
        raise InputError(
            "objective=target needs a target. Give one such as "
            "--config.target=0.110,0.045,0.040."
        )
    if objective == "target" and symmetry != "cubic":
        raise InputError(
            f"objective=target is for tensors of cubic cells, and symmetry={symmetry}. "
            "Pass --config.symmetry=cubic."
        )
    wanted = None
    if target:
        wanted = targets.parse(target, volume=volume, base=base)
        if objective == "target" and not wanted.is_determined:
            raise InputError(
                f"target={target} leaves constants free, and objective=target needs "
                "all three. Give C11, C12 and C44, or as many moduli."
            )
        if wanted.volume != volume:
            raise InputError(
                f"target={target} asks for another volume than vf={volume:g}. Give it "
                "once, with --config.vf."
            )
        feasibility.check_feasible(wanted, nu=nu, allow_infeasible=allow_infeasible)
    goal = goals.choose(objective, wanted, weights)
    notes = []
    floor = min_young / base
    if not 0 <= floor < math.inf:
        raise InputError(
            f"min_E={min_young:g} is not a stiffness. Give the least Young's modulus "
            "in units of base.E, or --config.min_E=0 for none."
        )
    if floor >= volume and not allow_infeasible:
        raise InputError(
            f"min_E={min_young:g} is above {volume * base:g}, the Voigt limit of "
            f"Young's modulus at vf {volume:g}. Lower it or raise vf. To try anyway: "
            "--config.allow_infeasible=true"
        )
    if objective == "poisson" and floor == 0:
        floor = FLOOR
        notes.append(
            "objective=poisson needs a floor of stiffness: using min_E="
            f"{FLOOR * base:g}, {100 * FLOOR:g} % of the solid's. Set another with "
            "--config.min_E."
        )
    problem = Problem(goal.objective, volume_is == "equal", isotropy > 0, floor > 0)
    limits = Limits(volume, isotropy, floor, goal.params)
    return Ask(goal, problem, limits, wanted, tuple(notes))


def check_numbers(values: Mapping[str, float]) -> None:
    """Raise InputError for a number that is too small; see `LEAST` and `POSITIVE`."""
    check_least(values, LEAST)
    for key, usual in POSITIVE.items():
        if not 0 < values[key] < math.inf:
            raise InputError(
                f"{key}={values[key]:g} is not a positive number. Set it as in "
                f"--config.{key}={usual}."
            )


def settings(
    *,
    resolution: int,
    symmetry: str = "cubic",
    radius: float = 2.0,
    robust: float = 0.0,
    steps: int = 0,
    nu: float = elasticity.NU,
    stages: tuple[Stage, ...] = STAGES,
) -> Settings:
    """Return the settings of the design loop.

    Args:
      resolution: voxels per edge of the cell.
      symmetry: "cubic" or "orthotropic".
      radius: of the filter, in voxels.
      robust: distance of the eroded and the dilated threshold from 0.5; 0 for none.
      steps: most design steps, shared out over the stages; 0 for as many as they have.
      nu: Poisson's ratio of the base material.
      stages: the continuation.

    Raises:
      InputError: a value out of range.
    """
    if resolution < MIN_RESOLUTION or resolution % 8:
        good = max(MIN_RESOLUTION, good_edge(resolution, 8))
        raise InputError(
            f"resolution={resolution} is not a multiple of 8 of at least "
            f"{MIN_RESOLUTION}. Next good size: --config.resolution={good}."
        )
    if symmetry not in SYMMETRIES:
        raise InputError(
            f"symmetry={symmetry} is unknown. Use {' or '.join(SYMMETRIES)}."
        )
    if not 1 <= radius <= resolution / 4:
        raise InputError(
            f"radius={radius:g} is not between 1 and {resolution // 4} voxels, a "
            "quarter of the edge. Set the radius of the filter with --config.radius=2."
        )
    if not 0 <= robust <= 0.45:
        raise InputError(
            f"robust={robust:g} is not between 0 and 0.45, the distance of the "
            "thresholds from 0.5. Try --config.robust=0.1, or 0 for none."
        )
    usual = sum(stage.steps for stage in stages)
    if steps and steps < len(stages):
        raise InputError(
            f"steps={steps} is too small: the continuation has {len(stages)} stages. "
            f"Set --config.steps={usual}, or 0 for the same."
        )
    etas = (0.5 + robust, 0.5, 0.5 - robust) if robust else (0.5,)
    return Settings(
        symmetry=symmetry,
        radius=radius,
        stages=share_out(stages, steps or usual),
        etas=etas,
        nu=nu,
    )


def share_out(stages: tuple[Stage, ...], steps: int) -> tuple[Stage, ...]:
    """Return the stages with their steps scaled to a sum, at least one each."""
    # One for each, the rest in proportion, rounded so that the sum is met.
    weights = np.cumsum([stage.steps - 1 for stage in stages])
    upto = np.round((steps - len(stages)) * weights / weights[-1]).astype(int)
    counts = 1 + np.diff(upto, prepend=0)
    return tuple(
        stage._replace(steps=int(count))
        for stage, count in zip(stages, counts, strict=True)
    )


def _check_base(base: float, nu: float) -> None:
    if not 0 < base < math.inf:
        raise InputError(
            f"base Young's modulus is {base:g}; it must be positive. Set "
            "--config.base.E."
        )
    if not -1 < nu < 0.5:
        raise InputError(
            f"base.nu={nu:g} is not between -1 and 0.5. Set Poisson's ratio of the "
            "base material with --config.base.nu=0.3."
        )
