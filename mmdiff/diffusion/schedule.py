"""Noise schedules: gamma(t), its exact inverse and the log signal-to-noise ratio.

x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps, with t in [0, 1] and gamma falling from
about 1 to about 0. Half the log-SNR, lambda = log(sqrt(gamma) / sqrt(1 - gamma)), is
the time variable of DPM-Solver++ (arXiv 2211.01095).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmdiff.errors import InputError
from mmdiff.typing import AnyArray, Array, Float, Scalar

Times = Scalar | Float[AnyArray, "*b"]


@dataclasses.dataclass(frozen=True)
class ExponentialSchedule:
    """The paper's gamma(t) = exp(-(shift + scale t^2))."""

    shift: float = 1e-4
    scale: float = 10.0

    def gamma(self, t: Times) -> Float[Array, "*b"]:
        """Return the share of signal variance at time t."""
        return jnp.exp(-(self.shift + self.scale * t**2))

    def time(self, gamma: Times) -> Float[Array, "*b"]:
        """Return t of a gamma; exact inverse of `gamma`."""
        square = (-jnp.log(gamma) - self.shift) / self.scale
        return jnp.sqrt(jnp.maximum(square, 0.0))


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """gamma(t) = cos^2 of an angle that runs from `low` to pi/2 - `low`."""

    low: float = 0.008

    def gamma(self, t: Times) -> Float[Array, "*b"]:
        """Return the share of signal variance at time t."""
        return jnp.cos(self.low + (np.pi / 2 - 2 * self.low) * t) ** 2

    def time(self, gamma: Times) -> Float[Array, "*b"]:
        """Return t of a gamma; exact inverse of `gamma`."""
        angle = jnp.arccos(jnp.sqrt(gamma))
        return (angle - self.low) / (np.pi / 2 - 2 * self.low)


Schedule = ExponentialSchedule | CosineSchedule


def half_log_snr(schedule: Schedule, t: Times) -> Float[Array, "*b"]:
    """Return lambda(t) = log(sqrt(gamma) / sqrt(1 - gamma))."""
    gamma = schedule.gamma(t)
    return 0.5 * (jnp.log(gamma) - jnp.log1p(-gamma))


def time_of_half_log_snr(schedule: Schedule, value: Times) -> Float[Array, "*b"]:
    """Return t of lambda; exact inverse of `half_log_snr`."""
    return schedule.time(1 / (1 + jnp.exp(-2 * value)))


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """Return plain values that `schedule_from_dict` turns back into the schedule."""
    kind = "cosine" if isinstance(schedule, CosineSchedule) else "exponential"
    return {"kind": kind, **dataclasses.asdict(schedule)}


def schedule_from_dict(fields: Mapping[str, Any]) -> Schedule:
    """Rebuild a schedule from plain values.

    Raises:
      InputError: if `fields["kind"]` names no schedule.
    """
    values = dict(fields)
    kind = values.pop("kind")
    if kind == "exponential":
        return ExponentialSchedule(**values)
    if kind == "cosine":
        return CosineSchedule(**values)
    raise InputError(f"no noise schedule {kind!r}. Use 'exponential' or 'cosine'.")
