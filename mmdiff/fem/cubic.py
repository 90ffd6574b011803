"""Elements of cubic symmetry, an elastic tensor each, on a box of any three edges.

The element stiffness is linear in the constants: K = C11 K1 + C12 K2 + C44 K3, and in
the mode basis of `element` the three matrices have 54 non-zeros together. As in `flat`,
nodes and elements share one index f = (i (ny + 1) + j) (nz + 1) + k and large grids are
done in chunks of planes. `apply` is what the solver runs; `plain_apply`, on corners and
three axes, is for derivatives to go through. No boundary conditions here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import element
from mmdiff.fem.device import materialize, stack
from mmdiff.fem.flat import CHUNK, join, split
from mmdiff.fem.operator import EXACT
from mmdiff.typing import AnyArray, Array, Float, Shaped

Shape = tuple[int, int, int]  # elements along x, y and z


def tensor_basis() -> Float[np.ndarray, "3 6 6"]:
    """Return the stiffness tensors of C11 = 1, of C12 = 1 and of C44 = 1."""
    basis = np.zeros((3, 6, 6))
    basis[1, :3, :3] = 1 - np.eye(3)
    for axis in range(3):
        basis[0, axis, axis] = basis[2, 3 + axis, 3 + axis] = 1
    return basis


@functools.lru_cache(maxsize=1)
def stiffness_basis() -> Float[np.ndarray, "3 24 24"]:
    """Return the element stiffnesses of `tensor_basis`, read-only, dof 8 c + corner."""
    total = element.integrate(tensor_basis())
    total.setflags(write=False)
    return total


@functools.lru_cache(maxsize=1)
def mode_rows() -> tuple[tuple[tuple[tuple[int, float], ...], ...], ...]:
    """Return, for each of 24 modes and 3 constants, the non-zeros (mode, value)."""
    transform = np.kron(np.eye(3), element.hadamard())
    modes = transform @ stiffness_basis() @ transform.T / 64
    modes[abs(modes) < 1e-14] = 0

    def row(k, i):
        return tuple((int(j), float(modes[k, i, j])) for j in modes[k, i].nonzero()[0])

    return tuple(tuple(row(k, i) for k in range(3)) for i in range(24))


@functools.lru_cache(maxsize=1)
def spectrum_bound() -> float:
    """Return a bound of the spectrum of B^-1 K, B the 3x3 nodal blocks of K.

    It holds for all fields of positive definite tensors and all fixed dofs: each such
    tensor is a positive sum of a bulk stiffness and two shear stiffnesses, so that the
    Rayleigh quotient is a weighted mean of theirs.
    """
    parts = np.array([[1, 1, 0], [1, -0.5, 0], [0, 0, 1]])
    matrices = np.einsum("pk,kij->pij", parts, stiffness_basis())
    return max(element.block_bound(matrix) for matrix in matrices)


def shifts(shape: Shape) -> Shape:
    """Return the distances of neighbours along x, y and z."""
    return (shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1


def margin(shape: Shape) -> int:
    """Return how many places before a node its first element stands."""
    return sum(shifts(shape))


def flatten(constants: Float[Array, "nx ny nz 3"]) -> Float[Array, "3 e"]:
    """Return element constants as three lines, `margin` zeros in front."""
    shape = constants.shape[:3]
    lines = jnp.pad(jnp.moveaxis(constants, -1, 0), [(0, 0), *[(0, 1)] * 3])
    return jnp.pad(lines.reshape(3, -1), [(0, 0), (margin(shape), 0)])


def apply(
    flat: Float[Array, "3 e"], u: Float[Array, "3 s"], shape: Shape
) -> Float[Array, "3 s"]:
    """Return K u at the nodes.

    Args:
      flat: constants as `flatten` returns them.
      u: nodal displacements, in element edges.
      shape: elements along x, y and z.
    """
    along_x, along_y, along_z = shifts(shape)
    edge, rows = margin(shape), mode_rows()
    live = [i for i, row in enumerate(rows) if any(row)]
    # Not a number compares as false, so that it is handed on as every other constant.
    true = ~(flat[0, edge] < -1)

    def gather(u):
        return split(split([u], along_x), along_y)

    def strain_to_force(parts, flat):
        strain = split([part[c] for c in range(3) for part in parts], along_z)

        def force(row):
            return sum(
                flat[k] * sum(v * strain[j] for j, v in entries)
                for k, entries in enumerate(row)
                if entries
            )

        return [force(rows[i]) for i in live]

    def scatter(force):
        full = [jnp.zeros_like(force[0])] * 24
        for i, f in zip(live, force, strict=True):
            full[i] = f
        return join(join(full, along_z), along_y)

    def finish(force):
        return stack(join(force, along_x))

    def chunk(u, flat):
        # Each stage is stored, see `flat.apply`.
        parts = materialize(gather, true, u)
        force = materialize(strain_to_force, true, parts, flat)
        force = materialize(scatter, true, force)
        return materialize(finish, true, force)

    size = u.shape[-1]
    if size <= CHUNK:
        return chunk(jnp.pad(u, [(0, 0), (edge, edge)]), flat)
    step = max(2, CHUNK // along_x) * along_x
    count = -(-size // step)
    rest = count * step - size
    u = jnp.pad(u, [(0, 0), (edge, edge + rest)])
    flat = jnp.pad(flat, [(0, 0), (0, rest)])

    def body(i, out):
        piece = chunk(
            lax.dynamic_slice_in_dim(u, i * step, step + 2 * edge, 1),
            lax.dynamic_slice_in_dim(flat, i * step, step + edge, 1),
        )
        return lax.dynamic_update_slice_in_dim(out, piece, i * step, 1)

    out = lax.fori_loop(0, count, body, jnp.zeros((3, count * step), u.dtype))
    return out[:, :size]


def corners(u: Shaped[AnyArray, "3 X Y Z"]) -> list[Shaped[AnyArray, "3 nx ny nz"]]:
    """Return the values at the eight corners of every element."""
    nx, ny, nz = (size - 1 for size in u.shape[1:])
    return [u[:, x : x + nx, y : y + ny, z : z + nz] for x, y, z in element.CORNERS]


def plain_apply(
    constants: Float[Array, "nx ny nz 3"], u: Float[Array, "3 X Y Z"]
) -> Float[Array, "3 X Y Z"]:
    """Return K u at the nodes, in a form whose derivatives are cheap to compile."""
    basis = jnp.asarray(stiffness_basis(), u.dtype)

    def gather(u):
        return jnp.stack(corners(u), 1).reshape(24, *constants.shape[:3])

    values, scatter = jax.vjp(gather, u)
    force = jnp.einsum("kij,jxyz->ixyzk", basis, values, precision=EXACT)
    return scatter((force * constants[None]).sum(-1))[0]


def node_blocks(
    flat: Float[Array, "3 e"], shape: Shape
) -> tuple[Float[Array, "s"], Float[Array, "3 s"]]:
    """Return the 3x3 diagonal blocks of K: the diagonal and the entries yz, xz, xy.

    The three diagonal entries of a block are equal, by the symmetry of the tensors.
    """

    def add(v, shift):
        return v[shift:] + v[: v.shape[0] - shift]

    def subtract(v, shift):
        return v[: v.shape[0] - shift] - v[shift:]

    def line(i, j):
        values = stiffness_basis()[:, i, j]
        return sum(float(v) * c for v, c in zip(values, flat, strict=True))

    along_x, along_y, along_z = shifts(shape)
    diagonal, coupling = line(0, 0), line(0, 8)  # at a corner of low x, y, z
    for shift in shifts(shape)[::-1]:
        diagonal = add(diagonal, shift)
    s, d = add(coupling, along_z), subtract(coupling, along_z)
    sd, ds, dd = subtract(s, along_y), add(d, along_y), subtract(d, along_y)
    return diagonal, stack(
        [add(dd, along_x), subtract(ds, along_x), subtract(sd, along_x)]
    )
