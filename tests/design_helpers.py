"""Cells and stiffness that cost nothing, for the tests of `mmdiff.design`."""

import numpy as np

from mmdiff.cells.symmetry import symmetrize
from mmdiff.topopt.interface import Evaluation

RATES = np.array([1.0, 0.4, 0.3])  # stiffness of `proportional` at volume 1


def wave(n=8):
    """Field of Schwarz' P surface, symmetric to the last bit."""
    line = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return np.round(line[:, None, None] + line[:, None] + line, 9)


def frame(n=8, width=2):
    """Field of three plates in the middle planes: connected, closed, cubic."""
    i = np.arange(n) >= n - width
    return np.where(i[:, None, None] | i[:, None] | i, 1.0, -1.0)


def block(n=8):
    """Field of a cube in the middle of the cell that touches no face."""
    field = -np.ones((n, n, n))
    field[n // 2 :, n // 2 :, n // 2 :] = 1
    return field


def fields(count, seed=0, n=8):
    """Fields of connected cells, each another one."""
    rng = np.random.default_rng(seed)
    noise = np.stack([symmetrize(rng.normal(size=(n, n, n))) for _ in range(count)])
    return np.round(wave(n) + 0.3 * noise, 9)


def octant(n=8, seed=0):
    """A connected octant."""
    return (fields(1, seed, n)[0] > 0).astype(np.uint8)


def proportional(octant, fields=None):
    """Stiffness in proportion to the volume: no finite elements."""
    slope = np.ones(octant.shape) / octant.size
    sensitivity = (RATES[:, None, None, None] * slope).astype(np.float32)
    return Evaluation(octant.mean() * RATES, sensitivity, 1e-6, True, None)
