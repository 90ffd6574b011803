"""The matrix-free stiffness operator: as the solver runs it, and in a plain form.

In the mode basis of `element` corner values become modes by three butterflies (sum and
difference along each axis), the stiffness acts on them, and the transposed butterflies
scatter the result. `plain_apply` does so on three axes, for energies and derivatives.
The solver runs `apply`, for one load and a grid laid out as a line: nodes and elements
of a box share the index f = (i (ny + 1) + j) (nz + 1) + k, so that neighbours stand
(ny + 1) (nz + 1), nz + 1 and 1 places on: butterflies are sums of shifted slices, which
every compiler vectorizes. Elements with i = nx, j = ny or k = nz do not exist;
their coefficients are zero, which also cuts the links across the ends of rows. Large
grids are done in chunks of planes that stay in the caches. No boundary conditions here.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import Brick
from mmdiff.fem.device import EXACT, materialize, stack
from mmdiff.typing import AnyArray, Array, Float

Shape = tuple[int, int, int]  # elements along x, y and z
# Elements per chunk: some 30 arrays of them should fit the last-level cache (measured
# at 64^3: 13,000 to 55,000 alike, the whole grid twice as slow).
CHUNK = 40_000


def shifts(shape: Shape) -> Shape:
    """Return the distances of neighbours along x, y and z."""
    return (shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1


def margin(shape: Shape) -> int:
    """Return how many places before a node its first element stands."""
    return sum(shifts(shape))


def flatten(coefficients: Float[Array, "p nx ny nz"]) -> Float[Array, "p e"]:
    """Return element coefficients as lines, `margin` zeros in front."""
    shape = coefficients.shape[1:]
    lines = jnp.pad(coefficients, [(0, 0), *[(0, 1)] * 3]).reshape(
        len(coefficients), -1
    )
    return jnp.pad(lines, [(0, 0), (margin(shape), 0)])


def _split(arrays: Sequence[Array], shift: int) -> list[Array]:
    """Sum and difference of neighbours, for every array (last axis)."""
    out = []
    for a in arrays:
        low, high = a[..., : a.shape[-1] - shift], a[..., shift:]
        out += [high + low, high - low]
    return out


def _join(arrays: Sequence[Array], shift: int) -> list[Array]:
    """Transpose of `_split` without its ends: of (sum, difference) pairs."""
    return [
        (s - d)[shift:] + (s + d)[: s.shape[0] - shift]
        for s, d in zip(arrays[::2], arrays[1::2], strict=True)
    ]


def apply(
    lines: Float[Array, "p e"], u: Float[Array, "3 s"], shape: Shape, brick: Brick
) -> Float[Array, "3 s"]:
    """Return K u at the nodes, without boundary conditions.

    Args:
      lines: coefficients as `flatten` returns them.
      u: nodal displacements.
      shape: elements along x, y and z.
      brick: the kind of elements.
    """
    along_x, along_y, along_z = shifts(shape)
    edge, rows = margin(shape), bricks.mode_rows(brick)
    live = [i for i, row in enumerate(rows) if any(row)]
    # The last coefficient is positive. Not a number compares as false, so that it is
    # handed on as every other value.
    true = ~(lines[-1, edge] < -1)

    def gather(u):
        return _split(_split([u], along_x), along_y)

    def strain_to_force(parts, lines):
        strain = _split([part[c] for c in range(3) for part in parts], along_z)

        def force(row):
            return sum(
                lines[k] * sum(v * strain[j] for j, v in entries)
                for k, entries in enumerate(row)
                if entries
            )

        return [force(rows[i]) for i in live]

    def scatter(force):
        full = [jnp.zeros_like(force[0])] * 24
        for i, f in zip(live, force, strict=True):
            full[i] = f
        return _join(_join(full, along_z), along_y)

    def finish(force):
        return stack(_join(force, along_x))

    def chunk(u, lines):
        # Each stage is stored: fused, they would be computed anew in all their users.
        parts = materialize(gather, true, u)
        force = materialize(strain_to_force, true, parts, lines)
        force = materialize(scatter, true, force)
        return materialize(finish, true, force)

    size = u.shape[-1]
    if size <= CHUNK:
        return chunk(jnp.pad(u, [(0, 0), (edge, edge)]), lines)
    step = max(2, CHUNK // along_x) * along_x
    count = -(-size // step)
    rest = count * step - size
    u = jnp.pad(u, [(0, 0), (edge, edge + rest)])
    lines = jnp.pad(lines, [(0, 0), (0, rest)])

    def body(i, out):
        piece = chunk(
            lax.dynamic_slice_in_dim(u, i * step, step + 2 * edge, 1),
            lax.dynamic_slice_in_dim(lines, i * step, step + edge, 1),
        )
        return lax.dynamic_update_slice_in_dim(out, piece, i * step, 1)

    out = lax.fori_loop(0, count, body, jnp.zeros((3, count * step), u.dtype))
    return out[:, :size]


def macro_force(
    lines: Float[Array, "p e"], stress: Float[Array, "p 24"], shape: Shape
) -> Float[Array, "3 s"]:
    """Return the nodal forces of a uniform macro strain, linear in the coefficients.

    Args:
      lines: coefficients as `flatten` returns them.
      stress: element modes of the stress, see `brick.macro_stress`.
      shape: elements along x, y and z.
    """
    force = [
        sum(line * part[i] for line, part in zip(lines, stress, strict=True))
        for i in range(24)
    ]
    for shift in reversed(shifts(shape)):
        force = _join(force, shift)
    return stack(force)


def node_blocks(
    lines: Float[Array, "p e"], shape: Shape, brick: Brick
) -> tuple[Float[Array, "d s"], Float[Array, "3 s"]]:
    """Return the 3x3 diagonal blocks of K: xx, yy, zz and the entries yz, xz, xy.

    Where all edges of the elements are equal, so are the three diagonal entries, and
    one of them is returned.
    """
    blocks = bricks.corner_blocks(brick)

    def ends(values, odd):
        """Sum over the elements of a node; minus at their high ends along odd axes."""
        line = sum(float(v) * c for v, c in zip(values, lines, strict=True))
        for axis in (2, 1, 0):
            shift = shifts(shape)[axis]
            low, high = line[shift:], line[: line.shape[0] - shift]
            line = low - high if axis in odd else low + high
        return line

    same = len(set(brick.edges)) == 1
    diagonal = stack([ends(blocks[:, c, c], ()) for c in range(1 if same else 3)])
    pairs = ((1, 2), (0, 2), (0, 1))
    return diagonal, stack([ends(blocks[:, i, j], (i, j)) for i, j in pairs])


def _pair(u, axis):
    low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
    high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
    return high + low, high - low


def _unpair(s, d, axis):
    low, high = [(0, 0)] * s.ndim, [(0, 0)] * s.ndim
    low[axis], high[axis] = (0, 1), (1, 0)
    return jnp.pad(s - d, low) + jnp.pad(s + d, high)


def modes(u: Float[Array, "*b X Y Z"]) -> list[Float[Array, "*b nx ny nz"]]:
    """Return the 8 modes of every element of one component, mode = 4 x + 2 y + z."""
    out = []
    for a in _pair(u, u.ndim - 3):
        for b in _pair(a, u.ndim - 2):
            out += _pair(b, u.ndim - 1)
    return out


def plain_apply(
    coefficients: Float[AnyArray, "p nx ny nz"],
    u: Float[AnyArray, "l 3 X Y Z"],
    brick: Brick,
) -> Float[Array, "l 3 X Y Z"]:
    """Return K u of any number of loads, in a form for derivatives to go through."""
    dense = bricks.mode_stiffness(brick)
    dense = jnp.asarray(dense.reshape(-1, 3, 2, 2, 2, 3, 2, 2, 2), u.dtype)
    f = u
    for axis in (-3, -2, -1):
        f = jnp.stack(_pair(f, f.ndim + axis))
    f = sum(
        jnp.einsum("cxyzdpqr,rqpldijk->zyxlcijk", part, f, precision=EXACT)
        * coefficient[(None,) * 5]
        for part, coefficient in zip(dense, coefficients, strict=True)
    )
    for axis in (-1, -2, -3):
        f = _unpair(f[0], f[1], f.ndim - 1 + axis)
    return f


def element_energy(
    x: Sequence[Float[Array, "nx ny nz"]],
    y: Sequence[Float[Array, "nx ny nz"]],
    brick: Brick,
) -> Float[Array, "p nx ny nz"]:
    """Return x^T K_k y of every element and unit coefficient, from its 24 modes."""
    parts = [
        sum(
            a * sum(v * y[j] for j, v in row[k])
            for a, row in zip(x, bricks.mode_rows(brick), strict=True)
            if row[k]
        )
        for k in range(len(bricks.stiffness(brick)))
    ]
    return jnp.stack(parts)
