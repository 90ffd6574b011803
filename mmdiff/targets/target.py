"""Targets: any quantities of a cubic tensor, and the distance of a cell from them.

A target fixes up to three of C11, C12, C44, K, G, E, nu and zener, stiffness in units
of the base material's Young's modulus, with or without a volume fraction. Where all
three constants follow, errors are those of the constants (arXiv 2401.13570, Eq. 3);
else each quantity of the target counts, and the others are free. `feasibility` refuses
what no cell can have.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmdiff import elasticity
from mmdiff.errors import InputError
from mmdiff.targets import orthotropic, quantities, tensor_text
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.typing import AnyArray, Float

MOST = 1e100  # of a number: sums of such are finite, too
FORMS = (
    'Give "C11,C12,C44", some of C11, C12, C44, K, G, E, nu and zener by name, such as '
    '"E=0.1,nu=0.2", or the 36 numbers of a 6x6 tensor; for example '
    "`target=0.110,0.045,0.040`."
)


@dataclasses.dataclass(frozen=True)
class Target:
    """Quantities that a cell shall have, with base E = 1; made by `mmdiff.target`.

    Attributes:
      asked: names and values, see `quantities.NAMES`; independent of each other.
      volume: volume fraction of solid in (0, 1), None where it is free.
    """

    asked: tuple[tuple[str, float], ...]
    volume: float | None = None

    @functools.cached_property
    def constants(self) -> tuple[float, float, float]:
        """C11, C12, C44 as far as they follow from these quantities, NaN where free."""
        return tuple(float(c) for c in quantities.solve(dict(self.asked)))

    @property
    def is_determined(self) -> bool:
        """Whether all three constants are fixed."""
        return not np.isnan(self.constants).any()

    @property
    def counted(self) -> tuple[tuple[str, float], ...]:
        """Names and values that the error is of: the constants if all are fixed."""
        if self.is_determined:
            return tuple(zip(elasticity.NAMES, self.constants, strict=True))
        return self.asked


AnyTarget = Target | OrthotropicTarget


def closest_cubic(target: AnyTarget) -> Target:
    """Return the target of the closest cubic tensor, which may be the target itself."""
    if isinstance(target, Target):
        return target
    return of_constants(elasticity.voigt_to_cubic(target.tensor), target.volume)


def of_constants(
    constants: Float[np.ndarray, "3"] | Sequence[float], volume: float | None = None
) -> Target:
    """Return the target of C11, C12, C44 (3,) with base E = 1."""
    pairs = zip(elasticity.NAMES, map(float, constants), strict=True)
    return Target(tuple(pairs), volume)


@functools.lru_cache(maxsize=64)
def residual(target: AnyTarget) -> Callable[[AnyArray], AnyArray]:
    """Return `residual(constants (..., c)) -> (..., k)` of a target.

    (goal - present) / scale of each quantity in `Target.counted`, with the scales of
    `quantities.SCALES`; takes NumPy and JAX arrays and may be traced. The constants are
    three, or the nine of an orthotropic target.
    """
    names = [name for name, _ in target.counted]
    goals, cubic = np.array([v for _, v in target.counted]), isinstance(target, Target)
    scales = quantities.scales(names) if cubic else orthotropic.SCALES

    def residual(constants: AnyArray) -> AnyArray:
        present = quantities.values(constants, names) if cubic else constants
        like = (np.asarray(a, constants.dtype) for a in (goals, scales))
        goal, unit = (a.reshape((1,) * (present.ndim - 1) + (-1,)) for a in like)
        return (goal - present) / unit

    return residual


def error(
    target: AnyTarget, constants: Float[np.ndarray, "*b c"]
) -> Float[np.ndarray, "*b"] | np.floating:
    """Return the mean of |residual|: the range error where all constants are fixed."""
    return abs(residual(target)(constants)).mean(-1)


def relative_error(
    target: AnyTarget, constants: Float[np.ndarray, "*b c"]
) -> Float[np.ndarray, "*b"] | np.floating:
    """Return the mean relative error of the counted quantities.

    As `elasticity.relative_error` where all constants are fixed. Else |C12| is floored
    at 1 % of C11 (the cell's own), and nu, which may be zero, counts by its difference.
    Constants of an orthotropic target are floored at 1 % of its largest.
    """
    if isinstance(target, OrthotropicTarget):
        goal = np.array(target.constants)
        size = np.maximum(abs(goal), 0.01 * goal.max())
        return (abs(constants - goal) / size).mean(-1)
    if target.is_determined:
        return elasticity.relative_error(constants, np.array(target.constants))
    parts = []
    for name, goal in target.asked:
        difference = abs(quantities.values(constants, [name])[..., 0] - goal)
        size = 1.0 if name == "nu" else abs(goal)
        if name == "C12":
            size = np.maximum(size, 0.01 * abs(constants[..., 0]))
        parts.append(difference / size)
    return np.mean(parts, axis=0)


def parse(
    text: str,
    *,
    volume: float | None = None,
    base: float = 1.0,
    project_cubic: bool = False,
) -> AnyTarget:
    """Return the target that a text describes: the elastic tensor of a cell, or parts.

    Stiffness is in units of `base`, so that the default 1 takes it as a fraction of the
    Young's modulus of the solid. Quantities that are not named are free.

    Args:
      text: the constants "C11,C12,C44" of a cubic tensor; up to three of C11, C12, C44,
        K, G, E, nu and zener by name, such as "E=0.1,nu=0.2", and "V=0.3" for the
        volume among them; the 36 numbers of a 6x6 tensor, or the name of a .txt file
        of them. E and nu are along <100>, zener = 2 C44 / (C11 - C12).
      volume: volume fraction of solid, None or 0 where it is free; a V in the text goes
        before it.
      base: Young's modulus of the base material, in the units of the target.
      project_cubic: take the closest cubic tensor of one that is not cubic. Else an
        orthotropic one with the axes of the cell is taken as it is.

    Raises:
      InputError: the text cannot be read, or names quantities that depend on each
        other.

    Example:
      >>> mm.target("E=0.1,nu=0.2", volume=0.3)
      Target(asked=(('E', 0.1), ('nu', 0.2)), volume=0.3)
      >>> mm.target("23100, 9450, 8400", base=210000).constants  # in MPa, of steel
      (0.11, 0.045, 0.04)
    """
    text = tensor_text.load(text)
    parts = re.sub(r"\s*=\s*", "=", text.strip())
    parts = [part for part in re.split(r"[\s,;]+", parts) if part]
    try:
        numbers = [float(part) for part in parts if "=" not in part]
        named = [part.partition("=")[::2] for part in parts if "=" in part]
        named = [(name, float(value)) for name, value in named]
    except ValueError:
        raise InputError(
            f"target {_short(text)} holds something not a number. {FORMS}"
        ) from None
    values = np.abs([*numbers, *(value for _, value in named)])
    if not np.isfinite(values).all():
        raise InputError(f"target {_short(text)} is not finite. {FORMS}")
    if (values > MOST).any():
        raise InputError(f"target {_short(text)} has numbers above {MOST:g}. {FORMS}")
    asked = dict(named)
    if len(asked) < len(named):
        raise InputError(
            f"target {_short(text)} names one quantity twice. Name each once."
        )
    if numbers and (named or len(numbers) not in (3, 36)):
        raise InputError(
            f"target {_short(text)} is neither three constants nor 36 numbers of a "
            f"tensor nor all by name. {FORMS}"
        )
    if len(numbers) == 36:
        tensor = np.reshape(numbers, (6, 6))
        if not project_cubic and tensor_text.is_orthotropic(tensor):
            nine = elasticity.voigt_to_orthotropic((tensor + tensor.T) / 2)
            return _orthotropic(nine, volume, base)
        numbers = tensor_text.to_cubic(tensor, project=project_cubic).tolist()
    if numbers:
        asked = dict(zip(elasticity.NAMES, numbers, strict=True))
    return from_values(asked, volume=volume, base=base)


def from_values(
    asked: Mapping[str, float], *, volume: float | None = None, base: float = 1.0
) -> Target:
    """Return the target of finite quantities by name; arguments are those of `parse`.

    Raises:
      InputError: an unknown name, nothing asked, quantities that follow from others, or
        a base modulus or a volume out of range.
    """
    asked = dict(asked)
    volume = _checked(asked.pop("V", volume or None), base)
    unknown = [name for name in asked if name not in quantities.NAMES]
    if unknown:
        raise InputError(
            f"target names {unknown[0]!r}, which is no known quantity. Use some of "
            f"{', '.join(quantities.NAMES)} and V."
        )
    if not asked:
        raise InputError(
            "target asks for nothing of the tensor: the volume alone is met by any "
            f"cell. {FORMS}"
        )
    quantities.check_independent(asked)
    units = {name: base if name in quantities.STIFF else 1.0 for name in asked}
    return Target(tuple((k, value / units[k]) for k, value in asked.items()), volume)


def _orthotropic(constants, volume, base):
    """Return the target of nine constants in the units of a base modulus."""
    volume = _checked(volume or None, base)
    return OrthotropicTarget(tuple((constants / base).tolist()), volume)


def _checked(volume, base):
    """Return a volume, None where it is free; InputError for it or a modulus."""
    if not 0 < base < np.inf:
        raise InputError(
            f"base Young's modulus is {base:g}; it must be positive. Set `base`."
        )
    if volume is not None and not 0 < volume < 1:
        raise InputError(
            f"volume fraction {volume:g} is not between 0 and 1. Give a fraction of "
            "solid such as `volume=0.3`, or `volume=0` to leave it free."
        )
    return volume


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) < 60 else line[:57] + "...")
