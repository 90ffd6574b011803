"""Level-set fields whose stiffness is in proportion to the volume: no elements."""

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.symmetry import symmetrize
from mmdiff.fem import accuracy
from mmdiff.topopt import move

RATES = np.array([0.4, 0.16, 0.12])  # C11, C12, C44 at volume 1
MESH = 1.05  # of the constants on the coarse grid
VOXELS = 1.1  # and of those of the binary cell


@jax.jit
def _volume(psi):
    return jax.value_and_grad(lambda psi: surface.fractions(psi, len(psi)).mean())(psi)


def evaluate(psi, fields=None):
    """Stand for what `move.make_evaluate` returns."""
    volume, slope = map(np.asarray, _volume(jnp.asarray(psi, jnp.float32)))
    rates = np.append(MESH * RATES, 1.0)
    slopes = rates[:, None, None, None] * symmetrize(slope.astype(np.float64))
    return move.Evaluation(float(volume) * rates, slopes, 1e-6, True, jnp.zeros(1))


def estimate(psi, *, coarse=None, **_):
    """Stand for `accuracy.estimate`; of 1 % uncertainty."""
    volume = float(_volume(jnp.asarray(psi, jnp.float32))[0])
    constants = volume * RATES
    coarse = MESH * constants if coarse is None else coarse
    fine = constants + (coarse - constants) / 4
    return accuracy.Estimate(
        constants, 0.01 * constants, coarse, fine, volume, 1e-6, True
    )


def of_voxels(psi, m, **_):
    """Stand for `accuracy.of_voxels`."""
    return VOXELS * float(surface.voxels(psi, m).mean()) * RATES


def patch(monkeypatch):
    """Put these in place of finite elements."""
    monkeypatch.setattr(move, "make_evaluate", lambda n, *args, **options: evaluate)
    monkeypatch.setattr(accuracy, "estimate", estimate)
    monkeypatch.setattr(accuracy, "of_voxels", of_voxels)
