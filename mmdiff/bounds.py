"""Bounds of porous cells: those of Hashin and Shtrikman, and the stiffest laminates.

A stiff phase and void reach every set of energies that the stiffest laminates bound:
the bulk modulus is at most that of Hashin and Shtrikman, and the two shear moduli lie
below a curve that the directions of the layers sweep (Avellaneda, SIAM J. Appl. Math.
47 (1987) 1216; Milton, Briane & Harutyunyan, Math. Mech. Complex Syst. 5 (2017) 41).
"""

import numpy as np

from mmdiff.elasticity import NU, moduli
from mmdiff.typing import Bool, Float

TETRAHEDRAL, AXIAL = 1 / 3, 1.0  # sum of n_i^4 for layers normal to <111> and <100>


def hashin_shtrikman(volume, nu: float = NU):
    """Upper Hashin-Shtrikman bounds (K, G, E) of a porous solid with E = 1.

    The K bound holds for every cell of cubic symmetry; G and E hold for isotropic ones.
    Hashin & Shtrikman, J. Mech. Phys. Solids 11 (1963) 127, with a void second phase.

    Args:
      volume: volume fraction of solid in [0, 1].
      nu: Poisson's ratio of the solid.
    """
    k = 1 / (3 * (1 - 2 * nu))
    g = 1 / (2 * (1 + nu))
    # Divided by the volume, so that E does not become 0 / 0 at volume 0.
    bulk = k * 4 * g / (4 * g + 3 * k * (1 - volume))
    shear = g * (9 * k + 8 * g) / (20 * g + 15 * k - 6 * (k + 2 * g) * volume)
    young = 9 * bulk * shear / (3 * bulk + shear)
    return bulk * volume, shear * volume, young * volume


def hashin_shtrikman_of_phases(
    shares: Float[np.ndarray, "p"],
    young: Float[np.ndarray, "p"],
    poisson: Float[np.ndarray, "p"],
) -> tuple[float, float, float]:
    """Upper Hashin-Shtrikman bounds (K, G, E) of any number of isotropic phases.

    In the form of Walpole, J. Mech. Phys. Solids 14 (1966) 151, with the largest bulk
    and shear modulus among the phases. With one phase of no stiffness it is
    `hashin_shtrikman`.

    Args:
      shares: volume fractions of the phases, which add up to 1.
      young: their Young's moduli, positive.
      poisson: their Poisson's ratios.
    """
    k, g = young / (3 * (1 - 2 * poisson)), young / (2 * (1 + poisson))
    most_k, most_g = k.max(), g.max()
    beside = most_g * (9 * most_k + 8 * most_g) / (6 * (most_k + 2 * most_g))
    bulk = 1 / (shares / (k + 4 / 3 * most_g)).sum() - 4 / 3 * most_g
    shear = 1 / (shares / (g + beside)).sum() - beside
    return bulk, shear, 9 * bulk * shear / (3 * bulk + shear)


def hashin_shtrikman_ratios(constants, volume, nu: float = NU) -> dict:
    """Return K, G and E over their upper Hashin-Shtrikman bounds; see there."""
    return ratios(constants, hashin_shtrikman(volume, nu))


def ratios(constants, bounds) -> dict:
    """Return K, G and E of cubic constants over bounds (K, G, E)."""
    got = moduli(constants)
    return {name: got[name] / b for name, b in zip("KGE", bounds, strict=True)}


def rebase(
    constants: Float[np.ndarray, "*b 3"],
    volume: Float[np.ndarray, "*b"] | float,
    old: float,
    new: float,
) -> Float[np.ndarray, "*b 3"]:
    """Return about the C11, C12, C44 of cells made of another base material.

    Poisson's ratio of the solid changes from `old` to `new`, its E does not. The part
    of a compliance that exceeds the Hashin-Shtrikman bound's comes from bending and
    stretching, which E alone rules, so it stays: 1/K changes by as much as 1/K_HS does,
    and each shear modulus alike. Over cells of all kinds this is 0.2 % of range off
    for `new` = 0.2, 0.3 % for 0.4 and 0.7 % for 0.45 from 0.3 (means of 20).
    """
    before, after = hashin_shtrikman(volume, old), hashin_shtrikman(volume, new)
    c11, c12, c44 = np.moveaxis(np.asarray(constants, float), -1, 0)

    def moved(modulus, which):
        compliance = 1 / modulus + 1 / after[which] - 1 / before[which]
        return np.where(compliance > 0, 1 / compliance, modulus)

    bulk, shear = moved((c11 + 2 * c12) / 3, 0), moved((c11 - c12) / 2, 1)
    parts = bulk + 4 * shear / 3, bulk - 2 * shear / 3, moved(c44, 1)
    return np.stack(parts, axis=-1)


def volume_for_bulk(bulk, nu: float = NU):
    """Smallest volume fraction whose Hashin-Shtrikman bound admits a bulk modulus."""
    k = 1 / (3 * (1 - 2 * nu))
    g = 1 / (2 * (1 + nu))
    return bulk * (4 * g + 3 * k) / (k * 4 * g + 3 * k * bulk)


def shear_bound(volume, fourth, nu: float = NU):
    """Return C44 and (C11 - C12) / 2 of the stiffest laminates, E = 1.

    The layers of a cubic laminate are normal to a direction n and its images. In
    C = C0 - (1 - V) (C0^-1 - V Gamma)^-1 the direction enters through sum n_i^4 alone,
    and K is that of Hashin and Shtrikman for all. At 3/5 the laminate is isotropic.

    Args:
      volume: solid fraction in (0, 1].
      fourth: sum of n_i^4, from 1/3 (<111>) to 1 (<100>).
      nu: Poisson's ratio of the solid.
    """
    stiff, first, second = _solid(nu)
    edges = (first - second * (1 - fourth)) / 3
    faces = (first * 2 / 3 - second * (fourth - 1 / 3)) / 2
    return tuple(
        stiff - (1 - volume) / (2 * (1 / (2 * stiff) - volume * gamma))
        for gamma in (edges, faces)
    )


def _solid(nu):
    """Return G and the two coefficients of Gamma, 1/G and (K + G/3) / (G M)."""
    shear = 1 / (2 * (1 + nu))
    lame = nu / ((1 + nu) * (1 - 2 * nu))
    return shear, 1 / shear, (lame + shear) / (shear * (lame + 2 * shear))


def is_reachable(
    constants: Float[np.ndarray, "*b 3"], volume, nu: float = NU
) -> Bool[np.ndarray, "*b"] | np.bool_:
    """Whether some cubic microstructure of the volume may have the constants.

    Args:
      constants: C11, C12, C44 with base E = 1.
      volume: solid fractions in (0, 1).
      nu: Poisson's ratio of the solid.
    """
    bulk = (constants[..., 0] + 2 * constants[..., 1]) / 3
    edges = constants[..., 2]
    second = (constants[..., 0] - constants[..., 1]) / 2
    stiff, first, factor = _solid(nu)
    # The direction whose laminate has this second modulus, from `shear_bound`.
    lost = np.maximum(2 * (stiff - second), 1e-12)
    gamma = (1 / (2 * stiff) - (1 - volume) / lost) / volume
    fourth = (first * 2 / 3 - 2 * gamma) / factor + 1 / 3
    most, _ = shear_bound(volume, np.clip(fourth, TETRAHEDRAL, AXIAL), nu)
    stable = (bulk > 0) & (second > 0) & (edges > 0)
    below = (bulk <= hashin_shtrikman(volume, nu)[0]) & (edges <= most)
    return stable & below & (fourth <= AXIAL)
