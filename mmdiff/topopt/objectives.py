"""Objectives of the effective tensor, to be maximized.

Each takes the 6x6 tensor and returns a scalar; any differentiable function of C will
do. Moduli are those of the closest cubic tensor. `bulk`, `shear`, `deviatoric` and
their `weighted` sums are twice the strain energies of simple loads, so their
sensitivity is positive for every voxel, as optimality criteria need.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from mmdiff import elasticity
from mmdiff.typing import AnyArray, Float, Scalar

Tensor = Float[AnyArray, "6 6"]
Numbers = Float[AnyArray, "k"] | Sequence[Scalar]
Loads = tuple[Float[AnyArray, "k 6"], Float[AnyArray, "k"]]


def bulk(tensor: Tensor) -> Scalar:
    """Bulk modulus K = (C11 + 2 C12) / 3 of a cubic cell."""
    return tensor[:3, :3].sum() / 9


def shear(tensor: Tensor) -> Scalar:
    """Shear modulus C44, mean over the three planes."""
    return jnp.trace(tensor[3:, 3:]) / 3


def deviatoric(tensor: Tensor) -> Scalar:
    """Second shear modulus (C11 - C12) / 2 of a cubic cell."""
    normal = tensor[:3, :3]
    return jnp.trace(normal) / 4 - normal.sum() / 12


def weighted(weights: Numbers) -> Callable[[Tensor], Scalar]:
    """Return w0 K + w1 C44 + w2 (C11 - C12) / 2 as an objective."""
    w0, w1, w2 = weights

    def objective(tensor):
        return w0 * bulk(tensor) + w1 * shear(tensor) + w2 * deviatoric(tensor)

    return objective


def strain_modulus(loads: Loads) -> Callable[[Tensor], Scalar]:
    """Return twice the strain energy under macroscopic strains, a weighted mean.

    Args:
      loads: strains (k, 6) in Voigt order, shear engineering, and their weights (k,).
    """
    cases, weights = loads

    def objective(tensor):
        strains, shares = (jnp.asarray(a, tensor.dtype) for a in (cases, weights))
        energies = jnp.einsum("ki,ij,kj->k", strains, tensor, strains)
        return (shares * energies).sum() / shares.sum()

    return objective


def stress_modulus(loads: Loads) -> Callable[[Tensor], Scalar]:
    """Return one over the weighted mean of twice the energy under macroscopic stresses.

    That of unit tension along an axis is Young's modulus there.

    Args:
      loads: stresses (k, 6) in Voigt order, and their weights (k,).
    """
    cases, weights = loads

    def objective(tensor):
        stresses, shares = (jnp.asarray(a, tensor.dtype) for a in (cases, weights))
        strains = jnp.linalg.solve(tensor, stresses.T)
        energies = jnp.einsum("ki,ik->k", stresses, strains)
        return shares.sum() / (shares * energies).sum()

    return objective


def young(tensor: Tensor) -> Scalar:
    """Young's modulus along <100>."""
    return elasticity.moduli(elasticity.voigt_to_cubic(tensor))["E"]


def poisson(tensor: Tensor) -> Scalar:
    """Poisson's ratio along <100>, C12 / (C11 + C12), negated: auxetic is better."""
    return -elasticity.moduli(elasticity.voigt_to_cubic(tensor))["nu"]


def mixed(weights: Numbers) -> Callable[[Tensor], Scalar]:
    """Return w0 K + w1 C44 + w2 E - w3 nu, E and nu along <100>, as an objective.

    With the weights as data, one compiled program serves all four extremes.
    """
    w0, w1, w2, w3 = weights

    def objective(tensor):
        found = elasticity.moduli(elasticity.voigt_to_cubic(tensor))
        stiff = w0 * found["K"] + w1 * found["G"] + w2 * found["E"]
        return stiff - w3 * found["nu"]

    return objective


def zener(tensor: Tensor) -> Scalar:
    """Zener ratio 2 C44 / (C11 - C12)."""
    return elasticity.moduli(elasticity.voigt_to_cubic(tensor))["zener"]


def nearness(
    target: Numbers, ranges: Numbers = elasticity.PAPER_RANGES
) -> Callable[[Tensor], Scalar]:
    """Return the negative distance to the cubic constants `target` (3,).

    The distance is the root mean square of the differences over `ranges`; the mean of
    their magnitudes, in which errors are reported, has kinks.
    """

    def objective(tensor):
        goal, scale = (jnp.asarray(a, tensor.dtype) for a in (target, ranges))
        scaled = (elasticity.voigt_to_cubic(tensor) - goal) / scale
        # The square root has no slope at zero.
        return -jnp.sqrt((scaled**2).mean() + 1e-12)

    return objective
