"""From an objective and constraints to a problem of `mmdiff.topopt`.

Plain values in, a `Problem` with its `Limits` out, in units of the base material. What
no cell can be is refused before anything is compiled.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmdiff import elasticity
from mmdiff.design.optimize import goal as goals
from mmdiff.design.optimize.goal import Goal
from mmdiff.errors import InputError
from mmdiff.targets import feasibility
from mmdiff.targets import target as targets
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import AnyTarget, Target
from mmdiff.topopt.problem import Limits, Problem

FLOOR = 0.01  # of Young's modulus where Poisson's ratio alone is asked for


class Constraints(NamedTuple):
    """Constraints of a cell."""

    volume: float  # fraction of solid in (0, 1)
    volume_is: str = "at most"  # or "equal"
    isotropy: float = 0.0  # half width of the Zener ratio's band around 1; 0 for none
    min_young: float = 0.0  # floor along <100> in units of the base's; 0 for none


class Request(NamedTuple):
    """A problem as it was asked for: its numbers are for base E = 1.

    The notes are sentences about values that were chosen for the user.
    """

    goal: Goal
    problem: Problem
    limits: Limits
    target: Target | None
    notes: tuple[str, ...]


def request(
    objective: str | Callable | Goal,
    constraints: Constraints,
    *,
    target: str | AnyTarget = "",
    weights: Sequence[float] = (1.0, 0.0, 0.0),
    base: float = 1.0,
    nu: float = elasticity.NU,
    symmetry: str = "cubic",
    allow_infeasible: bool = False,
) -> Request:
    """Return the problem of an objective and its constraints.

    Args:
      objective: see `goal.choose`; or a goal.
      constraints: of the cell.
      target: a target or its text, see `target.parse`; of the objective "target".
      weights: of the objective "weighted", see `goal.choose`.
      base: Young's modulus of the base material.
      nu: its Poisson's ratio.
      symmetry: of the cell, "cubic" or "orthotropic".
      allow_infeasible: skip the bounds on target and floor.

    Raises:
      InputError: what no cell can be.
    """
    volume, volume_is, isotropy, min_young = constraints
    if volume_is not in ("at most", "equal"):
        raise InputError(
            f"volume_is={volume_is!r} is unknown. Use 'at most' or 'equal', such as "
            "`volume_is=equal`."
        )
    if objective == "target" and not target:
        raise InputError(
            "objective=target needs a target. Give one such as "
            "`target=0.110,0.045,0.040`."
        )
    if objective == "target" and symmetry != "cubic":
        raise InputError(
            f"objective=target is for tensors of cubic cells, and symmetry={symmetry}. "
            "Pass `symmetry=cubic`."
        )
    if target:
        target = _target(target, volume, base, determined=objective == "target")
        feasibility.check_feasible(target, nu=nu, allow_infeasible=allow_infeasible)
    goal = (
        objective
        if isinstance(objective, Goal)
        else goals.choose(objective, target or None, weights)
    )
    floor, notes = min_young / base, ()
    if floor >= volume and not allow_infeasible:
        raise InputError(
            f"min_young={min_young:g} is above {volume * base:g}, the Voigt limit of "
            f"Young's modulus at volume fraction {volume:g}. Lower `min_young` or "
            "raise `volume`. To try anyway: `allow_infeasible=True`."
        )
    if objective == "poisson" and floor == 0:
        floor = FLOOR
        notes = (
            "objective=poisson needs a floor of stiffness: using min_young="
            f"{FLOOR * base:g}, {100 * FLOOR:g} % of the solid's. Set another with "
            "`min_young`.",
        )
    problem = Problem(goal.objective, volume_is == "equal", isotropy > 0, floor > 0)
    limits = Limits(volume, isotropy, floor, goal.params)
    return Request(goal, problem, limits, target or None, notes)


def _target(
    target: str | AnyTarget, volume: float, base: float, *, determined: bool
) -> Target:
    """Return a target with its volume; `determined` where no constant may be free."""
    if isinstance(target, str):
        text, target = target, targets.parse(target, volume=volume, base=base)
    else:
        text = ",".join(f"{name}={value:g}" for name, value in target.asked)
    if isinstance(target, OrthotropicTarget):
        raise InputError(
            "target is an orthotropic tensor, and objective=target takes cubic ones. "
            "Pass `project_cubic=True` to mmdiff.target, or a function of the tensor "
            "as the objective."
        )
    if target.volume is None:
        target = dataclasses.replace(target, volume=volume)
    if determined and not target.is_determined:
        raise InputError(
            f"target {text} leaves constants free, and objective=target needs all "
            "three. Give C11, C12 and C44, or as many moduli."
        )
    if target.volume != volume:
        raise InputError(
            f"target {text} asks for volume {target.volume:g} and volume={volume:g} is "
            "given. Give it once, with `volume`."
        )
    return target
