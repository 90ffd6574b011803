"""The target a person asks for: reading it, and saying early what cannot work.

A target is C11, C12, C44 of a cubic cell in units of the base material's Young's
modulus, with or without a volume fraction. Moduli are converted on reading.
"""

import dataclasses

import numpy as np

from mmdiff import elasticity
from mmdiff.data.select import property_distance
from mmdiff.errors import InputError

_FORMS = (
    'Give "C11,C12,C44", "E=..,nu=..,zener=.." or "K=..,G=..,zener=..", for example '
    "--config.target=0.110,0.045,0.040."
)


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked for, with base E = 1.

    Attributes:
      constants: (C11, C12, C44).
      volume: volume fraction of solid in (0, 1), None where it is free.
    """

    constants: tuple[float, float, float]
    volume: float | None


def parse(text: str, *, volume: float | None = None, base: float = 1.0) -> Target:
    """Read a target.

    Args:
      text: "C11,C12,C44", or moduli by name: "E=..,nu=..,zener=..",
        "K=..,G=..,zener=..".
      volume: volume fraction, None where it is free.
      base: Young's modulus of the base material, in the units of the target.

    Raises:
      InputError: if the text cannot be read, or a value is out of range.
    """
    if base <= 0:
        raise InputError(
            f"base Young's modulus is {base:g}; it must be positive. "
            "Set --config.base.E."
        )
    if volume is not None and not 0 < volume < 1:
        raise InputError(
            f"volume fraction vf={volume:g} is not between 0 and 1. Give a fraction of "
            "solid such as --config.vf=0.3, or --config.vf=0 to leave it free."
        )
    parts = [part.strip() for part in text.strip().split(",")]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    try:
        numbers = {name.strip(): float(value) for name, value in named.items()}
        values = [float(part) for part in parts if "=" not in part]
    except ValueError:
        raise InputError(
            f"target {text!r} holds something not a number. {_FORMS}"
        ) from (None)
    if not named and len(values) == 3:
        constants = np.array(values) / base
    elif not values and set(numbers) == {"C11", "C12", "C44"}:
        constants = np.array([numbers[name] for name in elasticity.NAMES]) / base
    elif not values and set(numbers) == {"E", "nu", "zener"}:
        constants = _from_e_nu_zener(numbers, base)
    elif not values and set(numbers) == {"K", "G", "zener"}:
        bulk, shear, zener = (np.float64(numbers[k]) for k in ("K", "G", "zener"))
        if zener <= 0:
            raise InputError(f"Zener ratio {zener:g} must be positive. {_FORMS}")
        constants = elasticity.from_k_g_zener(bulk / base, shear / base, zener)
    else:
        raise InputError(f"target {text!r} is not three constants. {_FORMS}")
    if not np.isfinite(constants).all():
        raise InputError(f"target {text!r} is not finite. {_FORMS}")
    return Target(tuple(float(c) for c in constants), volume)


def _from_e_nu_zener(numbers, base):
    young, nu, zener = (np.float64(numbers[k]) for k in ("E", "nu", "zener"))
    if not -1 < nu < 0.5 or zener <= 0:
        raise InputError(
            f"nu={nu:g}, zener={zener:g} is not a stable material: -1 < nu < 0.5 and "
            "zener > 0 are needed. Change them."
        )
    return elasticity.from_e_nu_zener(young / base, nu, zener)


def check(target: Target, *, nu: float = elasticity.NU, allow_infeasible: bool = False):
    """Refuse targets that no cell can reach.

    Args:
      target: what is asked for, base E = 1.
      nu: Poisson's ratio of the base material.
      allow_infeasible: skip the bounds (not the stability of the target itself).

    Raises:
      InputError: not positive definite, units suspected, or above a bound.
    """
    constants = np.array(target.constants)
    solid = elasticity.isotropic(nu=nu)
    values = ", ".join(
        f"{name}={value:g}"
        for name, value in zip(elasticity.NAMES, constants, strict=True)
    )
    margins = elasticity.stability_margins(constants)
    for name, margin in margins.items():
        if margin <= 0:
            others = [f"{other} > 0" for other in margins if other != name]
            raise InputError(
                f"target {values} is not a stable material: {name} = {margin:.4g} must "
                f"be positive (also {' and '.join(others)})."
            )
    if allow_infeasible:
        return
    # No cell is stiffer than the solid; numbers above that are in other units.
    for name, value, limit in zip(elasticity.NAMES, constants, solid, strict=True):
        if value > 1.5 * limit:
            raise InputError(
                f"target {name}={value:g}: this checkpoint expects stiffness divided "
                "by the base Young's modulus. Pass --config.base.E=210000 to give "
                "values in MPa."
            )
    _check_bounds(constants, target.volume, nu)


def _check_bounds(constants, volume, nu):
    bulk = elasticity.moduli(constants)["K"]
    share = 1.0 if volume is None else volume
    limit = elasticity.hashin_shtrikman(np.float64(share), nu)[0]
    if bulk > limit:
        needed = elasticity.volume_for_bulk(bulk, nu)
        way = f"Lower C or raise vf to at least {needed:.2f}."
        if needed >= 1:
            way = "Lower C: the solid itself is softer."
        raise InputError(
            f"target bulk modulus {bulk:.3g} at vf {share:.2f} exceeds the "
            f"Hashin-Shtrikman limit {limit:.3g} for E=1, nu={nu:g}. {way} "
            "To try anyway: --config.allow_infeasible=true"
        )
    # Voigt's bound holds for each shear modulus of a cubic cell.
    shear = share / (2 * (1 + nu))
    for name, value in (
        ("C44", constants[2]),
        ("(C11 - C12)/2", (constants[0] - constants[1]) / 2),
    ):
        if value > shear:
            raise InputError(
                f"target shear modulus {name} = {value:.3g} at vf {share:.2f} exceeds "
                f"the Voigt limit {shear:.3g} for E=1, nu={nu:g}. Lower it or raise "
                "vf. To try anyway: --config.allow_infeasible=true"
            )


def training_distance(target: Target, known: np.ndarray) -> float:
    """Return the distance to the nearest training cell, see `property_distance`.

    Args:
      target: what is asked for, base E = 1.
      known: (N, 4) C11, C12, C44, V of the training cells.
    """
    volume = np.nan if target.volume is None else target.volume
    return float(property_distance(np.array([[*target.constants, volume]]), known)[0])
