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
