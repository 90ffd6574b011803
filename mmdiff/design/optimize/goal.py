"""Objectives by name, and the score that their values are compared by.

Those of `mmdiff.topopt.objectives`, or a function of the 6x6 tensor for base E = 1,
which is tried on a tensor before anything is compiled.
"""

import dataclasses
import functools
import importlib
import runpy
import types
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.errors import InputError, cut, described
from mmdiff.targets.target import Target
from mmdiff.topopt import objectives
from mmdiff.typing import Array, Float

NAMES = ("bulk", "shear", "young", "poisson", "weighted", "target")
_BOUNDED = {"bulk": "K", "shear": "G", "young": "E"}
_EXAMPLE = "Write it in JAX, as def stiffness(C): return C[0, 0]."


@dataclasses.dataclass(frozen=True)
class Goal:
    """An objective and its score, whose name is the label, such as K/K_HS.

    `objective` and `params` are those of a `topopt.problem`.
    """

    name: str
    objective: Callable[[Any], Callable[[Array], Array]]
    params: Any = None
    label: str = "value"

    def score(self, value, volume, nu: float = elasticity.NU):
        """Return the share of a modulus in its bound at a volume, or the number itself.

        Poisson's ratio and the distance to a target lose the objective's minus.
        """
        merit = self.merit(value, volume, nu)
        return -merit if self.name in ("poisson", "target") else merit

    def merit(self, value, volume, nu: float = elasticity.NU):
        """Return the score such that more is better; takes arrays as well."""
        if self.name not in _BOUNDED:
            return value
        limits = bounds.hashin_shtrikman(volume, nu)
        return value / limits["KGE".index(_BOUNDED[self.name])]

    @property
    def is_stiffness(self) -> bool:
        """Whether the value is a modulus, in units of the base material's."""
        return self.name in (*_BOUNDED, "weighted", "loads")

    def number(self, score: float) -> str:
        """Return a score as text."""
        return f"{100 * score:.3g} %" if self.name == "target" else f"{score:.3f}"

    def show(self, score: float) -> str:
        """Return a score as text, with its name."""
        return f"{self.label} {self.number(score)}"


def choose(
    name: str | Callable,
    target: Target | None = None,
    weights: Sequence[float] = (1.0, 0.0, 0.0),
) -> Goal:
    """Return the goal of a name or a function; InputError where it cannot be used.

    The name is one of `NAMES`, `module:function` or `file.py:function`; "weighted" has
    weights of K, C44 and (C11 - C12) / 2.
    """
    if callable(name):
        return _of_function(name, getattr(name, "__name__", "value"))
    if name in _BOUNDED:
        plain, modulus = getattr(objectives, name), _BOUNDED[name]
        return Goal(name, lambda _: plain, label=f"{modulus}/{modulus}_HS")
    if name == "poisson":
        return Goal(name, lambda _: objectives.poisson, label="nu")
    if name == "weighted":
        if not np.isfinite(weights).all() or not np.any(weights):
            raise InputError(
                f"weights={tuple(weights)} weigh nothing. Give those of K, C44 and "
                "(C11 - C12) / 2, such as `weights='(1.0, 0.5, 0.5)'`."
            )
        params = np.array(weights, np.float32)
        return Goal(name, objectives.weighted, params, "weighted sum / E base")
    if name == "target":
        return Goal(name, objectives.nearness, np.array(target.constants), "error")
    if ":" not in name:
        raise InputError(
            f"objective {cut(repr(name))} is unknown. Use {', '.join(NAMES)}, or "
            "module:function for a JAX function of the 6x6 tensor."
        )
    return _of_function(load(name), name)


def _of_function(function: Callable, name: str) -> Goal:
    check(function, name)
    # With a colon: a function called "bulk" is not the objective of that name.
    place, _, label = name.rpartition(":")
    return Goal(f"{place}:{label}", lambda _: function, label=label)


def load(name: str, what: str = "objective") -> Callable:
    """Return the function of `module:function` or `file.py:function`.

    `what` is the key that names it, for messages.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _module(place)
    except (Exception, SystemExit) as error:  # whatever the user's own file raises
        raise InputError(
            f"{what} {cut(name)}: {cut(place)} cannot be imported "
            f"({described(error)}). Give a file such as "
            f"`{what}=goals.py:stiffness`, or a module that Python finds."
        ) from error
    function = getattr(module, attribute, None)
    if function is None:
        members = vars(module).items()
        known = (k for k, v in members if isinstance(v, types.FunctionType))
        raise InputError(
            f"{what} {cut(name)}: {cut(place)} has no {cut(repr(attribute))}. Its "
            f"functions: {cut(', '.join(known)) or 'none'}."
        )
    if not callable(function):
        raise InputError(
            f"{what} {name} is of type {type(function).__name__}, not a function. "
            f"{_EXAMPLE}"
        )
    return function


@functools.cache
def _module(place: str):
    if place.endswith(".py"):
        return types.SimpleNamespace(**runpy.run_path(place))
    return importlib.import_module(place)


def plain_tensor() -> Float[Array, "6 6"]:
    """Return a cubic tensor to try functions on, float32, base E = 1.

    Neither isotropic nor special in any other way: kinks there are no mistake.
    """
    constants = np.array([0.21, 0.083, 0.049], np.float32)
    return jnp.asarray(elasticity.cubic_to_voigt(constants))


def check(function: Callable, name: str) -> None:
    """Raise InputError unless a function of the tensor has a usable gradient."""
    tensor = plain_tensor()
    try:
        value = jnp.asarray(function(tensor))
        gradient = jax.grad(lambda c: jnp.asarray(function(c)).sum())(tensor)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(
            f"objective {name} fails on a 6x6 tensor ({described(error)}). {_EXAMPLE}"
        ) from error
    if value.shape != ():
        raise InputError(
            f"objective {name} returns an array of shape {value.shape}; it must return "
            f"one number. {_EXAMPLE}"
        )
    if not (jnp.isfinite(value) and jnp.isfinite(gradient).all()):
        raise InputError(
            f"objective {name} gives the value {float(value):g} and a gradient with "
            f"{int((~jnp.isfinite(gradient)).sum())} entries that are not finite on a "
            "plain cubic tensor. Avoid square roots and divisions at zero."
        )
    if not gradient.any():
        raise InputError(
            f"objective {name} does not change with the tensor: its gradient is zero. "
            f"{_EXAMPLE}"
        )
