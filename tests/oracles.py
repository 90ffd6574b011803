"""Slow and simple answers to compare with: dense finite elements on the full cell."""

import itertools

import numpy as np

from mmdiff.fem import element


def dense_periodic(modulus, nu=0.3):
    """Return the 6x6 tensor of a periodic cell (n, n, n) by one dense solve.

    Independent of the matrix-free code: corner-wise assembly from the 24x24 element
    matrix, node 0 pinned, nodal forces from the element stresses of the macro strain.
    """
    n = modulus.shape[0]
    stiffness = element.stiffness(nu)
    size = 3 * n**3
    matrix, load = np.zeros((size, size)), np.zeros((size, 6))
    macro = _macro_displacement()
    total = np.zeros((6, 6))
    for cell in itertools.product(range(n), repeat=3):
        e = modulus[cell]
        nodes = [
            np.ravel_multi_index((np.array(cell) + corner) % n, (n, n, n))
            for corner in element.CORNERS
        ]
        dofs = np.concatenate([c * n**3 + np.array(nodes) for c in range(3)])
        matrix[np.ix_(dofs, dofs)] += e * stiffness
        load[dofs] -= e * stiffness @ macro
        total += e * macro.T @ stiffness @ macro
    free = np.setdiff1d(np.arange(size), [0, n**3, 2 * n**3])
    x = np.zeros((size, 6))
    x[free] = np.linalg.solve(matrix[np.ix_(free, free)], load[free])
    # C = (macro + x)^T K (macro + x) / V, with K x = load.
    return (total - x.T @ load) / n**3


def _macro_displacement():
    """Corner displacements (24, 6) of the six unit macro strains on a unit element."""
    corners = np.array(element.CORNERS, float)
    out = np.zeros((3, 8, 6))
    for load, (i, j) in enumerate(element.VOIGT):
        gradient = np.zeros((3, 3))
        gradient[i, j] += 0.5
        gradient[j, i] += 0.5
        out[:, :, load] = gradient @ corners.T
    return out.reshape(24, 6)


def schwarz_p(n):
    """Binary Schwarz-P network of about 30 % volume, full cell (n, n, n)."""
    c = _wave(n)
    f = np.round(c[:, None, None] + c[:, None] + c, 9)
    levels, counts = np.unique(f, return_counts=True)
    volume = np.cumsum(counts[::-1])[::-1] / n**3
    return (f >= levels[np.argmin(abs(volume - 0.3))]).astype(float)


def graded(n):
    """Smooth densities from 0.02 to 0.98 with cubic symmetry, full cell (n, n, n)."""
    # The same order of summation in every orbit keeps the symmetry to the last bit.
    waves = np.stack(np.broadcast_arrays(*np.ix_(_wave(n), _wave(n), _wave(n))))
    x, y, z = np.sort(waves, axis=0)
    g = (x + y + z) / 3 + 0.5 * (x * y + y * z + z * x) / 3
    return 0.02 + 0.96 * (g - g.min()) / (g.max() - g.min())


def plates(n):
    """Binary simple-cubic plate lattice, walls of n/16 voxels (at least 2)."""
    h = max(1, n // 32)
    i = np.arange(n)
    wall = (i < h) | (i >= n - h)
    return (wall[:, None, None] | wall[None, :, None] | wall[None, None, :]) * 1.0


def _wave(n):
    c = np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
    return (c + c[::-1]) / 2


def octant(cell):
    """Return the octant of a full cell."""
    n = cell.shape[0] // 2
    return cell[:n, :n, :n]
