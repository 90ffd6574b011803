"""Von Mises stress of the solid under macroscopic stress, and its peaks.

Macro strains are superposed to what a unit of stress makes of the cell: tension along
one axis, or shear, and nothing else. The stress is that of the base material (or phase)
under the strain at the centre of an element, in units of the macroscopic stress: a
stress concentration factor. At the edges of voxels, where stairs meet, it grows with
the fineness of the grid, so that a high share of all solid says more than the maximum.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiff.anisotropy import VOIGT, inverse
from mmdiff.fem.element import VOIGT as PAIRS
from mmdiff.typing import Bool, Float

SHARE = 99.0  # percent of the solid
# What swaps axes so that the loads of a cubic cell, 11 and 23, become the others.
_SWAPS = {1: (0, (0, 1)), 2: (0, (0, 2)), 4: (3, (0, 1)), 5: (3, (0, 2))}


def von_mises(
    strain: Float[np.ndarray, "6 nx ny nz"],
    young: Float[np.ndarray, "nx ny nz"] | float,
    poisson: Float[np.ndarray, "nx ny nz"] | float,
) -> Float[np.ndarray, "nx ny nz"]:
    """Return the von Mises stress of an isotropic material under a strain.

    Voigt order 11 22 33 23 13 12, engineering shear.

    Example:
      >>> tension = np.array([1.0, -0.3, -0.3, 0, 0, 0]).reshape(6, 1, 1, 1)
      >>> round(float(von_mises(tension, 2.0, 0.3)[0, 0, 0]), 12)
      2.0
    """
    shear = young / (2 * (1 + poisson))
    a, b, c, *skew = strain
    normal = (a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2
    return shear * np.sqrt(2 * normal + 3 * sum(s**2 for s in skew))


def of_solid(
    strain: Float[np.ndarray, "l 6 nx ny nz"],
    loads: Sequence[int],
    tensor: Float[np.ndarray, "6 6"],
    young: Float[np.ndarray, "nx ny nz"] | float,
    poisson: Float[np.ndarray, "nx ny nz"] | float,
    solid: Bool[np.ndarray, "nx ny nz"],
) -> Float[np.ndarray, "l nx ny nz"]:
    """Return the von Mises stress of the solid under each unit macro stress.

    Args:
      strain: of the elements under the unit macro strain of each load.
      loads: their Voigt numbers; those of a cubic octant stand for all six.
      tensor: effective stiffness, in units of Young's modulus.
      young: Young's modulus of the solid,
      poisson: and its Poisson's ratio.
      solid: elements that count; the stress of the others is 0.
    """
    compliance = inverse(tensor)
    if compliance is None:  # nothing balances a stress
        return np.zeros_like(strain[:, 0])
    compliance = np.array(compliance)
    every = {load: strain[i] for i, load in enumerate(loads)}
    for load, (known, axes) in _SWAPS.items():
        if load not in every:
            every[load] = _swapped(every[known], axes)
    stress = []
    for load in loads:
        total = sum(
            compliance[other, load] * field
            for other, field in every.items()
            if compliance[other, load]
        )
        stress.append(np.where(solid, von_mises(total, young, poisson), 0.0))
    return np.stack(stress).astype(strain.dtype)


def _swapped(strain, axes):
    """Return a strain field with two axes swapped, components and places."""
    order = {axes[0]: axes[1], axes[1]: axes[0]}
    pairs = [tuple(sorted(order.get(i, i) for i in pair)) for pair in PAIRS]
    rows = [PAIRS.index(pair) for pair in pairs]
    return strain[rows].swapaxes(axes[0] + 1, axes[1] + 1)


def peaks(
    stress: Float[np.ndarray, "l mx my mz"],
    loads: Sequence[int],
    solid: Bool[np.ndarray, "mx my mz"],
) -> Mapping[str, Any]:
    """Return by load the stress that 99 % of the solid do not exceed, and the largest.

    Example:
      >>> field = np.arange(8.0).reshape(1, 2, 2, 2)
      >>> peaks(field, (0,), field[0] >= 0)["11"]["max"]
      7.0
    """
    if not solid.any():
        return {}
    return {
        VOIGT[load]: {
            "share_99": float(np.percentile(field[solid], SHARE)),
            "max": float(field[solid].max()),
        }
        for load, field in zip(loads, stress, strict=True)
    }
