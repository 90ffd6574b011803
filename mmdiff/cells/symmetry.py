"""Mirror and permutation symmetry of cubic unit cells.

A cell with mirror planes is stored as its octant [0, 1/2]^3; full cubic symmetry m-3m
adds the 6 permutations of the axes, so an n^3 octant holds n (n + 1) (n + 2) / 6
independent voxels (orbits). Functions that take a `symmetry` treat every voxel as an
orbit of its own where it is "orthotropic". All work on the last three axes.
"""

import functools

import jax.numpy as jnp
import numpy as np

from mmdiff.typing import AnyArray, Float, Int, Shaped


def octant_to_cell(
    octant: Shaped[AnyArray, "*b x y z"],
) -> Shaped[AnyArray, "*b X Y Z"]:
    """Reflect an octant (..., x, y, z) into its cell (..., 2x, 2y, 2z)."""
    xp = np if isinstance(octant, np.ndarray) else jnp
    for axis in (-3, -2, -1):
        octant = xp.concatenate([octant, xp.flip(octant, axis)], axis)
    return octant


def cell_to_octant(cell: Shaped[AnyArray, "*b m m m"]) -> Shaped[AnyArray, "*b n n n"]:
    """Return the octant (..., n, n, n) of a mirror-symmetric cell (..., 2n, 2n, 2n)."""
    n = cell.shape[-1] // 2
    return cell[..., :n, :n, :n]


def symmetrize(
    octant: Float[AnyArray, "*b n n n"], symmetry: str = "cubic"
) -> Float[AnyArray, "*b n n n"]:
    """Average over the 6 permutations of the axes: the projection on cubic symmetry.

    The six terms are summed as a symmetric tree of transposes, so that the result is
    symmetric to the last bit and not only to rounding. Orthotropic octants stay.
    """
    if symmetry == "orthotropic":
        return octant
    xp = np if isinstance(octant, np.ndarray) else jnp
    cycles = ((-3, -2, -1), (-2, -1, -3), (-1, -3, -2))
    cyclic = sum(xp.moveaxis(octant, cycles[0], axes) for axes in cycles)
    mean = (cyclic + xp.swapaxes(cyclic, -1, -2)) / 6
    # Floating-point sums depend on the order of their terms: copy one representative.
    return spread(gather_independent(mean), octant.shape[-1])


def is_cubic(octant: Shaped[AnyArray, "*b n n n"]) -> bool:
    """Whether a concrete octant is unchanged by every permutation of the axes."""
    octant = np.asarray(octant)
    swap = np.array_equal(octant, np.swapaxes(octant, -1, -2))
    return swap and np.array_equal(octant, np.swapaxes(octant, -3, -2))


def num_independent(n: int, symmetry: str = "cubic") -> int:
    """Number of independent voxels (orbits) of an n^3 octant."""
    return n**3 if symmetry == "orthotropic" else n * (n + 1) * (n + 2) // 6


def side(count: int) -> int:
    """Return n of cubic octants with so many independent voxels.

    Raises:
      ValueError: no octant has that many.
    """
    n = int(np.cbrt(6.0 * count))
    if num_independent(n) != count:
        raise ValueError(f"no cubic octant has {count} independent voxels.")
    return n


@functools.lru_cache(maxsize=8)
def _orbits(n: int) -> tuple[Int[np.ndarray, "n n n"], Int[np.ndarray, "m"]]:
    """Return the orbit of each voxel, and the flat index of each orbit's first one."""
    low, mid, high = np.sort(np.indices((n, n, n)).reshape(3, -1), axis=0)
    code = (high * n + mid) * n + low
    _, first, index = np.unique(code, return_index=True, return_inverse=True)
    maps = index.reshape(n, n, n).astype(np.int32), first.astype(np.int32)
    for array in maps:
        array.setflags(write=False)
    return maps


def orbit_index(n: int) -> Int[np.ndarray, "n n n"]:
    """Return the orbit number of every voxel, int32."""
    return _orbits(n)[0]


def orbit_first(n: int) -> Int[np.ndarray, "m"]:
    """Return the flat index of one voxel of each orbit, int32."""
    return _orbits(n)[1]


def multiplicity(n: int, symmetry: str = "cubic") -> Int[np.ndarray, "m"]:
    """Return the number of voxels in each orbit (1, 3 or 6), int64."""
    if symmetry == "orthotropic":
        return np.ones(n**3, np.int64)
    return np.bincount(orbit_index(n).ravel(), minlength=num_independent(n))


def spread(
    values: Shaped[AnyArray, "*b m"], n: int, symmetry: str = "cubic"
) -> Shaped[AnyArray, "*b n n n"]:
    """Give every voxel the value of its orbit."""
    if symmetry == "orthotropic":
        return values.reshape(*values.shape[:-1], n, n, n)
    return values[..., orbit_index(n)]


def gather_independent(
    octant: Shaped[AnyArray, "*b n n n"], symmetry: str = "cubic"
) -> Shaped[AnyArray, "*b m"]:
    """Return one value per orbit; inverse of `spread` on symmetric octants."""
    n = octant.shape[-1]
    flat = octant.reshape(*octant.shape[:-3], n**3)
    return flat if symmetry == "orthotropic" else flat[..., _orbits(n)[1]]
