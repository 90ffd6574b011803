"""The displacement of a box whose every element has its own cubic elastic tensor.

The macro scale of a structure made of cells: each element is a homogenized cell with
constants C11, C12, C44, and K(C) u = f is solved for trilinear hexahedra of unit edge
under given displacements and nodal forces. Conjugate gradients with the V-cycle of
`cubic_multigrid`; derivatives in the constants, displacements and forces come from the
implicit function theorem, one more solve with the same K, to any order. Small strains;
nothing here knows about the cells themselves.
"""

import functools
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.errors import InputError
from mmdiff.fem import cubic, solve
from mmdiff.fem.cubic import Shape
from mmdiff.fem.cubic_multigrid import COARSEST, DEGREES, make_multigrid
from mmdiff.fem.device import each
from mmdiff.fem.element import strain_gradient
from mmdiff.typing import AnyArray, Array, Bool, Float, Shaped

TOL, MAXITER = 1e-5, 500
FLOOR = 1e-6


def faces(shape: Shape) -> Bool[np.ndarray, "3 X Y Z"]:
    """Return the dofs (3, nx + 1, ny + 1, nz + 1) on the outer boundary, as True."""
    inside = np.zeros([n - 1 for n in shape], bool)
    return np.stack(3 * [np.pad(inside, 1, constant_values=True)])


def affine(
    shape: Shape, strain: Shaped[AnyArray, "..."] | Sequence | None = None
) -> Float[np.ndarray, "l 3 X Y Z"]:
    """Return the displacements u = strain x of uniform strains, x from the centre.

    Strains (l, 6) are in Voigt order 11 22 33 23 13 12 with engineering shear, the six
    unit strains unless given; displacements in element edges.
    """
    strain = np.eye(6) if strain is None else np.asarray(strain, np.float64)
    if strain.ndim != 2 or strain.shape[1] != 6:
        raise InputError(
            f"strains have shape {strain.shape}, not (loads, 6). "
            "Give one row of six Voigt entries for each load."
        )
    x = np.stack(np.indices([n + 1 for n in shape]), -1) - np.array(shape) / 2
    return np.einsum("lij,xyzj->lixyz", strain_gradient(strain), x)


def distortion(
    u: Float[AnyArray, "3 X Y Z"],
    reference: Float[AnyArray, "3 X Y Z"],
    mask: Shaped[AnyArray, "X Y Z"],
) -> Float[Array, ""]:
    """Return |u - reference| / |reference|, 2-norms over the nodes of a mask.

    Of a cloak: how far the displacement outside of it differs from that of the body
    without hole and cloak. Both fields count as they are, rigid motions included, so
    they need the same frame; `affine` measures from the centre of the box. Its
    derivative where the fields agree is taken as zero.
    """
    counts = jnp.asarray(mask, bool)[None]
    error = jnp.where(counts, u - reference, 0)
    return _norm(error) / _norm(jnp.where(counts, reference, 0))


def _norm(a):
    square = (a * a).sum()
    # The root has no derivative at zero.
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def make_displacement(
    shape: Sequence[float],
    fixed: Shaped[AnyArray, "..."] | None = None,
    *,
    degrees: tuple[int, int] = DEGREES,
    coarsest: int = COARSEST,
) -> Callable:
    """Return `displacement(constants, values, forces, *, tol, maxiter, floor)`.

    It solves all loads with the same fixed dofs and returns the displacements
    (l, 3, nx + 1, ny + 1, nz + 1), in element edges, and `SolveInfo` with an entry for
    each load. Differentiable in its three arrays, forward and reverse, to any order,
    and fit for `jit` and `vmap`; float64 where the constants are. The solves of the
    derivatives meet the same tolerance relative to their own right-hand sides;
    `SolveInfo` tells of the first solve only and has no derivatives.

    Arguments of the function returned:
      constants: (nx, ny, nz, 3), C11, C12 and C44 of every element, in any unit; zero
        where there is void. Its tensors should be positive (C11 > |C12|,
        C11 + 2 C12 > 0, C44 > 0): where not, the solve may report no convergence.
      values: (l, 3, nx + 1, ny + 1, nz + 1), the displacement at fixed dofs; at others,
        where the iteration starts.
      forces: nodal forces of the shape of `values`, in the unit of the constants times
        an element face; those on fixed dofs are of no effect. None: no forces.
      tol: residual to reach, relative to the forces and those of the fixed
        displacements when all other dofs are zero.
      maxiter: most iterations.
      floor: Young's modulus, in the unit of the constants, of a material of Poisson's
        ratio zero that every element gets on top, so that void holds together.

    Args:
      shape: elements along x, y and z.
      fixed: dofs of given displacement; those of `faces` unless given.
      degrees: of the smoother, see `cubic_multigrid.make_multigrid`.
      coarsest: most nodes of the grid that is solved densely.

    Raises:
      InputError: for a shape that is not three positive integers, for arrays that do
        not fit it, and if no dof is fixed.
    """
    shape = _checked_shape(shape)
    fixed = faces(shape) if fixed is None else np.asarray(fixed, bool)
    nodes = (3, *(n + 1 for n in shape))
    _check("the mask of fixed dofs", fixed.shape, nodes)
    if not fixed.any():
        raise InputError(
            "none of the dofs is fixed. Fix enough of them to hold the body in place."
        )
    solution = _make_solution(_Box(shape, fixed, degrees, coarsest))

    def displacement(
        constants, values, forces=None, *, tol=TOL, maxiter=MAXITER, floor=FLOOR
    ):
        constants = jnp.asarray(constants)
        _check("the field of constants", constants.shape, (*shape, 3))
        kind = constants.dtype
        values = jnp.asarray(values, kind)
        _check("the displacements", values.shape, (*values.shape[:1], *nodes))
        forces = jnp.zeros_like(values) if forces is None else jnp.asarray(forces, kind)
        _check("the forces", forces.shape, values.shape)
        rest = jnp.asarray(floor, kind) * jnp.asarray([1, 0, 0.5], kind)
        constants = constants + rest[None, None, None]
        return solution(constants, values, forces, jnp.asarray(tol, kind), maxiter)

    return displacement


class _Box:
    """The linear system of a box: K(C) u = f with given displacements at fixed dofs."""

    def __init__(self, shape, fixed, degrees, coarsest):
        self.shape, self.fixed = shape, fixed
        self.setup, self.cycle = make_multigrid(
            shape, fixed, degrees=degrees, coarsest=coarsest
        )

    def free_part(self, u):
        """Return the field at free dofs, zero at others."""
        return jnp.where(jnp.broadcast_to(self.fixed, u.shape), 0, u)

    def fixed_part(self, u):
        """Return the field at fixed dofs, zero at others."""
        return jnp.where(jnp.broadcast_to(self.fixed, u.shape), u, 0)

    def plain(self, constants, u):
        """Return K u of all loads in a plain form, for derivatives to go through."""
        return each(functools.partial(cubic.plain_apply, constants), u)

    def load(self, constants, values, forces):
        """Return the right-hand sides: forces, and those of the fixed dofs."""
        lines = cubic.flatten(constants)

        def given(u):
            force = cubic.apply(lines, u.reshape(3, -1), self.shape)
            return force.reshape(self.fixed.shape)

        return self.free_part(forces - each(given, self.fixed_part(values)))

    def invert(self, constants, b, start, tol, maxiter, given):
        """Solve for the free dofs; `given` (l, 3, ...) tells of the rounding in b."""
        hierarchy = self.setup(constants)
        lines = cubic.flatten(constants)
        diagonal, _ = cubic.node_blocks(lines, self.shape)
        eps, nodes = jnp.finfo(b.dtype).eps, self.fixed.shape

        def apply(u):
            force = cubic.apply(lines, u, self.shape)
            return self.free_part(force.reshape(nodes)).reshape(3, -1)

        def one(b, start, given):
            b, start = b.reshape(3, -1), start.reshape(3, -1)
            floor = eps * jnp.linalg.norm(diagonal[None] * given.reshape(3, -1))
            limits = solve.Limits(tol, floor, maxiter)
            cycle = functools.partial(self.cycle, hierarchy)
            x, info = solve.pcg(apply, cycle, b, start, limits)
            info = solve.verified(apply, b, x, info, limits, diagonal=diagonal)
            return x.reshape(nodes), info

        return each(one, b, start, given)


def _make_solution(box: _Box) -> Callable:
    """Return `solution(constants, values, forces, tol, maxiter) -> (u, SolveInfo)`."""

    @jax.custom_jvp
    def solution(constants, values, forces, tol, maxiter):
        b = box.load(constants, values, forces)
        start = box.free_part(values)
        x, info = box.invert(constants, b, start, tol, maxiter, values)
        return x + box.fixed_part(values), info

    @solution.defjvp
    def derivative(primals, tangents):
        constants, *_, tol, maxiter = primals
        change, of_values, of_forces = tangents[:3]
        u, info = solution(*primals)
        frozen = lax.stop_gradient(constants)

        def inverse(b):
            b = box.free_part(b)
            zero = jnp.zeros_like(b)
            return box.invert(frozen, b, zero, tol, maxiter, zero)[0]

        of_values = box.fixed_part(of_values)
        b = of_forces - box.plain(constants, of_values) - box.plain(change, u)
        slope = lax.custom_linear_solve(
            lambda x: box.free_part(box.plain(constants, box.free_part(x))),
            box.free_part(b),
            lambda _, b: solve.scaled(inverse, b),
            symmetric=True,
        )
        return (u, info), (slope + of_values, jax.tree.map(solve.no_tangent, info))

    return solution


def _checked_shape(shape):
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError:
        sizes = ()
    if len(sizes) != 3 or min(sizes) < 1:
        raise InputError(
            f"{shape!r} is not the shape of a box. "
            "Give the elements along x, y and z, three positive integers."
        )
    return sizes


def _check(what, shape, expected):
    if tuple(shape) != tuple(expected):
        raise InputError(
            f"the shape of {what} is {tuple(shape)}, not {tuple(expected)}. "
            "Give an array that fits the box."
        )
