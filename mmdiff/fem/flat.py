"""The stiffness operator as the solver runs it: one load, the grid laid out as a line.

`operator.apply` does the same for any number of loads on three axes. Here nodes and
elements of an n^3 grid share the index f = (i m + j) m + k with m = n + 1, so that the
neighbours along x, y, z stand m^2, m and 1 places on: butterflies are sums of shifted
slices, which every compiler vectorizes. Elements with i, j or k = n do not exist; their
modulus is zero, which also cuts the links across the ends of rows. Large grids are done
in chunks of planes that stay in the caches.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from mmdiff.fem import element
from mmdiff.fem.device import materialize, stack
from mmdiff.typing import Array, Float

# Elements per chunk: some 30 arrays of them should fit the last-level cache (measured
# at 64^3: 13,000 to 55,000 alike, the whole grid twice as slow).
CHUNK = 40_000


def shifts(n: int) -> tuple[int, int, int]:
    """Return the distances of neighbours along x, y and z."""
    m = n + 1
    return m * m, m, 1


def margin(n: int) -> int:
    """Return how many places before a node its first element stands."""
    return sum(shifts(n))


def flatten(modulus: Float[Array, "n n n"]) -> Float[Array, "e"]:
    """Return element moduli as a line, `margin` zeros in front."""
    n = modulus.shape[0]
    line = jnp.pad(modulus, [(0, 1)] * 3).reshape(-1)
    return jnp.pad(line, (margin(n), 0))


def split(arrays: Sequence[Array], shift: int) -> list[Array]:
    """Sum and difference of neighbours, for every array (last axis)."""
    out = []
    for a in arrays:
        low, high = a[..., : a.shape[-1] - shift], a[..., shift:]
        out += [high + low, high - low]
    return out


def join(arrays: Sequence[Array], shift: int) -> list[Array]:
    """Transpose of `split` without its ends: of (sum, difference) pairs."""
    return [
        (s - d)[shift:] + (s + d)[: s.shape[0] - shift]
        for s, d in zip(arrays[::2], arrays[1::2], strict=True)
    ]


def _scatter(force, n):
    """Nodal forces, list of 3, from element forces, list of 24."""
    for shift in reversed(shifts(n)):
        force = join(force, shift)
    return force


def apply(
    flat: Float[Array, "e"], u: Float[Array, "3 s"], n: int, nu: float
) -> Float[Array, "3 s"]:
    """Return K u at the (n + 1)^3 nodes, without boundary conditions.

    Args:
      flat: moduli as `flatten` returns them.
      u: nodal displacements.
      n: elements per side.
      nu: Poisson's ratio of the base material.
    """
    along_x, along_y, along_z = shifts(n)
    edge = margin(n)
    rows = element.mode_stiffness(nu)
    live = [i for i, row in enumerate(rows) if row]
    # Not a number compares as false, so that it is handed on as every other modulus.
    true = ~(flat[edge] < -1)

    def gather(u):
        return split(split([u], along_x), along_y)

    def strain_to_force(parts, flat):
        strain = split([part[c] for c in range(3) for part in parts], along_z)
        return [flat * sum(v * strain[j] for j, v in rows[i]) for i in live]

    def scatter(force):
        full = [jnp.zeros_like(force[0])] * 24
        for i, f in zip(live, force, strict=True):
            full[i] = f
        return join(join(full, along_z), along_y)

    def finish(force):
        return stack(join(force, along_x))

    def chunk(u, flat):
        # Each stage is stored: fused, they would be computed anew in all their users.
        parts = materialize(gather, true, u)
        force = materialize(strain_to_force, true, parts, flat)
        force = materialize(scatter, true, force)
        return materialize(finish, true, force)

    size, plane = u.shape[-1], (n + 1) ** 2
    if size <= CHUNK:
        return chunk(jnp.pad(u, [(0, 0), (edge, edge)]), flat)
    step = max(2, CHUNK // plane) * plane
    count = -(-size // step)
    rest = count * step - size
    u = jnp.pad(u, [(0, 0), (edge, edge + rest)])
    flat = jnp.pad(flat, (0, rest))

    def body(i, out):
        piece = chunk(
            lax.dynamic_slice_in_dim(u, i * step, step + 2 * edge, 1),
            lax.dynamic_slice_in_dim(flat, i * step, step + edge, 0),
        )
        return lax.dynamic_update_slice_in_dim(out, piece, i * step, 1)

    out = lax.fori_loop(0, count, body, jnp.zeros((3, count * step), u.dtype))
    return out[:, :size]


def macro_force(
    flat: Float[Array, "e"], stress: Float[Array, "24"], n: int
) -> Float[Array, "3 s"]:
    """Return the nodal forces of a uniform macro strain, linear in the moduli.

    Args:
      flat: moduli as `flatten` returns them.
      stress: element modes of the stress, see `element.macro_stress`.
      n: elements per side.
    """
    return stack(_scatter([flat * stress[i] for i in range(24)], n))


def node_blocks(
    flat: Float[Array, "e"], n: int, nu: float
) -> tuple[Float[Array, "s"], Float[Array, "3 s"]]:
    """Return the 3x3 diagonal blocks of K: the diagonal and the entries yz, xz, xy.

    The three diagonal entries of a block are equal, as the element is a cube.
    """

    def add(v, shift):
        return v[shift:] + v[: v.shape[0] - shift]

    def subtract(v, shift):
        return v[: v.shape[0] - shift] - v[shift:]

    along_x, along_y, along_z = shifts(n)
    s, d = add(flat, along_z), subtract(flat, along_z)
    ss, sd = add(s, along_y), subtract(s, along_y)
    ds, dd = add(d, along_y), subtract(d, along_y)
    stiffness = element.stiffness(nu)
    coupling = float(stiffness[0, 8])  # of two components at a corner of low x, y, z
    diagonal = element.diagonal(nu) * add(ss, along_x)
    return diagonal, coupling * stack(
        [add(dd, along_x), subtract(ds, along_x), subtract(sd, along_x)]
    )
