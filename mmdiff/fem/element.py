"""The trilinear 8-node hexahedron with 2x2x2 Gauss points, and its Hadamard basis.

Corner values of one component along one axis are replaced by their sum s = u1 + u0 and
difference d = u1 - u0. In the tensor product of these pairs (modes sss, ssd, ... ddd
per component) the element stiffness has 45 non-zeros instead of 576, which is what
makes the matrix-free operator cheap. Set-up in NumPy float64; unit edges unless given,
E = 1. What kinds of elements there are is told in `brick`.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from mmdiff.typing import Float

CORNERS = tuple(itertools.product((0, 1), repeat=3))
# Voigt rows as pairs of axes.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def stiffness_tensor(nu: float) -> Float[np.ndarray, "6 6"]:
    """Return the isotropic stiffness with E = 1, engineering shear strain."""
    lam = nu / ((1 + nu) * (1 - 2 * nu))
    mu = 1 / (2 * (1 + nu))
    tensor = np.diag([2 * mu] * 3 + [mu] * 3)
    tensor[:3, :3] += lam
    return tensor


def strain_matrix(
    point: Float[np.ndarray, "3"], edges: Sequence[float] = (1, 1, 1)
) -> Float[np.ndarray, "6 24"]:
    """Strain-displacement matrix at a point, in units of the edges, dof = 8 c + v."""
    shape = np.zeros((3, 8))
    for v, corner in enumerate(CORNERS):
        value = np.where(np.array(corner) == 1, point, 1 - point)
        slope = np.where(np.array(corner) == 1, 1.0, -1.0)
        for axis in range(3):
            factor = value.copy()
            factor[axis] = slope[axis] / edges[axis]
            shape[axis, v] = factor.prod()
    strain = np.zeros((6, 24))
    for row, (i, j) in enumerate(VOIGT):
        strain[row, 8 * i : 8 * i + 8] += shape[j]
        if i != j:
            strain[row, 8 * j : 8 * j + 8] += shape[i]
    return strain


def integrate(
    tensor: Float[np.ndarray, "*k 6 6"], edges: Sequence[float] = (1, 1, 1)
) -> Float[np.ndarray, "*k 24 24"]:
    """Return the element stiffness of stiffness tensors, dof = 8 c + v."""
    gauss = 0.5 + np.array([-1.0, 1.0]) / (2 * np.sqrt(3))
    total = np.zeros((*tensor.shape[:-2], 24, 24))
    for point in itertools.product(gauss, repeat=3):
        b = strain_matrix(np.array(point), edges)
        total += b.T @ tensor @ b / 8
    return total * np.prod(edges)


@functools.lru_cache(maxsize=8)
def stiffness(nu: float) -> Float[np.ndarray, "24 24"]:
    """Return the element stiffness, read-only; component-major: dof 8 c + corner."""
    total = integrate(stiffness_tensor(nu))
    total = (total + total.T) / 2
    total.setflags(write=False)
    return total


def hadamard() -> Float[np.ndarray, "8 8"]:
    """Return H: modes = H corners, with H H^T = 8 I."""
    pair = np.array([[1.0, 1.0], [-1.0, 1.0]])  # rows: sum, difference
    return np.kron(np.kron(pair, pair), pair)


def strain_gradient(strain: Float[np.ndarray, "l 6"]) -> Float[np.ndarray, "l 3 3"]:
    """Return the displacement gradients without rotation of Voigt strains."""
    gradient = np.zeros((len(strain), 3, 3))
    for row, (i, j) in enumerate(VOIGT):
        gradient[:, i, j] = gradient[:, j, i] = strain[:, row] / (1 if i == j else 2)
    return gradient


def macro_modes(
    strain: Float[np.ndarray, "l 6"], edges: Sequence[float] = (1, 1, 1)
) -> Float[np.ndarray, "l 24"]:
    """Return the element modes of macro strains (engineering shear)."""
    corners = np.array(CORNERS) * np.asarray(edges, np.float64)
    displacement = np.einsum("lij,vj->liv", strain_gradient(strain), corners)
    return (displacement @ hadamard().T).reshape(len(strain), 24)


def block_bound(matrix: Float[np.ndarray, "24 24"]) -> float:
    """Return the largest eigenvalue of B0^-1 K0 of an element stiffness K0."""
    blocks = np.zeros((24, 24))
    for corner in range(8):
        dofs = np.ix_(corner + 8 * np.arange(3), corner + 8 * np.arange(3))
        blocks[dofs] = matrix[dofs]
    return float(np.linalg.eigvals(np.linalg.solve(blocks, matrix)).real.max())
