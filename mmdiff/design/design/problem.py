"""A problem of a user's own: objective of the tensor or load cases, and constraints.

Functions are Python of whoever starts the run, tried on a tensor before anything is
compiled.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.design.design import loads
from mmdiff.design.optimize import goal as goals
from mmdiff.design.optimize import problem
from mmdiff.design.optimize.problem import Constraints, Request
from mmdiff.design.optimize.properties import Results
from mmdiff.errors import InputError, cut, described

MOST = 64  # constraints of a user
_EXAMPLE = (
    "Write it in JAX, as def limits(C): return jnp.stack([0.05 - C[3, 3]]), each met "
    "where it is at most 0."
)


ELSEWHERE = ("target", "weighted")  # objectives that have numbers of their own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user asks for, in texts; see configs/design.py."""

    objective: str = ""
    constraints: str = ""
    loads: str = ""
    load_kind: str = "strain"
    load_weights: str = ""

    def __post_init__(self):
        """Refuse two objectives, none, or one that needs what is not here."""
        if self.objective in ELSEWHERE:
            raise InputError(
                f"objective={self.objective} is for configs/optimize.py, where its "
                "numbers are given. Pass a function, `objective=goals.py:stiffness`."
            )
        named = [name for name in goals.NAMES if name not in ELSEWHERE]
        if self.objective and ":" not in self.objective and self.objective not in named:
            raise InputError(
                f"objective {cut(repr(self.objective))} is unknown. Use "
                f"{', '.join(named)}, or a function, `objective=goals.py:stiffness`."
            )
        if bool(self.objective) == bool(self.loads):
            raise InputError(
                f"objective={self.objective!r} and loads={self.loads!r}: a design has "
                "one of them. Pass a function, `objective=goals.py:stiffness`, or load "
                "cases, `loads=1,0,0,0,0,0`."
            )


def request(wish: Wish, limits: Constraints, **options) -> Request:
    """Return the problem of a wish; options as for `optimize.problem.request`.

    Raises:
      InputError: a function that cannot be used, or what no cell can be.
    """
    if wish.loads:
        objective = loads.goal_of(wish.loads, wish.load_kind, wish.load_weights)
    else:
        objective = wish.objective
    found = problem.request(objective, limits, **options)
    if not wish.constraints:
        return found
    function = goals.load(wish.constraints, "constraints")
    count = check_constraints(function, wish.constraints)
    extended = dataclasses.replace(
        found.problem, extra=_vector(function), num_extra=count
    )
    return found._replace(problem=extended)


@functools.cache  # one object for one function: programs are compiled for it
def _vector(function: Callable) -> Callable:
    return lambda tensor: jnp.ravel(jnp.asarray(function(tensor)))


def check_constraints(function: Callable, name: str) -> int:
    """Return how many values a function of the tensor has.

    Raises:
      InputError: it fails, or its values or their slopes are not finite.
    """
    tensor = goals.plain_tensor()
    try:
        values = jnp.asarray(function(tensor))
        slopes = jax.jacrev(lambda c: jnp.ravel(jnp.asarray(function(c))))(tensor)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(
            f"constraints {name} fail on a 6x6 tensor ({described(error)}). {_EXAMPLE}"
        ) from error
    if values.ndim > 1 or not 0 < values.size <= MOST:
        raise InputError(
            f"constraints {name} return an array of shape {values.shape}; they must "
            f"return one number, or a row of at most {MOST}. {_EXAMPLE}"
        )
    if not (jnp.isfinite(values).all() and jnp.isfinite(slopes).all()):
        raise InputError(
            f"constraints {name} give the values {np.ravel(values).tolist()} and "
            f"slopes with {int((~jnp.isfinite(slopes)).sum())} entries that are not "
            "finite on a plain cubic tensor. Avoid square roots and divisions at zero."
        )
    return int(values.size)


def remarks(wish: Wish, results: Results) -> list[str]:
    """Return sentences about the best cell: constraints, and energies of the loads.

    Both are for base E = 1.
    """
    tensor = np.asarray(results.numbers[0]["C"])
    found, name = [], results.chosen[0].name
    if wish.loads:
        shown = ", ".join(
            f"{energy:.4g}"
            for energy in loads.energies(tensor, wish.loads, wish.load_kind)
        )
        found.append(
            f"{name}: strain energy densities of the loads, base E = 1: {shown}."
        )
    if wish.constraints:
        function = goals.load(wish.constraints, "constraints")
        values = np.ravel(function(jnp.asarray(tensor, jnp.float32)))
        shown = ", ".join(f"{value:.3g}" for value in values)
        found.append(f"{name}: your constraints, met at most at 0: {shown}.")
    return found
