"""Conditions of the generative model: scaling to [0, 1], null values and drop-out.

A condition that is left free has the value -1, for which the network has a learned
null embedding. Every component can be free by itself, so that a trained model answers
any subset of `NAMES`, and the unconditional pass that guidance needs. Soft cells crowd
near zero; a power below 1 of the raw values gives them room.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.errors import InputError
from mmdiff.typing import AnyArray, Array, Float, Key, Scalar

NULL = -1.0
# Constants for base E = 1, the volume fraction, and 1 where the void is one open piece,
# else 0.
NAMES = ("C11", "C12", "C44", "V", "drainable")
GROUPS = (("C11", "C12", "C44"), ("V",), ("drainable",))  # that are freed together


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Names and ranges of the raw conditions.

    Attributes:
      names: those of `NAMES`, for a network that is trained here.
      low: raw value that maps to 0, per component.
      high: raw value that maps to 1, per component.
      power: raw values are scaled as sign(v) |v|^power; 1 for the values themselves.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    power: float = 1.0

    def normalize(self, raw: Float[AnyArray, "*b k"]) -> Float[Array, "*b k"]:
        """Map raw values to [0, 1] by min and max; NaN (free) becomes -1.

        Values outside the range are kept as they are beyond [0, 1], but never reach
        -1/2, below which a value counts as free.
        """
        shape = (1,) * (raw.ndim - 1) + (-1,)
        ends = (jnp.asarray(v, raw.dtype) for v in (self.low, self.high))
        low, high = (_signed_power(v, self.power).reshape(shape) for v in ends)
        scaled = (_signed_power(raw, self.power) - low) / (high - low)
        return jnp.where(jnp.isnan(raw), NULL, jnp.maximum(scaled, -0.4))

    def from_values(
        self, **values: Scalar | Float[AnyArray, "b"]
    ) -> Float[Array, "*b k"]:
        """Normalise named raw values; components not named, or NaN, stay free.

        Raises:
          InputError: if a name is unknown.
        """
        unknown = sorted(set(values) - set(self.names))
        if unknown:
            raise InputError(
                f"unknown condition {', '.join(unknown)}. "
                f"Use some of {', '.join(self.names)}."
            )
        raw = (jnp.asarray(values.get(name, np.nan), float) for name in self.names)
        return self.normalize(jnp.stack(jnp.broadcast_arrays(*raw), -1))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable fields; `from_dict` is the inverse."""
        fields = dataclasses.asdict(self)
        lists = {name: list(fields[name]) for name in ("names", "low", "high")}
        return {**lists, "power": self.power}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Conditions":
        """Rebuild from `to_dict`."""
        values = {name: tuple(fields[name]) for name in ("names", "low", "high")}
        return cls(**values, power=fields.get("power", 1.0))


def fit_conditions(
    names: Sequence[str], raw: Float[AnyArray, "b k"], power: float = 1.0
) -> Conditions:
    """Return conditions whose range is the minimum and maximum of the data."""
    raw = np.asarray(raw, np.float64)
    low, high = raw.min(0), raw.max(0)
    # A constant column would divide by zero.
    high = np.where(high > low, high, low + 1.0)
    return Conditions(tuple(names), tuple(low.tolist()), tuple(high.tolist()), power)


def drop(
    key: Key, cond: Float[Array, "k"], *, names: Sequence[str], rate: float = 0.1
) -> Float[Array, "k"]:
    """Free conditions of one example at random, for training.

    With probability `rate` each of these: all components, those of each group of
    `GROUPS`, every component by itself with probability 1/2; else none.
    """
    key_group, key_each = jax.random.split(key)
    u = jax.random.uniform(key_group)
    groups = [np.isin(names, group) for group in GROUPS]
    each = jax.random.bernoulli(key_each, 0.5, cond.shape)
    everything, nothing = np.ones(len(names), bool), np.zeros(len(names), bool)
    ways = jnp.stack([everything, *groups, each, nothing])
    edges = jnp.asarray(rate * np.arange(1, len(ways)), u.dtype)
    return jnp.where(ways[jnp.searchsorted(edges, u, side="right")], NULL, cond)


def _signed_power(value, power):
    return value if power == 1 else jnp.sign(value) * jnp.abs(value) ** power
