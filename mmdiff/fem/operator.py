"""The matrix-free stiffness operator in the mode basis of `element`.

Corner values become element modes by three butterflies (sum and difference along each
axis), the 45 non-zeros of the mode stiffness act on them, and the transposed
butterflies scatter the result back to the nodes. Spatial axes come last. Two forms of
the same operator are kept because XLA compiles and runs them differently: `apply_rows`
writes the non-zeros out and is fastest to run; `apply_dense` contracts stacked modes
and compiles three times faster, which is what the small coarse grids need.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import element
from mmdiff.typing import Array, Float

# Above this many elements per side the modes of a whole grid fall out of the CPU's
# caches; planes of `SLAB` elements stay inside (2 to 3 times faster at 64^3 on a CPU).
SLAB_FROM, SLAB = 48, 4
# GPUs and TPUs round the factors of a float32 product to 10 or 8 bits unless told not
# to, which could make the preconditioner indefinite.
EXACT = lax.Precision.HIGHEST


def _pair(u, axis):
    low = lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
    high = lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
    return high + low, high - low


def _unpair(s, d, axis):
    low, high = [(0, 0)] * s.ndim, [(0, 0)] * s.ndim
    low[axis], high[axis] = (0, 1), (1, 0)
    return jnp.pad(s - d, low) + jnp.pad(s + d, high)


def modes(u: Float[Array, "*b m m m"]) -> list[Float[Array, "*b n n n"]]:
    """Return the 8 modes of every element of one component, mode = 4 x + 2 y + z."""
    out = []
    for a in _pair(u, u.ndim - 3):
        for b in _pair(a, u.ndim - 2):
            out += _pair(b, u.ndim - 1)
    return out


def scatter(f: list[Float[Array, "*b n n n"]]) -> Float[Array, "*b m m m"]:
    """Transpose of `modes`."""
    ndim = f[0].ndim
    for axis in (ndim - 1, ndim - 2, ndim - 3):
        f = [_unpair(f[2 * i], f[2 * i + 1], axis) for i in range(len(f) // 2)]
    return f[0]


def stress_modes(rows, strain):
    """Apply the mode stiffness to 24 element modes: a list of 24, None where zero."""
    return [sum(v * strain[j] for j, v in row) if row else None for row in rows]


def _apply_rows(modulus, u, rows):
    strain = lax.optimization_barrier(
        [mode for c in range(3) for mode in modes(u[..., c, :, :, :])]
    )
    force = [
        jnp.zeros_like(strain[0]) if f is None else modulus[None] * f
        for f in stress_modes(rows, strain)
    ]
    # Without the barriers XLA recomputes the modes in each of their users.
    force = lax.optimization_barrier(force)
    return jnp.stack([scatter(force[8 * c : 8 * c + 8]) for c in range(3)], -4)


def apply_rows(
    modulus: Float[Array, "n n n"], u: Float[Array, "l 3 m m m"], nu: float
) -> Float[Array, "l 3 m m m"]:
    """Return K u on (n + 1)^3 nodes, without boundary conditions."""
    rows = element.mode_stiffness(nu)
    n = modulus.shape[-3]
    if n < SLAB_FROM or n % SLAB:
        return _apply_rows(modulus, u, rows)
    axis = u.ndim - 3

    def slab(i, out):
        start = i * SLAB
        piece = _apply_rows(
            lax.dynamic_slice_in_dim(modulus, start, SLAB, 0),
            lax.dynamic_slice_in_dim(u, start, SLAB + 1, axis),
            rows,
        )
        piece += lax.dynamic_slice_in_dim(out, start, SLAB + 1, axis)
        return lax.dynamic_update_slice_in_dim(out, piece, start, axis)

    return lax.fori_loop(0, n // SLAB, slab, jnp.zeros_like(u))


def apply_dense(
    modulus: Float[Array, "n n n"], u: Float[Array, "l 3 m m m"], nu: float
) -> Float[Array, "l 3 m m m"]:
    """Return K u like `apply_rows`, in a form that compiles quickly."""
    transform = np.kron(np.eye(3), element.hadamard())
    dense = transform @ element.stiffness(nu) @ transform.T / 64
    dense = jnp.asarray(dense.reshape(3, 2, 2, 2, 3, 2, 2, 2), u.dtype)
    f = u
    for axis in (-3, -2, -1):
        f = jnp.stack(_pair(f, f.ndim + axis))
    f = jnp.einsum("cxyzdpqr,rqpldijk->zyxlcijk", dense, f, precision=EXACT)
    f = f * modulus[(None,) * 5]
    for axis in (-1, -2, -3):
        f = _unpair(f[0], f[1], f.ndim - 1 + axis)
    return f


def macro_force(
    modulus: Float[Array, "n n n"], strain: np.ndarray, nu: float
) -> Float[Array, "l 3 m m m"]:
    """Return the nodal forces of uniform macro strains (L, 6) (zero fluctuation)."""
    rows = element.mode_stiffness(nu)
    loads = []
    for macro in element.macro_modes(strain):
        # Python floats: NumPy's would widen float32 moduli in x64 mode.
        force = [float(sum(v * macro[j] for j, v in row)) for row in rows]
        zero = jnp.zeros_like(modulus)
        loads.append(
            jnp.stack(
                [
                    scatter([modulus * f if f else zero for f in force[8 * c :][:8]])
                    for c in range(3)
                ]
            )
        )
    return jnp.stack(loads)


def node_sum(values: Float[Array, "n n n"]) -> Float[Array, "m m m"]:
    """Return at each node the sum over its elements."""
    for axis in (2, 1, 0):
        values = _unpair(values, jnp.zeros_like(values), axis)
    return values


def element_energy(
    x: Float[Array, "24 n n n"], y: Float[Array, "24 n n n"], nu: float
) -> Float[Array, "n n n"]:
    """Return x^T K0 y of every element from element modes (lists of 24 arrays)."""
    stress = stress_modes(element.mode_stiffness(nu), y)
    return sum(a * b for a, b in zip(x, stress, strict=True) if b is not None)
