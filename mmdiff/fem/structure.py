"""The displacement of a box whose every element has its own cubic elastic tensor.

The macro scale of a structure made of cells: each element is a homogenized cell with
constants C11, C12, C44, and K(C) u = f is solved for trilinear hexahedra of unit edge
under given displacements and nodal forces. Conjugate gradients with the V-cycle of
`multigrid`; derivatives in the constants, displacements and forces come from the
implicit function theorem, one more solve with the same K, to any order. Small strains;
nothing here knows about the cells themselves.
"""

import operator as operators
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.errors import InputError
from mmdiff.fem import implicit, multigrid, stencil
from mmdiff.fem.brick import Brick
from mmdiff.fem.device import each
from mmdiff.fem.element import CORNERS, strain_gradient
from mmdiff.fem.multigrid import COARSEST, DEGREES
from mmdiff.fem.stencil import Shape
from mmdiff.typing import AnyArray, Array, Bool, Float, Shaped

TOL, MAXITER = 1e-5, 500
FLOOR = 1e-6
BRICK = Brick("cubic")


def faces(shape: Shape) -> Bool[np.ndarray, "3 X Y Z"]:
    """Return the dofs (3, nx + 1, ny + 1, nz + 1) on the outer boundary, as True."""
    inside = np.zeros([n - 1 for n in shape], bool)
    return np.stack(3 * [np.pad(inside, 1, constant_values=True)])


def corners(u: Shaped[AnyArray, "3 X Y Z"]) -> list[Shaped[AnyArray, "3 nx ny nz"]]:
    """Return the values at the eight corners of every element."""
    nx, ny, nz = (size - 1 for size in u.shape[1:])
    return [u[:, x : x + nx, y : y + ny, z : z + nz] for x, y, z in CORNERS]


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
      degrees: of the smoother, see `multigrid.make_multigrid`.
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
    box = _Box(shape, fixed, degrees, coarsest)
    solution = implicit.make_solution(box)

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
        constants = jnp.moveaxis(constants + rest[None, None, None], -1, 0)
        data, tol = (values, forces), jnp.asarray(tol, kind)
        x, info = solution(
            constants, data, lax.stop_gradient(values), tol, maxiter, 0.0
        )
        return x + box.given(values), info

    return displacement


class _Box:
    """The system of a body: K(C) u = f with given displacements at fixed dofs.

    Data are the displacements, of which those at fixed dofs count, and the forces.
    """

    def __init__(self, shape, fixed, degrees, coarsest):
        self.shape, self.fixed = shape, fixed
        self.levels = multigrid.grids(shape, BRICK, coarsest)
        masks = [fixed]
        for grid in self.levels[1:]:
            masks.append(multigrid.coarse_fixed(masks[-1], grid.shape))
        self.free = [~mask.reshape(3, -1) for mask in masks]
        most = max(int(self.free[-1].sum()), 1)
        self.setup, self.cycle = multigrid.make_multigrid(
            self.levels, most_free=most, degrees=degrees
        )

    def admissible(self, x):
        """Return the field at free dofs, zero at others."""
        return jnp.where(jnp.broadcast_to(self.fixed, x.shape), 0, x)

    def given(self, u):
        """Return the field at fixed dofs, zero at others."""
        return jnp.where(jnp.broadcast_to(self.fixed, u.shape), u, 0)

    def load(self, coefficients, data, *, plain=False):
        """Return the forces, less those of the given displacements."""
        values, forces = data
        lines = stencil.flatten(coefficients)

        def one(u):
            if plain:
                return stencil.plain_apply(coefficients, u[None], BRICK)[0]
            force = stencil.apply(lines, u.reshape(3, -1), self.shape, BRICK)
            return force.reshape(self.fixed.shape)

        return self.admissible(forces - each(one, self.given(values)))

    def apply(self, coefficients, x):
        """Return K x of all loads in a plain form."""

        def one(u):
            return stencil.plain_apply(coefficients, u[None], BRICK)[0]

        return self.admissible(each(one, self.admissible(x)))

    def floors(self, coefficients, data):
        """Return the rounding level that large displacements leave in the forces."""
        lines = stencil.flatten(coefficients)
        diagonal, _ = stencil.node_blocks(lines, self.shape, BRICK)
        values = data[0].reshape(len(data[0]), 3, -1)
        return jnp.finfo(values.dtype).eps * jax.vmap(jnp.linalg.norm)(
            diagonal[None] * values
        )

    def energy(self, coefficients, data):
        """Return zero: the energy is of no use without a gain."""
        return jnp.zeros(len(data[0]), coefficients.dtype)

    def invert(self, coefficients, b, start, limits):
        """Return the solutions."""
        masks = [jnp.asarray(mask, b.dtype) for mask in self.free]
        hierarchy = self.setup(coefficients, masks)
        lines = stencil.flatten(coefficients)
        diagonal, _ = stencil.node_blocks(lines, self.shape, BRICK)
        loads = len(b)
        x, info = implicit.invert(
            jax.tree.map(lambda a: a[None], hierarchy),
            jnp.zeros(loads, jnp.int32),
            self.cycle,
            lambda u, kind: stencil.apply(lines, u, self.shape, BRICK) * masks[0],
            diagonal,
            (b.reshape(loads, 3, -1), start.reshape(loads, 3, -1)),
            limits,
        )
        return x.reshape(b.shape), info


def _checked_shape(shape):
    try:
        sizes = tuple(operators.index(n) for n in shape)
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
