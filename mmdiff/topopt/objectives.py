"""Objectives of the effective tensor, to be maximized.

Each takes the 6x6 tensor and returns a scalar; any differentiable function of C will
do. The three here are twice the strain energies of simple loads, so their sensitivity
is positive for every voxel, as optimality criteria need.
"""

import jax.numpy as jnp


def bulk(tensor):
    """Bulk modulus K = (C11 + 2 C12) / 3 of a cubic cell."""
    return tensor[:3, :3].sum() / 9


def shear(tensor):
    """Shear modulus C44, mean over the three planes."""
    return jnp.trace(tensor[3:, 3:]) / 3


def deviatoric(tensor):
    """Second shear modulus (C11 - C12) / 2 of a cubic cell."""
    normal = tensor[:3, :3]
    return jnp.trace(normal) / 4 - normal.sum() / 12


def weighted(weights):
    """Return w0 K + w1 C44 + w2 (C11 - C12) / 2 as an objective."""
    w0, w1, w2 = weights

    def objective(tensor):
        return w0 * bulk(tensor) + w1 * shear(tensor) + w2 * deviatoric(tensor)

    return objective
