"""The displacement of a cell as a differentiable function of its moduli.

K(E) x = b(E) is solved by preconditioned conjugate gradients. Derivatives come from the
implicit function theorem: K dx = db - dK x, one more solve with the same K for every
direction (forward) or cotangent (reverse), to any order. The effective tensor does not
need this for its first derivatives; see `homogenize`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.elasticity import NU
from mmdiff.fem import boundary, element, flat, multigrid, operator, solve
from mmdiff.fem.device import each


class _Dofs:
    """The degrees of freedom of a cell: lines of nodes for the solver, grids outside.

    Attributes:
      n: elements per side.
      cases: loads of the symmetry.
      fixed: conditions (k, 3, 3) of the kinds of loads, see `boundary.Loads.fixed`;
        loads that fix the same dofs share one preconditioner.
      kind: kind (l,) of every load.
    """

    def __init__(self, n: int, cases: boundary.Loads):
        self.n, self.cases = n, cases
        self.fixed, self.kind = np.unique(cases.fixed(), axis=0, return_inverse=True)

    def free(self, kind, dtype):
        """Return 1 at free and 0 at other dofs (3, s) of a kind of load."""
        periodic = self.cases.periodic
        mask = boundary.free_mask(self.fixed[kind], self.n, dtype, periodic=periodic)
        return mask.reshape(3, -1)

    def masked(self, force):
        """Return lines (l, 3, s), zero at dofs that are not free."""
        return force * jnp.stack([self.free(k, force.dtype) for k in self.kind])

    def to_line(self, u):
        """Return lines (l, 3, s) of fields (l, 3, m, m, m), images included."""
        u = boundary.extend(u, self.cases)
        return u.reshape(*u.shape[:2], -1)

    def from_line(self, u):
        """Return fields (l, 3, m, m, m) of lines (l, 3, s)."""
        m, size = self.cases.nodes(self.n), self.n + 1
        u = u.reshape(*u.shape[:2], size, size, size)
        return u[..., :m, :m, :m]

    def admissible(self, u):
        """Project on what can be solved: free dofs, and no rigid translation."""
        if self.cases.periodic:
            return u - u.mean((-3, -2, -1), keepdims=True)
        return self.from_line(self.masked(self.to_line(u)))


def _make_forces(dofs: _Dofs, nu: float) -> Callable:
    """Return `forces(stiff) -> b (l, 3, s)`, linear in the moduli."""
    stress = element.macro_stress(dofs.cases.strain, nu)

    def forces(stiff):
        line = flat.flatten(stiff)

        def load(stress):
            force = flat.macro_force(line, stress, dofs.n)
            if dofs.cases.periodic:
                force = boundary.fold_images(force, dofs.n)
            return -force

        return dofs.masked(each(load, jnp.asarray(stress, stiff.dtype)))

    return forces


def _make_apply(dofs: _Dofs, nu: float) -> Callable:
    """Return `apply(stiff, u) -> K u`, a plain form for derivatives to go through."""

    def apply(stiff, u):
        force = operator.apply(stiff, boundary.extend(u, dofs.cases), nu)
        force = boundary.fold(force, dofs.cases)
        if dofs.cases.periodic:
            return force
        return dofs.from_line(dofs.masked(dofs.to_line(force)))

    return apply


def _make_invert(dofs: _Dofs, nu: float, degrees: tuple[int, int]) -> Callable:
    """Return `invert(stiff, b, start, tol, maxiter, floor) -> (x, SolveInfo)`."""
    n, periodic = dofs.n, dofs.cases.periodic
    setup, cycle = multigrid.make_multigrid(n, nu, periodic=periodic, degrees=degrees)
    product = multigrid.make_apply(n, nu, periodic=periodic)

    def invert(stiff, b, start, tol, maxiter, floor):
        line = flat.flatten(stiff)
        hierarchies = each(functools.partial(setup, stiff), jnp.asarray(dofs.fixed))
        masks = [dofs.free(k, stiff.dtype) for k in range(len(dofs.fixed))]
        masks = jnp.stack(masks)
        diagonal, _ = flat.node_blocks(line, n, nu)

        def one(b, start, floor, kind):
            hierarchy = jax.tree.map(lambda a: a[kind], hierarchies)
            return solve.pcg_verified(
                lambda u: product(line, u) * masks[kind],
                functools.partial(cycle, hierarchy),
                b,
                start,
                diagonal=diagonal,
                tol=tol,
                maxiter=maxiter,
                floor=floor,
            )

        return each(one, b, start, floor, jnp.asarray(dofs.kind))

    return invert


def make_displacement(
    n: int,
    symmetry: str = "cubic",
    *,
    nu: float = NU,
    degrees: tuple[int, int] = multigrid.DEGREES,
) -> Callable:
    """Return `displacement(stiff, *, tol, maxiter, fields=None) -> (x, SolveInfo)`.

    x (l, 3, m, m, m) holds the fluctuation of every load, in voxel edges; of periodic
    cells, those of zero mean. It is differentiable in the moduli `stiff` (n, n, n),
    forward and reverse, to any order. The solves of the derivatives meet the same
    tolerance relative to their own right-hand sides, within the same number of
    iterations; `SolveInfo` tells of the first solve only and has no derivatives.

    Args:
      n: elements per side of the octant (cubic, orthotropic) or cell (periodic).
      symmetry: "cubic", "orthotropic" or "periodic".
      nu: Poisson's ratio of the base material.
      degrees: of the smoother, see `multigrid.make_multigrid`.

    Raises:
      InputError: for an unknown symmetry.
    """
    cases = boundary.loads(symmetry)
    dofs = _Dofs(n, cases)
    forces, apply = _make_forces(dofs, nu), _make_apply(dofs, nu)
    invert = _make_invert(dofs, nu, degrees)

    @jax.custom_jvp
    def solution(stiff, start, tol, maxiter):
        b = forces(stiff)
        rounding = jnp.finfo(b.dtype).eps * stiff.max() * n**1.5
        floor = jnp.full(b.shape[0], rounding)
        start = dofs.to_line(dofs.admissible(start))
        x, info = invert(stiff, b, start, tol, maxiter, floor)
        return dofs.from_line(x), info

    @solution.defjvp
    def derivative(primals, tangents):
        stiff, _, tol, maxiter = primals
        change = tangents[0]
        x, info = solution(*primals)
        frozen = lax.stop_gradient(stiff)

        def inverse(b):
            b = dofs.masked(dofs.to_line(dofs.admissible(b)))
            floor = jnp.zeros(b.shape[0], b.dtype)
            start = jnp.zeros_like(b)
            return dofs.from_line(invert(frozen, b, start, tol, maxiter, floor)[0])

        slope = lax.custom_linear_solve(
            functools.partial(apply, stiff),
            dofs.from_line(forces(change)) - apply(change, x),
            lambda _, b: solve.scaled(inverse, b),
            symmetric=True,
        )
        return (x, info), (slope, jax.tree.map(solve.no_tangent, info))

    def displacement(stiff, *, tol, maxiter, fields=None):
        if fields is None:
            fields = jnp.zeros(cases.field_shape(n), stiff.dtype)
        return solution(stiff, fields, tol, maxiter)

    return displacement
