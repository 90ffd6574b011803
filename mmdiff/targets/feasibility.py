"""Bounds that refuse a target before anything is computed, and distances to training.

The bounds are that of Hashin and Shtrikman for K, Voigt's for each of the shear moduli
C44 and (C11 - C12) / 2 of a cubic cell, and that of the stiffest laminates for the two
together (`mmdiff.bounds`). Other quantities are written in these; a target that free
constants could still meet passes.
"""

import numpy as np

from mmdiff import bounds, elasticity
from mmdiff.errors import InputError
from mmdiff.targets import quantities
from mmdiff.targets.orthotropic import OrthotropicTarget
from mmdiff.targets.target import AnyTarget, Target
from mmdiff.typing import Float

ANYWAY = "To try anyway: `allow_infeasible=True`"


def check_feasible(
    target: AnyTarget, *, nu: float = elasticity.NU, allow_infeasible: bool = False
) -> None:
    """Raise InputError for a target that no cell can reach.

    Args:
      target: from `mmdiff.target`.
      nu: Poisson's ratio of the base material.
      allow_infeasible: skip the bounds (not the stability of the target itself).

    Raises:
      InputError: the tensor is not positive definite, its units are not those of the
        base material, or it exceeds a bound, which the message names.

    Example:
      >>> mm.check_feasible(mm.target("E=0.1,nu=0.2", volume=0.3))
      >>> mm.check_feasible(mm.target("K=0.2", volume=0.3))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      mmdiff.errors.InputError: target bulk modulus 0.2 at volume 0.30 exceeds the ...
    """
    if isinstance(target, OrthotropicTarget):
        _check_orthotropic(target, nu, allow_infeasible)
        return
    _check_stability(target)
    if allow_infeasible:
        return
    # No cell is stiffer than the solid; numbers above that are in other units.
    solid = elasticity.isotropic(nu=nu)
    for name, value in target.asked:
        stiff = name in quantities.STIFF
        if stiff and value > 1.5 * quantities.values(solid, [name])[0]:
            raise _other_units(name, value)
    _check_bounds(target, nu)


def _other_units(name, value):
    return InputError(
        f"target {name}={value:g}: this checkpoint expects stiffness divided "
        "by the base Young's modulus. Pass `base=210000` to give values in MPa."
    )


def _check_orthotropic(target, nu, allow_infeasible):
    """Refuse what is not stable, in other units, or stiffer than Voigt's bound."""
    tensor = target.tensor
    least = np.linalg.eigvalsh(tensor)[0]
    if least <= 0:
        raise InputError(
            "target tensor is not a stable material: its least eigenvalue "
            f"{least:.4g} must be positive. Change it."
        )
    if allow_infeasible:
        return
    solid = elasticity.cubic_to_voigt(elasticity.isotropic(nu=nu))
    for name, value in target.asked:
        if value > 1.5 * solid[0, 0]:
            raise _other_units(name, value)
    share = 1.0 if target.volume is None else target.volume
    bulk = tensor[:3, :3].sum() / 9  # the bound of K holds for any symmetry
    top_bulk = float(bounds.hashin_shtrikman(np.float64(share), nu)[0])
    if bulk > top_bulk:
        raise InputError(
            f"target bulk modulus {bulk:.3g} at volume {share:.2f} exceeds the "
            f"Hashin-Shtrikman limit {top_bulk:.3g} for E=1, nu={nu:g}. Lower C or "
            f"raise the volume. {ANYWAY}"
        )
    # Of all strains the one for which the target exceeds the solid's share by most.
    root = np.linalg.inv(np.linalg.cholesky(solid))
    most = np.linalg.eigvalsh(root @ tensor @ root.T)[-1]
    if most > share:
        raise InputError(
            f"target tensor at volume {share:.2f} exceeds the Voigt limit for E=1, "
            f"nu={nu:g}: for one strain it has {most:.3g} of the energy of the solid. "
            f"Lower it or raise the volume. {ANYWAY}"
        )


def _check_stability(target):
    def unstable(why):
        text = _text(target.asked)
        return InputError(f"target {text} is not a stable material: {why}")

    asked = dict(target.asked)
    if not -1 < asked.get("nu", 0.0) < 0.5 or asked.get("zener", 1.0) <= 0:
        raise unstable("-1 < nu < 0.5 and zener > 0 are needed. Change them.")
    for name in ("K", "G", "E") if "C12" in asked else ("K", "G", "E", "C11"):
        if asked.get(name, 1.0) <= 0:
            raise unstable(f"{name} = {asked[name]:.4g} must be positive. Change it.")
    constants = np.array(target.constants)
    if np.isinf(constants).any():
        raise unstable(
            "no finite constants have these values together. Change one of them."
        )
    margins = elasticity.stability_margins(constants)
    for name, margin in margins.items():
        if margin <= 0:  # not where it is free: NaN
            fixed = [other for other, value in margins.items() if not np.isnan(value)]
            others = " and ".join(f"{other} > 0" for other in fixed if other != name)
            also = f" (also {others})" if others else ""
            raise unstable(f"{name} = {margin:.4g} must be positive{also}.")
    if {"C11", "E"} <= asked.keys() and asked["E"] > asked["C11"]:
        raise unstable(
            f"E = {asked['E']:.4g} must not exceed C11. Lower E or raise C11."
        )


def _check_bounds(target, nu):
    share = 1.0 if target.volume is None else target.volume
    solid = f"for E=1, nu={nu:g}"

    def refuse(what, limit, way="Lower it or raise the volume"):
        text = f"target {what} at volume {share:.2f} {limit} {solid}. {way}. {ANYWAY}"
        raise InputError(text)

    top_bulk = float(bounds.hashin_shtrikman(np.float64(share), nu)[0])
    top_shear = share / (2 * (1 + nu))
    asked = dict(target.asked)
    c11, c12, c44 = target.constants
    bulk = asked.get("K", (c11 + 2 * c12) / 3)
    if bulk > top_bulk:
        needed = bounds.volume_for_bulk(bulk, nu)
        way = f"Lower C or raise the volume to at least {needed:.2f}"
        if needed >= 1:
            way = "Lower C: the solid itself is softer"
        limit = f"exceeds the Hashin-Shtrikman limit {top_bulk:.3g}"
        refuse(f"bulk modulus {bulk:.3g}", limit, way)
    # Voigt's bound holds for each shear modulus of a cubic cell.
    shear = (c11 - c12) / 2
    for name, value in (
        ("C44", c44),
        ("(C11 - C12)/2", shear),
        ("(C11 - C12)/2 = C44/zener", c44 / asked.get("zener", np.nan)),
    ):
        if value > top_shear:
            limit = f"exceeds the Voigt limit {top_shear:.3g}"
            refuse(f"shear modulus {name} = {value:.3g}", limit)
    if target.is_determined and target.volume is not None:
        if not bounds.is_reachable(np.array(target.constants), share, nu):
            refuse(
                f"shear moduli C44 = {c44:.3g} and (C11 - C12)/2 = {shear:.3g}",
                "exceed together what the stiffest laminates have",
                "Lower one of them or raise the volume",
            )
    if not np.isnan(shear):
        return  # the rest follows from these three
    # With mu = (C11 - C12) / 2: C11 = K + 4 mu / 3, C12 = K - 2 mu / 3 and
    # 1 / E = 1 / (9 K) + 1 / (3 mu), monotone in both.
    limits = {
        "C11": top_bulk + 4 * top_shear / 3,
        "C12": top_bulk,
        "E": 9 * top_bulk * top_shear / (3 * top_bulk + top_shear),
    }
    for name, limit in limits.items():
        if asked.get(name, 0.0) > limit:
            refuse(
                f"{name} = {asked[name]:.3g}",
                f"exceeds {limit:.3g}, all that the Hashin-Shtrikman limit of K and "
                "the Voigt limit of (C11 - C12)/2 leave",
            )
    if asked.get("C12", 0.0) < -2 * top_shear / 3:
        limit = f"is below {-2 * top_shear / 3:.3g}, all that the Voigt limit of"
        way = "Raise it or the volume"
        refuse(f"C12 = {asked['C12']:.3g}", f"{limit} (C11 - C12)/2 leaves", way)
    least = asked.get("zener", np.nan) * _least_shear(asked, top_bulk)
    if least > top_shear:
        limit = f"needs C44 of at least {least:.3g}, above the Voigt limit"
        way = "Lower zener or raise the volume"
        refuse(_text(target.asked), f"{limit} {top_shear:.3g}", way)


def _least_shear(asked, top_bulk):
    """Return the least (C11 - C12)/2 of these quantities with K <= top_bulk."""
    if "E" in asked:
        return 1 / (3 / asked["E"] - 1 / (3 * top_bulk))
    if "C11" in asked:
        return 0.75 * (asked["C11"] - top_bulk)
    return -1.5 * asked.get("C12", 0.0)


def _text(pairs) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in pairs)


def training_distances(
    target: Target, known: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, "N"]:
    """Return the distance of a target to training cells of known C11, C12, C44, V.

    The mean of |difference| over the quantities of `Target.counted`, in units of error,
    and the volume.
    """
    names, goals = zip(*target.counted, strict=True)
    off = abs(quantities.values(known[:, :3], names) - np.array(goals)[None])
    off = off / quantities.scales(names)[None]
    if target.volume is not None:
        off = np.concatenate([off, abs(known[:, 3:] - target.volume)], axis=1)
    return off.mean(1)


def training_distance(target: Target, known: Float[np.ndarray, "N 4"]) -> float:
    """Return the least of `training_distances`."""
    return float(training_distances(target, known).min())
