"""Displacements as differentiable functions of the stiffness and of what is given.

K(p) x = b(p, data) is solved by preconditioned conjugate gradients. Derivatives come
from the implicit function theorem: K dx = db - dK x, one more solve with the same K for
every direction (forward) or cotangent (reverse), to any order. `make_solution` is that
for any `System`; `make_displacement` is the system of a cell under macro strains, and
`structure` has that of a body. The effective tensor does not need this for its first
derivatives; see `homogenize`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.fem import boundary, multigrid, solve, stencil
from mmdiff.fem import brick as bricks
from mmdiff.fem.brick import SOLID, Brick
from mmdiff.fem.device import each
from mmdiff.fem.stencil import Shape
from mmdiff.typing import Array, Float, Scalar


@runtime_checkable
class System(Protocol):
    """The linear system of several loads; its fields are (l, 3, ...) at the nodes."""

    def load(self, coefficients: Array, data: Any, *, plain: bool = False) -> Array:
        """Return the right-hand sides b, zero where nothing is free.

        In a `plain` form derivatives go through it.
        """

    def apply(self, coefficients: Array, x: Array) -> Array:
        """Return K x in a plain form, for derivatives to go through."""

    def admissible(self, x: Array) -> Array:
        """Project fields on what can be solved for."""

    def floors(self, coefficients: Array, data: Any) -> Array:
        """Return the rounding level of every right-hand side."""

    def energy(self, coefficients: Array, data: Any) -> Array:
        """Return twice the energy of every load at x = 0; see `solve.Limits.whole`."""

    def invert(
        self, coefficients: Array, b: Array, start: Array, limits: solve.Limits
    ) -> tuple[Array, solve.SolveInfo]:
        """Return the solutions; floor and whole energy of the limits are of loads."""


def make_solution(system: System) -> Callable:
    """Return `solution(coefficients, data, start, tol, maxiter, gain) -> (x, info)`.

    Differentiable in the coefficients and the data, forward and reverse, to any order.
    The solves of the derivatives meet the same tolerance relative to their own
    right-hand sides, within the same number of iterations; `SolveInfo` tells of the
    first solve only and has no derivatives. `gain` is for that one alone.
    """

    @jax.custom_jvp
    def solution(coefficients, data, start, tol, maxiter, gain):
        floors = system.floors(coefficients, data)
        whole = system.energy(coefficients, data)
        limits = solve.Limits(tol, floors, maxiter, gain, whole)
        b, start = system.load(coefficients, data), system.admissible(start)
        return system.invert(coefficients, b, start, limits)

    @solution.defjvp
    def derivative(primals, tangents):
        coefficients, data, _, tol, maxiter, _ = primals
        x, info = solution(*primals)
        frozen = lax.stop_gradient(coefficients)

        def inverse(b):
            b = system.admissible(b)
            none = jnp.zeros(len(b), b.dtype)
            limits = solve.Limits(tol, none, maxiter, 0.0, none)
            return system.invert(frozen, b, jnp.zeros_like(b), limits)[0]

        def residual(coefficients, data):
            b = system.load(coefficients, data, plain=True)
            return b - system.apply(coefficients, x)

        slope = lax.custom_linear_solve(
            functools.partial(system.apply, coefficients),
            jax.jvp(residual, (coefficients, data), tuple(tangents[:2]))[1],
            lambda _, b: solve.scaled(inverse, b),
            symmetric=True,
        )
        return (x, info), (slope, jax.tree.map(solve.no_tangent, info))

    return solution


def invert(
    hierarchies: multigrid.Hierarchy,
    kinds: Array,
    cycle: Callable,
    apply: Callable,
    diagonal: Float[Array, "d s"],
    lines: tuple[Float[Array, "l 3 s"], Float[Array, "l 3 s"]],
    limits: solve.Limits,
    project: Callable = lambda x: x,
) -> tuple[Float[Array, "l 3 s"], solve.SolveInfo]:
    """Return the solutions of loads on lines and what `solve.verified` says of them.

    Args:
      hierarchies: of all kinds of load, which fix the same dofs, along a first axis.
      kinds: the kind of every load.
      cycle: of the preconditioner.
      apply: `apply(u, kind)`, K u on the free dofs.
      diagonal: that of K.
      lines: right-hand sides, and where the solves start.
      limits: floor and whole energy with an entry for each load.
      project: takes from a solution what the equations leave open.
    """

    def one(b, start, floor, whole, kind):
        own = functools.partial(apply, kind=kind)
        hierarchy = jax.tree.map(lambda a: a[kind], hierarchies)
        limited = limits._replace(floor=floor, whole=whole)
        x, info = solve.pcg(own, functools.partial(cycle, hierarchy), b, start, limited)
        x = project(x)
        return x, solve.verified(own, b, x, info, limited, diagonal=diagonal)

    return each(one, *lines, limits.floor, limits.whole, kinds)


class _Cell:
    """The system of a cell or window under macro strains, see `boundary.Loads`.

    Fields (l, 3, X, Y, Z) outside are lines (l, 3, s) for the solver, images included.
    """

    def __init__(self, shape, cases, brick, degrees):
        self.shape, self.brick, self.cases = shape, brick, cases
        # Loads that fix the same dofs share one preconditioner.
        self.fixed, kind = np.unique(cases.fixed(), axis=0, return_inverse=True)
        self.kind = kind.reshape(-1).astype(np.int32)
        self.stress = bricks.macro_stress(brick, cases.strain)
        self.levels = multigrid.grids(shape, brick)
        last = self.levels[-1].shape
        free = [
            boundary.num_free(fixed, last, periodic=cases.periodic)
            for fixed in self.fixed
        ]
        self.setup, self.cycle = multigrid.make_multigrid(
            self.levels,
            most_free=max(*free, 1),
            periodic=cases.periodic,
            degrees=degrees,
        )
        self.product = multigrid.make_apply(self.levels[0], periodic=cases.periodic)

    def _masks(self, fixed, dtype):
        periodic = {"periodic": self.cases.periodic}
        return multigrid.cell_masks(fixed, self.levels, dtype, **periodic)

    def _free(self, dtype):
        """Return 1 at free and 0 at other dofs (k, 3, s), of every kind of load."""
        levels, periodic = self.levels[:1], {"periodic": self.cases.periodic}
        masks = [multigrid.cell_masks(f, levels, dtype, **periodic) for f in self.fixed]
        return jnp.stack([mask for (mask,) in masks])

    def _masked(self, force):
        """Return lines that are zero at dofs that are not free."""
        return force * self._free(force.dtype)[self.kind]

    def _to_line(self, u):
        u = boundary.extend(u, self.cases)
        return u.reshape(*u.shape[:2], -1)

    def _from_line(self, u):
        x, y, z = self.cases.nodes(self.shape)
        u = u.reshape(*u.shape[:2], *(n + 1 for n in self.shape))
        return u[..., :x, :y, :z]

    def _without_translation(self, x):
        """Return lines without the translation that rounding adds to periodic ones.

        It would make their own rounding look large, see `solve.verified`.
        """
        if not self.cases.periodic:
            return x
        return self._to_line(self.admissible(self._from_line(x[None])))[0]

    def admissible(self, x):
        """Keep the free dofs, and of periodic fields those without translation."""
        if self.cases.periodic:
            return x - x.mean((-3, -2, -1), keepdims=True)
        return self._from_line(self._masked(self._to_line(x)))

    def load(self, coefficients, data, *, plain=False):
        """Return the forces of the macro strains; linear in the coefficients."""
        lines = stencil.flatten(coefficients)

        def load(stress):
            force = stencil.macro_force(lines, stress, self.shape)
            if self.cases.periodic:
                force = boundary.fold_images(force, self.shape)
            return -force

        b = self._masked(each(load, jnp.asarray(self.stress, coefficients.dtype)))
        return self._from_line(b)

    def apply(self, coefficients, x):
        """Return K x in a plain form."""
        x = boundary.extend(x, self.cases)
        force = stencil.plain_apply(coefficients, x, self.brick)
        force = boundary.fold(force, self.cases)
        if self.cases.periodic:
            return force
        return self._from_line(self._masked(self._to_line(force)))

    def floors(self, coefficients, data):
        """Return the rounding level of the right-hand sides."""
        size = math.prod(self.shape) ** 0.5
        rounding = jnp.finfo(coefficients.dtype).eps * coefficients.max() * size
        return jnp.full(len(self.kind), rounding)

    def energy(self, coefficients, data):
        """Return twice the energy of each load without any fluctuation."""
        each_one = bricks.macro_energy(self.brick, self.cases.strain)
        total = coefficients.mean((1, 2, 3)) * coefficients[0].size
        return (jnp.asarray(each_one, total.dtype) * total[None]).sum(1)

    def invert(self, coefficients, b, start, limits):
        """Return the solutions."""
        lines, dtype = stencil.flatten(coefficients), coefficients.dtype

        def setup(fixed):
            return self.setup(coefficients, self._masks(fixed, dtype))

        hierarchies = each(setup, jnp.asarray(self.fixed))
        free = self._free(dtype)
        diagonal, _ = stencil.node_blocks(lines, self.shape, self.brick)
        x, info = invert(
            hierarchies,
            jnp.asarray(self.kind),
            self.cycle,
            lambda u, kind: self.product(lines, u) * free[kind],
            diagonal,
            (self._masked(self._to_line(b)), self._to_line(start)),
            limits,
            self._without_translation,
        )
        return self._from_line(x), info


def make_displacement(
    grid: int | Sequence[int],
    symmetry: str | boundary.Loads = "cubic",
    *,
    brick: Brick = SOLID,
    degrees: tuple[int, int] = multigrid.DEGREES,
) -> Callable:
    """Return `displacement(coefficients, *, tol, maxiter, fields, gain) -> (x, info)`.

    x (l, 3, X, Y, Z) holds the fluctuation of every load, in the unit of the elements'
    edges; of periodic cells, those of zero mean. It is differentiable in the element
    coefficients (p, nx, ny, nz), see `make_solution`, which also tells what `info` and
    `gain` are; fields are where the solve starts. The degrees are those of the
    smoother, see `multigrid.make_multigrid`.
    """
    shape = to_shape(grid)
    cases = boundary.loads(symmetry) if isinstance(symmetry, str) else symmetry
    solution = make_solution(_Cell(shape, cases, brick, degrees))

    def displacement(
        coefficients: Float[Array, "p nx ny nz"],
        *,
        tol: Scalar,
        maxiter: Scalar,
        fields: Float[Array, "l 3 X Y Z"] | None = None,
        gain: Scalar = 0.0,
    ):
        if fields is None:
            fields = jnp.zeros(cases.field_shape(shape), coefficients.dtype)
        return solution(coefficients, None, fields, tol, maxiter, gain)

    return displacement


def to_shape(grid: int | Sequence[int]) -> Shape:
    """Return (n, n, n) of one edge n, or three edges as they are."""
    return 3 * (grid,) if isinstance(grid, int) else tuple(int(n) for n in grid)
