"""Load cases and boundary conditions of cells and of windows of a material.

`periodic` takes a full cell and six loads. `orthotropic` and `cubic` take an octant of
a mirror-symmetric cell: under a mirror a load is even or odd, and so is its fluctuation
field, which leaves homogeneous conditions on the octant's faces. For a normal load the
normal component vanishes on every face; for the shear load jk the normal component
vanishes on the faces normal to the third axis, and the two tangential components vanish
on the faces normal to j or k. `cubic` needs one normal and one shear load only.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.errors import InputError
from mmdiff.fem.element import VOIGT
from mmdiff.fem.stencil import Shape
from mmdiff.typing import AnyArray, Array, Bool, Float, Int

SYMMETRIES = ("cubic", "orthotropic", "periodic", "kinematic", "mixed")
# Of these the array is an octant, and C11 to C66 and the normal couplings are not zero.
OCTANTS = ("cubic", "orthotropic")
# What comes before the index along x, y and z of a field (c, x, y, z).
_AXES = tuple((slice(None),) * axis for axis in (1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Loads:
    """The load cases of one of `SYMMETRIES`, each by its Voigt number."""

    symmetry: str
    voigt: tuple[int, ...]

    @property
    def periodic(self) -> bool:
        """Whether opposite faces carry the same nodes."""
        return self.symmetry == "periodic"

    @property
    def strain(self) -> Float[np.ndarray, "l 6"]:
        """Macro strains (L, 6) in Voigt order, engineering shear."""
        return np.eye(6)[list(self.voigt)]

    def nodes(self, shape: Shape) -> Shape:
        """Number of nodes along x, y and z of so many elements."""
        return shape if self.periodic else tuple(n + 1 for n in shape)

    def field_shape(self, grid: int | Shape) -> tuple[int, ...]:
        """Return the shape (l, 3, X, Y, Z) of the fields on n^3 or (nx, ny, nz)."""
        shape = 3 * (grid,) if isinstance(grid, int) else tuple(grid)
        return (len(self.voigt), 3, *self.nodes(shape))

    def fixed(self) -> Bool[np.ndarray, "l 3 3"]:
        """Whether component c vanishes on faces normal to axis a: (l, c, a)."""
        fixed = np.zeros((len(self.voigt), 3, 3), bool)
        if self.periodic:
            return fixed
        if self.symmetry == "kinematic":
            return ~fixed
        for load, voigt in enumerate(self.voigt):
            j, k = VOIGT[voigt]
            for axis in range(3):
                odd = j != k and axis in (j, k)  # odd under this mirror
                for c in range(3):
                    fixed[load, c, axis] = (c != axis) if odd else (c == axis)
        return fixed


def loads(symmetry: str) -> Loads:
    """Return the load cases of a symmetry; InputError if it is unknown."""
    if symmetry not in SYMMETRIES:
        raise InputError(f"symmetry {symmetry!r} is unknown; use one of {SYMMETRIES}")
    return Loads(symmetry, (0, 3) if symmetry == "cubic" else (0, 1, 2, 3, 4, 5))


def load_pairs(
    load_cases: Loads,
) -> tuple[tuple[tuple[int, int], ...], Int[np.ndarray, "6 6"]]:
    """Return the pairs of loads whose energies make up C, and their places in it.

    The places (6, 6) hold the number of a pair, and that of pairs where C is zero. Load
    2 of "cubic" is load 22, which is load 11 with x and y exchanged.
    """
    if load_cases.symmetry == "cubic":
        place = np.full((6, 6), 3, np.int32)
        place[:3, :3] = 1
        np.fill_diagonal(place, (0, 0, 0, 2, 2, 2))
        return ((0, 0), (0, 2), (1, 1)), place
    pairs = tuple(
        (i, j)
        for i in range(6)
        for j in range(i + 1)
        if load_cases.symmetry not in OCTANTS or i == j or i < 3
    )
    place = np.full((6, 6), len(pairs), np.int32)
    for number, (i, j) in enumerate(pairs):
        place[i, j] = place[j, i] = number
    return pairs, place


def free_mask(
    fixed: Bool[AnyArray, "3 3"], shape: Shape, dtype: Any, *, periodic: bool
) -> Float[Array, "3 X Y Z"]:
    """Return 1 at free and 0 at other dofs of one load, see `Loads.fixed`.

    The images of a periodic cell, on the far faces, are not free.
    """
    mask = jnp.ones((1, 1, 1, 1), dtype)
    for axis, n in enumerate(shape):
        ends = np.zeros(n + 1, bool)
        ends[[0, -1]] = True
        line = jnp.asarray(fixed)[:, axis, None] & ends[None]
        if periodic:
            line = jnp.arange(n + 1)[None] == n
        size = [line.shape[0], 1, 1, 1]
        size[1 + axis] = n + 1
        mask = mask * (1 - line.astype(dtype)).reshape(size)
    return jnp.broadcast_to(mask, (3, *(n + 1 for n in shape)))


def num_free(fixed: Bool[np.ndarray, "3 3"], shape: Shape, *, periodic: bool) -> int:
    """Return how many dofs of `free_mask` are free."""
    if periodic:
        return 3 * math.prod(shape)
    nodes = np.array(shape) + 1
    return int(np.prod(nodes - 2 * np.asarray(fixed, int), axis=1).sum())


def fold_images(f: Float[Array, "c s"], shape: Shape) -> Float[Array, "c s"]:
    """Add the forces on the images of a periodic cell to their originals."""
    f = f.reshape(-1, *(n + 1 for n in shape))
    for before, n in zip(_AXES, shape, strict=True):
        first, image = (*before, 0), (*before, n)
        f = f.at[first].add(f[image]).at[image].set(0)
    return f.reshape(f.shape[0], -1)


def copy_images(u: Float[Array, "c s"], shape: Shape) -> Float[Array, "c s"]:
    """Give the images of a periodic cell the displacements of their originals."""
    u = u.reshape(-1, *(n + 1 for n in shape))
    for before, n in zip(_AXES, shape, strict=True):
        u = u.at[(*before, n)].set(u[(*before, 0)])
    return u.reshape(u.shape[0], -1)


def extend(u: Float[AnyArray, "..."], load_cases: Loads) -> Float[AnyArray, "..."]:
    """Return fields on (n + 1)^3 nodes: periodic fields get their images appended."""
    if not load_cases.periodic:
        return u
    for axis in range(u.ndim - 3, u.ndim):
        first = lax.slice_in_dim(u, 0, 1, axis=axis)
        u = jnp.concatenate([u, first], axis)
    return u


def fold(f: Float[AnyArray, "..."], load_cases: Loads) -> Float[AnyArray, "..."]:
    """Transpose of `extend`: forces on image nodes are added to their originals."""
    if not load_cases.periodic:
        return f
    for axis in range(f.ndim - 3, f.ndim):
        size = f.shape[axis] - 1
        image = lax.slice_in_dim(f, size, size + 1, axis=axis)
        rest = lax.slice_in_dim(f, 1, size, axis=axis)
        first = lax.slice_in_dim(f, 0, 1, axis=axis) + image
        f = jnp.concatenate([first, rest], axis)
    return f
