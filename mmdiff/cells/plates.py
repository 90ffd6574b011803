"""Plate lattices of cubic symmetry, the textbook baselines for stiffness.

Three families of flat plates, {100}, {110} and {111}, alone or two of them with the
thicknesses that make the cell isotropic; thin ones reach the Hashin-Shtrikman bound.
Berger, Wadley & McMeeking, Nature 543 (2017) 533; Tancogne-Dejean, Diamantopoulou,
Gorji, Bonatti & Mohr, Adv. Mater. 30 (2018) 1803334. Plates of two or more voxels
close the pores; holes to let powder out are outside the scope.

With the cell [0, 1]^3 the planes of a family are normal . x = 0, +-1, +-2, ... for the
normals <100> ("sc", simple cubic), <110> ("bcc", body-centred) or <111> ("octet", face-
centred). All pass through the corners of the cell, so the plates of "sc" lie on its
faces and the octahedron in the middle of "octet" stays whole.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from mmdiff.bounds import hashin_shtrikman_ratios
from mmdiff.cells.symmetry import gather_independent, multiplicity, spread
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.elasticity import AXES, NU, moduli, voigt_to_cubic
from mmdiff.typing import Float

NORMALS = {"sc": AXES[:3], "bcc": AXES[3:9], "octet": AXES[9:]}
# The pairs whose Zener ratios lie on both sides of 1; that of bcc and octet exceeds 1.
ISOTROPIC = (("sc", "bcc"), ("sc", "octet"))


class Mixture(NamedTuple):
    """An isotropic mixture of two families.

    Attributes:
      octant: (n, n, n) uint8.
      share: thickness of the first family by the sum of both.
      constants: (3,) C11, C12, C44 by finite elements.
      zener: their Zener ratio, 1 but for what voxels can do.
      converged: whether every solve on the way met its tolerance.
    """

    octant: np.ndarray
    share: float
    constants: np.ndarray
    zener: float
    converged: bool


def plane_distances(n: int, family: str) -> Float[np.ndarray, "p n n n"]:
    """Distance of voxel centres to the planes of a family in cell edges, nearest first.

    Exact for the infinite family, one entry per normal (3, 6 or 4), and equal to the
    last bit in voxels that the symmetry makes equal.
    """
    _check_families((family,))
    normals = NORMALS[family]
    # Integers, in units of 1 / 4n: the planes lie 4n apart along their normal.
    centres = 2 * np.sort(np.indices((n, n, n)), axis=0) + 1
    along = np.tensordot(normals, centres, axes=1) % (4 * n)
    distance = np.sort(np.minimum(along, 4 * n - along), axis=0)
    return distance / (4 * n * np.sqrt((normals[0] ** 2).sum()))


def half_thickness(n: int, family: str) -> Float[np.ndarray, "n n n"]:
    """Half the thickness of the plates at which each voxel of the octant turns solid.

    This is the distance to the nearest plane, but layers of equal distance fill one
    voxel after the other while the plates grow from the last layer to the next, those
    first that are nearest to another plane. A layer that is not full is thus a regular
    fillet along the lines where plates meet, the best place for it: starting in the
    middle of the plates, or at random, costs up to 0.08 of K/K_HS at 64^3. The first
    layer is an exception: plates thinner than 2, 0.7 and 1.2 voxels have holes.
    """
    # Nearest plane first, then the second, and so on.
    distances = gather_independent(plane_distances(n, family))
    order = np.lexsort(distances[::-1])
    count = multiplicity(n)[order]
    level, index = np.unique(distances[0], return_inverse=True)
    last = level[-1] + (level[-1] - level[-2]) / 2
    faces = np.concatenate([[0], (level[1:] + level[:-1]) / 2, [last]])
    full = np.concatenate([[0], np.cumsum(np.bincount(index[order], count))])
    values = np.empty(len(order))
    values[order] = np.interp(np.cumsum(count) - count / 2, full, faces)
    return spread(values, n)


def plate_lattice(n: int, thickness: Mapping[str, float]) -> np.ndarray:
    """Return the octant (n, n, n) uint8 of plates of given thickness.

    Solid is every voxel whose centre lies in a plate, so plates are flat and their
    thickness is rounded, in steps of 2, 1.4 and 1.2 voxels for "sc", "bcc", "octet".
    It is given by family in cell edges; 0 leaves a family out. The volume follows; see
    `by_volume` for the contrary.
    """
    solid = np.zeros((n, n, n), bool)
    for family, value in _present(thickness).items():
        solid |= plane_distances(n, family)[0] <= value / 2
    return solid.astype(np.uint8)


def by_volume(n: int, thickness: Mapping[str, float], volume: float) -> np.ndarray:
    """Return the octant (n, n, n) uint8 whose volume is nearest to the given one.

    The plates grow in the given proportion until the volume is met, to half an orbit,
    by layers that are not full; see `half_thickness`. While a layer fills, K/K_HS goes
    up and down by some 0.02 at 64^3, more where plates are thinner than two voxels.
    The thickness by family is relative, of any scale.
    """
    _check_volume(volume)
    fields = (half_thickness(n, f) / t for f, t in _present(thickness).items())
    return threshold_to_volume(-np.minimum.reduce(list(fields)), volume)


def isotropic(
    n: int,
    families: tuple[str, str],
    volume: float,
    *,
    homogenizer: Callable,
    tol: float = 2e-3,
) -> Mixture:
    """Return the mixture of two families of a given volume whose Zener ratio is 1.

    The Zener ratio is a function of the thickness share with small steps, one per
    orbit that changes sides. Its root is found by Brent's method in 5 to 15 solves, and
    the best cell of all is returned: below 32^3 it may miss 1 by more than `tol`.

    Args:
      n: voxels per side of the octant.
      families: two of `NORMALS`.
      volume: solid fraction in (0, 1].
      homogenizer: octant -> (6x6 tensor, info) as `fem.homogenize.homogenize`.
      tol: logarithm of the Zener ratio that is good enough.

    Raises:
      ValueError: if the Zener ratios of both families lie on the same side of 1, as
        those of "bcc" and "octet" do.
    """
    _check_families(families)
    _check_volume(volume)
    first, second = families
    tried = {}

    def log_zener(share):
        octant = by_volume(n, {first: share, second: 1 - share}, volume)
        constants, converged = _evaluate(octant, homogenizer)
        zener = float(moduli(constants)["zener"])
        tried[share] = Mixture(octant, share, constants, zener, converged)
        value = np.log(zener)
        return 0.0 if abs(value) <= tol else value

    ends = log_zener(0.0), log_zener(1.0)
    if ends[0] * ends[1] > 0:
        raise ValueError(
            f"no mixture of {first} and {second} is isotropic at volume {volume:g}: "
            f"their Zener ratios {tried[1.0].zener:.3f} and {tried[0.0].zener:.3f} lie "
            f"on one side of 1. Take one of {ISOTROPIC}."
        )
    optimize.brentq(log_zener, 0.0, 1.0, xtol=1e-4)
    best = min(tried.values(), key=lambda mixture: abs(np.log(mixture.zener)))
    return best._replace(converged=all(m.converged for m in tried.values()))


def baselines(n: int, volume: float, *, homogenizer: Callable) -> dict[str, np.ndarray]:
    """Return the octants of all single families and isotropic mixtures, by name."""
    octants = {family: by_volume(n, {family: 1.0}, volume) for family in NORMALS}
    for pair in ISOTROPIC:
        mixture = isotropic(n, pair, volume, homogenizer=homogenizer)
        octants[" + ".join(pair)] = mixture.octant
    return octants


def properties(
    octant: np.ndarray, *, homogenizer: Callable, nu: float = NU
) -> dict[str, Any]:
    """Return the volume, moduli, Zener ratio and shares of the bounds of an octant.

    Plain numbers by name, such as "K/K_HS", and the flag "converged". The bounds of G
    and E hold for isotropic cells: others may exceed them. The homogenizer must be of
    the same `nu`.
    """
    volume = float(np.mean(octant))
    constants, converged = _evaluate(octant, homogenizer)
    shares = hashin_shtrikman_ratios(constants, volume, nu)
    values = moduli(constants) | {f"{m}/{m}_HS": share for m, share in shares.items()}
    numbers = {name: float(value) for name, value in values.items()}
    return {"volume": volume, **numbers, "converged": converged}


def _evaluate(octant, homogenizer):
    tensor, info = homogenizer(octant)
    return voigt_to_cubic(np.asarray(tensor, np.float64)), bool(info.converged.all())


def _present(thickness):
    """Return the families that have a thickness; raise ValueError if none has."""
    _check_families(thickness)
    present = {family: value for family, value in thickness.items() if value}
    if not present or not all(value > 0 for value in present.values()):
        raise ValueError(
            f"thickness {dict(thickness)} must hold positive numbers, at least one."
        )
    return present


def _check_families(families):
    for family in families:
        if family not in NORMALS:
            raise ValueError(
                f"unknown family of plates {family!r}; take one of {tuple(NORMALS)}."
            )


def _check_volume(volume):
    if not 0 < volume <= 1:
        raise ValueError(f"volume={volume:g} must lie in (0, 1].")
