"""Brick elements whose stiffness is linear in a few coefficients.

K = sum_k p_k K_k, with one coefficient for materials that differ in Young's modulus
alone, two for isotropic phases of any Poisson's ratio and three for cubic tensors. In
the mode basis of `element` the matrices of a brick of any three edges have some 50
non-zeros. Set-up in NumPy float64, read-only.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmdiff.elasticity import NU
from mmdiff.fem import element
from mmdiff.typing import Float

Edges = tuple[float, float, float]  # of an element along x, y and z
UNIT: Edges = (1.0, 1.0, 1.0)
KINDS = ("modulus", "isotropic", "cubic")  # of solids


@dataclass(frozen=True)
class Brick:
    """One kind of element.

    Attributes:
      kind: "modulus" for coefficients E, "isotropic" for (lambda, mu), "cubic" for
        (C11, C12, C44), and "conductor" for conductivities: three scalar fields beside
        each other in place of the components of a displacement.
      nu: Poisson's ratio that all elements of kind "modulus" share.
      edges: in the unit of displacements.
    """

    kind: str = "modulus"
    nu: float = NU
    edges: Edges = UNIT

    @property
    def volume(self) -> float:
        """Volume of the element."""
        return float(np.prod(self.edges))

    def with_edges(self, edges: Sequence[float]) -> "Brick":
        """Return the same kind of element with other edges."""
        return replace(self, edges=tuple(float(edge) for edge in edges))


SOLID = Brick()


def tensors(brick: Brick) -> Float[np.ndarray, "p 6 6"]:
    """Return the stiffness tensors of unit coefficients; "conductor" has none."""
    if brick.kind == "modulus":
        return element.stiffness_tensor(brick.nu)[None]
    normal, shear = np.zeros((6, 6)), np.diag([0.0] * 3 + [1.0] * 3)
    normal[:3, :3] = np.eye(3)
    beside = np.zeros((6, 6))
    beside[:3, :3] = 1 - np.eye(3)
    if brick.kind == "isotropic":
        return np.stack([normal + beside, 2 * normal + shear])
    return np.stack([normal, beside, shear])


def _rays(brick):
    """Coefficients of which all positive definite tensors are positive sums."""
    return {
        "modulus": np.ones((1, 1)),
        "conductor": np.ones((1, 1)),
        "isotropic": np.array([[1, 0], [-2 / 3, 1]]),  # bulk and shear
        "cubic": np.array([[1, 1, 0], [1, -0.5, 0], [0, 0, 1]]),
    }[brick.kind]


@functools.lru_cache(maxsize=64)
def stiffness(brick: Brick) -> Float[np.ndarray, "p 24 24"]:
    """Return the element stiffnesses of unit coefficients, dof = 8 c + corner."""
    if brick.kind == "conductor":
        normal = np.diag([1.0] * 3 + [0.0] * 3)
        slopes = element.integrate(normal, brick.edges).reshape(3, 8, 3, 8)
        laplace = sum(slopes[axis, :, axis] for axis in range(3))
        return _frozen(np.kron(np.eye(3), laplace)[None])
    total = element.integrate(tensors(brick), brick.edges)
    return _frozen((total + total.transpose(0, 2, 1)) / 2)


@functools.lru_cache(maxsize=64)
def mode_stiffness(brick: Brick) -> Float[np.ndarray, "p 24 24"]:
    """Return the stiffnesses in the mode basis, mode = 8 c + m."""
    transform = np.kron(np.eye(3), element.hadamard())
    modes = transform @ stiffness(brick) @ transform.T / 64
    modes[abs(modes) < 1e-14 * abs(modes).max()] = 0
    return _frozen(modes)


@functools.lru_cache(maxsize=64)
def mode_rows(brick: Brick) -> tuple[tuple[tuple[tuple[int, float], ...], ...], ...]:
    """Return the non-zeros (mode, value) of 24 modes, for each of the coefficients.

    Rows of rigid translation are empty.
    """
    return tuple(
        tuple(
            tuple((int(j), float(matrix[i, j])) for j in np.flatnonzero(matrix[i]))
            for matrix in mode_stiffness(brick)
        )
        for i in range(24)
    )


def corner_blocks(brick: Brick) -> Float[np.ndarray, "p 3 3"]:
    """Return the 3x3 blocks of the corner at the origin.

    Those of other corners differ in the signs of the off-diagonal entries alone.
    """
    first = 8 * np.arange(3)
    return stiffness(brick)[:, first[:, None], first[None]]


@functools.lru_cache(maxsize=64)
def spectrum_bound(brick: Brick) -> float:
    """Return a bound of the spectrum of B^-1 K, B the 3x3 nodal blocks of K.

    It holds for every field of admissible coefficients and every set of fixed dofs: the
    Rayleigh quotient of an assembled system is a weighted mean of those of its
    elements, and that of an element a weighted mean of those of its parts.
    """
    parts = np.einsum("rp,pij->rij", _rays(brick), stiffness(brick))
    return max(element.block_bound(part) for part in parts)


def macro_stress(
    brick: Brick, strain: Float[np.ndarray, "l 6"]
) -> Float[np.ndarray, "l p 24"]:
    """Return the element force modes of macro strains for unit coefficients."""
    modes = element.macro_modes(strain, brick.edges)
    return np.einsum("pij,lj->lpi", mode_stiffness(brick), modes)


def macro_energy(
    brick: Brick, strain: Float[np.ndarray, "l 6"]
) -> Float[np.ndarray, "l p"]:
    """Return x^T K_k x of an element under macro strains alone."""
    modes = element.macro_modes(strain, brick.edges)
    return np.einsum("lpi,li->lp", macro_stress(brick, strain), modes)


def _frozen(array):
    array.setflags(write=False)
    return array
