"""Noise schedules: gamma(t) and the log signal-to-noise ratio.

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


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """gamma(t) = cos^2 of an angle that runs from `low` to pi/2 - `low`."""

    low: float = 0.008

    def gamma(self, t: Times) -> Float[Array, "*b"]:
        """Return the share of signal variance at time t."""
        return jnp.cos(self.low + (np.pi / 2 - 2 * self.low) * t) ** 2


Schedule = ExponentialSchedule | CosineSchedule
SCHEDULES = {"exponential": ExponentialSchedule, "cosine": CosineSchedule}


def half_log_snr(schedule: Schedule, t: Times) -> Float[Array, "*b"]:
    """Return lambda(t) = log(sqrt(gamma) / sqrt(1 - gamma))."""
    gamma = schedule.gamma(t)
    return 0.5 * (jnp.log(gamma) - jnp.log1p(-gamma))


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """Return plain values that `schedule_from_dict` turns back into the schedule."""
    kinds = {kind: name for name, kind in SCHEDULES.items()}
    return {"kind": kinds[type(schedule)], **dataclasses.asdict(schedule)}


def schedule_from_dict(fields: Mapping[str, Any]) -> Schedule:
    """Return the schedule of a kind, its fields as usual where they are not given.

    Raises:
      InputError: if `fields["kind"]` names no schedule.
    """
    values = dict(fields)
    kind = values.pop("kind")
    if kind not in SCHEDULES:
        raise InputError(f"no noise schedule {kind!r}. Use {' or '.join(SCHEDULES)}.")
    return SCHEDULES[kind](**values)
