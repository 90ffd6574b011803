"""A problem of topology optimization: an objective to maximize, and constraints.

The static part, which a compiled program is made for, is a `Problem`; the numbers,
which may change without compiling anything, are its `Limits`. Constraints are written
as g <= 0 and scaled to be of order one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from mmdiff.topopt import objectives
from mmdiff.typing import AnyArray, Array, Float, Scalar


@dataclasses.dataclass(frozen=True)
class Problem:
    """The functions of a problem.

    Attributes:
      objective: `objective(params) -> (C -> value)`; the value is maximized.
      equality: whether the volume is prescribed; otherwise it is an upper bound.
      isotropic: whether the Zener ratio is kept in a band around 1.
      stiff: whether Young's modulus along <100> has a floor.
      extra: further constraints of the tensor, `extra(C) -> (k,)`, or None.
      num_extra: number of them.
    """

    objective: Callable[[Any], Callable[[Array], Array]]
    equality: bool = False
    isotropic: bool = False
    stiff: bool = False
    extra: Callable[[Array], Array] | None = None
    num_extra: int = 0

    @property
    def num_constraints(self) -> int:
        """Number of entries of `constraints`."""
        own = 1 + self.equality + 2 * self.isotropic + self.stiff
        return own + self.num_extra


class Limits(NamedTuple):
    """The numbers of a problem: volume, limits, arguments of the objective (a pytree).

    The Zener ratio is within 1 / (1 + band) and 1 + band; `young` is the least modulus
    along <100>, base E = 1.
    """

    volume: Scalar
    band: Scalar = 0.01
    young: Scalar = 0.0
    params: Any = None


def constraints(
    problem: Problem, limits: Limits, tensor: Float[AnyArray, "6 6"], volume: Scalar
) -> Float[Array, "k"]:
    """Return the constraints of a tensor and a volume, each met where <= 0."""
    excess = volume / limits.volume - 1
    found = [excess]
    if problem.equality:
        found.append(-excess)
    if problem.isotropic:
        # The logarithm treats a ratio and its inverse alike.
        ratio, width = jnp.log(objectives.zener(tensor)), jnp.log1p(limits.band)
        found += [ratio - width, -ratio - width]
    if problem.stiff:
        found.append(1 - objectives.young(tensor) / limits.young)
    own = jnp.stack(found)
    if problem.extra is None:
        return own
    further = jnp.reshape(problem.extra(tensor), problem.num_extra)
    return jnp.concatenate([own, further.astype(own.dtype)])
