"""Elastic constants of cubic cells: Voigt algebra, moduli, bounds, stability.

Constants are arrays whose last axis is (C11, C12, C44) in Voigt order 11 22 33 23 13 12
with engineering shear strain. All functions use operators only and so take NumPy and
JAX arrays alike. Moduli of a cubic cell: K = (C11 + 2 C12) / 3, G = C44, and E and nu
along <100>, as in the field. Nothing here is specific to voxels or to finite elements.
"""

import jax.numpy as jnp
import numpy as np

from mmdiff.typing import AnyArray, Float, Scalar, Shaped

NU = 0.3  # Poisson's ratio of the base material unless given
NAMES = ("C11", "C12", "C44")
ORTHOTROPIC = ("C11", "C22", "C33", "C23", "C13", "C12", "C44", "C55", "C66")

# Entry of (C11, C12, C44, 0) at each place of the 6x6 tensor.
_VOIGT_ENTRY = np.array(
    [
        [0, 1, 1, 3, 3, 3],
        [1, 0, 1, 3, 3, 3],
        [1, 1, 0, 3, 3, 3],
        [3, 3, 3, 2, 3, 3],
        [3, 3, 3, 3, 2, 3],
        [3, 3, 3, 3, 3, 2],
    ],
    np.int32,  # the same type with and without x64 mode
)


def _xp(array):
    return jnp if isinstance(array, jnp.ndarray) else np


def cubic_to_voigt(constants: Float[AnyArray, "*b 3"]) -> Float[AnyArray, "*b 6 6"]:
    """Return the 6x6 tensors of cubic constants."""
    xp = _xp(constants)
    constants = xp.asarray(constants)
    entries = xp.concatenate([constants, xp.zeros_like(constants[..., :1])], -1)
    return entries[..., _VOIGT_ENTRY]


def voigt_to_cubic(tensor: Float[AnyArray, "*b 6 6"]) -> Float[AnyArray, "*b 3"]:
    """Return the closest cubic constants: means over equivalent entries."""
    xp = _xp(tensor)
    c11 = (tensor[..., 0, 0] + tensor[..., 1, 1] + tensor[..., 2, 2]) / 3
    c12 = (tensor[..., 0, 1] + tensor[..., 0, 2] + tensor[..., 1, 2]) / 3
    c44 = (tensor[..., 3, 3] + tensor[..., 4, 4] + tensor[..., 5, 5]) / 3
    return xp.stack([c11, c12, c44], axis=-1)


def orthotropic_to_voigt(constants: Float[AnyArray, "9"]) -> Float[AnyArray, "6 6"]:
    """Return the 6x6 tensor of C11 C22 C33 C23 C13 C12 C44 C55 C66."""
    xp = _xp(constants)
    c = [constants[i] for i in range(9)]
    zero = xp.zeros_like(c[0])
    rows = [[c[0], c[5], c[4]], [c[5], c[1], c[3]], [c[4], c[3], c[2]]]
    rows = [row + 3 * [zero] for row in rows]
    rows += [[c[6 + i] if j == 3 + i else zero for j in range(6)] for i in range(3)]
    return xp.stack([xp.stack(row) for row in rows])


def voigt_to_orthotropic(tensor: Float[AnyArray, "6 6"]) -> Float[AnyArray, "9"]:
    """Return C11 C22 C33 C23 C13 C12 C44 C55 C66 of a 6x6 tensor."""
    places = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1), (3, 3), (4, 4), (5, 5)]
    return _xp(tensor).stack([tensor[place] for place in places])


def constants_to_voigt(constants: Float[AnyArray, "k"]) -> Float[AnyArray, "6 6"]:
    """Return the 6x6 tensor of 3 (cubic) or 9 (orthotropic) constants."""
    if constants.shape[-1] == 3:
        return cubic_to_voigt(constants)
    return orthotropic_to_voigt(constants)


def voigt_to_constants(
    tensor: Float[AnyArray, "6 6"], symmetry: str = "cubic"
) -> Float[AnyArray, "k"]:
    """Return the 3 constants of a "cubic" or 9 of an "orthotropic" tensor."""
    cubic = symmetry == "cubic"
    return voigt_to_cubic(tensor) if cubic else voigt_to_orthotropic(tensor)


def moduli(constants: Float[AnyArray, "*b 3"]) -> dict:
    """Return K, G (= C44), E and nu along <100>, and the Zener ratio.

    Args:
      constants: cubic constants; C11 + C12 and C11 - C12 must not vanish.
    """
    c11, c12, c44 = constants[..., 0], constants[..., 1], constants[..., 2]
    return {
        "K": (c11 + 2 * c12) / 3,
        "G": c44,
        "E": (c11 - c12) * (c11 + 2 * c12) / (c11 + c12),
        "nu": c12 / (c11 + c12),
        "zener": 2 * c44 / (c11 - c12),
    }


def from_e_nu_zener(young, nu, zener):
    """Return cubic constants (..., 3) from E<100>, nu<100> and the Zener ratio."""
    c11 = young * (1 - nu) / ((1 + nu) * (1 - 2 * nu))
    c12 = young * nu / ((1 + nu) * (1 - 2 * nu))
    return _xp(c11).stack([c11, c12, zener * (c11 - c12) / 2], axis=-1)


def from_k_g_zener(bulk, shear, zener):
    """Return cubic constants (..., 3) from K, G = C44 and the Zener ratio."""
    difference = 2 * shear / zener
    c12 = bulk - difference / 3
    return _xp(c12).stack([c12 + difference, c12, shear + 0 * c12], axis=-1)


def isotropic(young: Scalar = 1.0, nu: Scalar = NU) -> Float[np.ndarray, "3"]:
    """Return the constants of an isotropic material."""
    return from_e_nu_zener(np.float64(young), np.float64(nu), np.float64(1.0))


def youngs_modulus(
    constants: Float[AnyArray, "*a 3"], direction: Shaped[AnyArray, "*b 3"]
):
    """Young's modulus along unit vectors: 1/E = s11 - 2 (s11 - s12 - s44/2) J.

    J = l^2 m^2 + m^2 n^2 + n^2 l^2 with the direction cosines l, m, n.
    """
    c11, c12, c44 = constants[..., 0], constants[..., 1], constants[..., 2]
    s11 = (c11 + c12) / ((c11 - c12) * (c11 + 2 * c12))
    s12 = -c12 / ((c11 - c12) * (c11 + 2 * c12))
    l2, m2, n2 = (direction[..., i] ** 2 for i in range(3))
    j = l2 * m2 + m2 * n2 + n2 * l2
    return 1 / (s11 - 2 * (s11 - s12 - 0.5 / c44) * j)


def compliance(tensor: Float[AnyArray, "*b 6 6"]) -> Float[AnyArray, "*b 6 6"]:
    """Return the inverse of symmetric stiffness tensors.

    Eigenvalues below 1e-12 of the largest count as that: a cell that does not carry a
    load gets a huge compliance instead of an infinite or, by rounding, negative one.
    """
    xp = _xp(tensor)
    values, vectors = xp.linalg.eigh(tensor)
    floor = 1e-12 * abs(values).max(-1, keepdims=True)
    scaled = vectors / xp.maximum(values, floor)[..., None, :]
    return scaled @ xp.swapaxes(vectors, -1, -2)


def directional_modulus(
    tensor: Float[AnyArray, "*a 6 6"], direction: Shaped[AnyArray, "*b 3"]
):
    """Young's modulus of any 6x6 tensor: 1/E = a^T S a, a = (l2, m2, n2, mn, ln, lm).

    Args:
      tensor: Voigt order with engineering shear.
      direction: unit vectors; leading axes broadcast with those of `tensor`.
    """
    xp = _xp(tensor)
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    a = xp.stack([x * x, y * y, z * z, y * z, x * z, x * y], axis=-1)
    return 1 / xp.einsum("...i,...ij,...j->...", a, compliance(tensor), a)


# The lattice directions <100>, <110>, <111>, one of each pair of opposite ones.
AXES = np.array(
    [
        [1, 0, 0], [0, 1, 0], [0, 0, 1],
        [0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, -1], [1, 0, -1], [1, -1, 0],
        [1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1],
    ]
)  # fmt: skip


def extreme_moduli(tensor: Float[AnyArray, "6 6"]) -> dict:
    """Return the lowest and the highest Young's modulus over all directions.

    A grid of some two degrees on the half sphere, then finer and finer grids around its
    best point. Among equal directions a lattice direction is named first.

    Returns:
      {"min": (E, direction (3,)), "max": (E, direction (3,))}.
    """
    tensor = np.asarray(tensor, np.float64)
    count = 5000
    z = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))  # Fibonacci's lattice
    r = np.sqrt(1 - z**2)
    sphere = np.stack([r * np.cos(angle), r * np.sin(angle), z], -1)
    axes = AXES / np.linalg.norm(AXES, axis=1, keepdims=True)
    offset = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), -1).reshape(-1, 2)
    found = {}
    for name, sign in (("min", 1.0), ("max", -1.0)):
        best = sphere[np.argmin(sign * directional_modulus(tensor, sphere))]
        for step in 0.05 * 0.4 ** np.arange(18):
            tangent = np.linalg.svd(best[None])[2][1:]
            near = best + step * offset @ tangent
            near /= np.linalg.norm(near, axis=1, keepdims=True)
            best = near[np.argmin(sign * directional_modulus(tensor, near))]
        value = directional_modulus(tensor, best)
        on_axes = directional_modulus(tensor, axes)
        first = np.argmin(sign * on_axes > sign * value + 1e-6 * abs(value))
        if sign * on_axes[first] <= sign * value + 1e-6 * abs(value):
            best, value = axes[first], on_axes[first]
        upward = best if best[np.argmax(abs(best))] > 0 else -best
        found[name] = (float(value), upward)
    return found


def cubic_distance(tensor: Float[AnyArray, "*b 6 6"]) -> Scalar | Float[AnyArray, "*b"]:
    """Relative distance of a tensor from its closest cubic one.

    The norm is that of the fourth-order tensor, so it does not depend on the Voigt
    notation; `voigt_to_cubic` is the projection that belongs to it.
    """
    xp = _xp(tensor)
    # A shear entry of Voigt's matrix stands for two of the tensor in each index.
    weight = np.array([1, 1, 1, 2, 2, 2], tensor.dtype)
    weight = xp.asarray(weight[:, None] * weight)
    rest = tensor - cubic_to_voigt(voigt_to_cubic(tensor))
    squares = (weight * rest**2).sum((-1, -2)), (weight * tensor**2).sum((-1, -2))
    return xp.sqrt(squares[0] / squares[1])


def stability_margins(constants: Float[AnyArray, "*b 3"]) -> dict:
    """The three quantities that are positive for a stable cubic material."""
    c11, c12, c44 = constants[..., 0], constants[..., 1], constants[..., 2]
    return {"C11 - C12": c11 - c12, "C11 + 2*C12": c11 + 2 * c12, "C44": c44}


# Ranges of C11, C12, C44 over the reference dataset of arXiv 2401.13570 (E = 1, nu =
# 0.3): the unit in which that paper's Eq. 3 and all range errors here are stated.
PAPER_RANGES = np.array([1.330768, 0.667355, 0.383357])


def range_error(constants, target, ranges=PAPER_RANGES):
    """Mean of |C - target| / range over the constants (arXiv 2401.13570, Eq. 3)."""
    return (abs(constants - target) / ranges).mean(-1)


def relative_error(constants, target):
    """Mean of |C - target| / |target|, |C12| floored at 1 % of C11."""
    xp = _xp(target)
    floor = target[..., :1] * np.array([0.0, 0.01, 0.0])
    return (abs(constants - target) / xp.maximum(abs(target), floor)).mean(-1)
