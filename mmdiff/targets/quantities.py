"""Quantities of a cubic tensor by name, and the constants that follow from them.

Eight quantities of three constants: C11, C12, C44, K = (C11 + 2 C12) / 3, G = C44, E
and nu along <100>, zener = 2 C44 / (C11 - C12). With s = C11 + C12, C11 = s (1 - nu),
C12 = s nu, K = s (1 + nu) / 3, E = s (1 - 2 nu) (1 + nu) and C11 - C12 = s (1 - 2 nu),
so that two of these give the others, which `solve` does.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.errors import InputError
from mmdiff.typing import AnyArray, Float

NAMES = (*elasticity.NAMES, "K", "G", "E", "nu", "zener")
STIFF = (*elasticity.NAMES, "K", "G", "E")  # in units of the base material's modulus
_R11, _R12, _R44 = (float(r) for r in PAPER_RANGES)
# Units of error: the ranges of arXiv 2401.13570, Eq. 3, for the constants, those that
# follow from them for K and G, that of C11 for E, and 1 for plain ratios.
SCALES = {
    "C11": _R11,
    "C12": _R12,
    "C44": _R44,
    "K": (_R11 + 2 * _R12) / 3,
    "G": _R44,
    "E": _R11,
    "nu": 1.0,
    "zener": 1.0,
}
LABELS = {  # on axes
    **{name: f"{name} / E base" for name in STIFF},
    "nu": "Poisson's ratio along <100>",
    "zener": "Zener ratio",
}
_NORMAL = ("C11", "C12", "K", "E", "nu")  # of C11 and C12 alone
_SHEAR = ("C44", "G")


def values(
    constants: Float[AnyArray, "*b 3"], names: Sequence[str] = NAMES
) -> Float[AnyArray, "*b k"]:
    """Return the named quantities (..., k) of cubic constants (..., 3)."""
    found = {name: constants[..., i] for i, name in enumerate(elasticity.NAMES)}
    found |= elasticity.moduli(constants)
    stack = jnp.stack if isinstance(constants, jnp.ndarray) else np.stack
    return stack([found[name] for name in names], axis=-1)


def scales(names: Sequence[str] = NAMES) -> Float[np.ndarray, "k"]:
    """Return the unit of error of each quantity, see `SCALES`."""
    return np.array([SCALES[name] for name in names])


def check_independent(asked: Mapping[str, float]) -> None:
    """Raise InputError where some of the quantities follow from the others."""
    names = ", ".join(asked)
    if len(asked) > 3:
        raise InputError(
            f"target asks for {len(asked)} quantities ({names}), and a cubic tensor "
            f"has three. Leave out {len(asked) - 3} of them."
        )
    if set(_SHEAR) <= asked.keys():
        raise InputError(
            "target asks for C44 and G, which are the same here (G = C44). Leave one "
            "out."
        )
    normal = [name for name in asked if name in _NORMAL]
    if len(normal) > 2:
        raise InputError(
            f"target asks for {names}, and any two of them give the third. Leave one "
            "out, or ask for C44, G or zener instead."
        )
    if asked.get("nu") == 0 and "C12" in asked:
        raise InputError(
            f"target asks for nu=0 and C12={asked['C12']:g}, and nu=0 says no more "
            "than C12=0. Leave C12 out, or ask for C11, K or E instead."
        )


def solve(asked: Mapping[str, float]) -> Float[np.ndarray, "3"]:
    """Return C11, C12, C44 as far as they follow from values; NaN where they are free.

    The values are independent, see `check_independent`. C11 and E together leave the
    sign of nu open, and C12 free. Values that no stable material has give unstable or
    infinite constants.
    """
    shear = asked.get("C44", asked.get("G", np.nan))
    zener = asked.get("zener", np.nan)
    normal = {name: asked[name] for name in asked if name in _NORMAL}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not np.isnan(shear) and not np.isnan(zener):
            normal["C11 - C12"] = np.divide(2 * shear, zener)
        c11, c12 = _solve_normal(normal)
        if np.isnan(shear):
            shear = zener * (c11 - c12) / 2
    return np.array([c11, c12, shear], np.float64)


_LINEAR = {
    "C11": (1.0, 0.0),
    "C12": (0.0, 1.0),
    "K": (1 / 3, 2 / 3),
    "C11 - C12": (1.0, -1.0),
}


def _solve_normal(known):
    """Return C11 and C12 of at most two quantities that depend on them alone."""
    if len(known) < 2 or known.keys() == {"C11", "E"}:
        return known.get("C11", np.nan), known.get("C12", np.nan)
    linear = [name for name in known if name in _LINEAR]
    if len(linear) == 2:
        rows = [_LINEAR[name] for name in linear]
        return np.linalg.solve(rows, [known[name] for name in linear])
    if known.keys() == {"C12", "E"}:  # s^2 - (C12 + E) s - 2 C12^2 = 0, and s > 0
        c12 = known["C12"]
        b = c12 + known["E"]
        return (b + np.sqrt(b**2 + 8 * c12**2)) / 2 - c12, c12
    if "nu" in known:
        nu = known["nu"]
    elif "K" in known:
        nu = 0.5 - np.divide(known["E"], 6 * known["K"])
    else:
        nu = np.divide(known["E"], known["C11 - C12"]) - 1
    parts = {
        "C11": 1 - nu,
        "C12": nu,
        "K": (1 + nu) / 3,
        "E": (1 - 2 * nu) * (1 + nu),
        "C11 - C12": 1 - 2 * nu,
    }
    name = next((name for name in known if name in _LINEAR), "E")
    s = np.divide(known[name], parts[name])
    return s * (1 - nu), s * nu
