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


class _System:
    """The linear system K(E) x = b(E) of all loads of a cell.

    Fields (l, 3, m, m, m) outside are lines (l, 3, s) for the solver, images included.
    """

    def __init__(self, n, cases, nu, degrees):
        self.n, self.nu, self.cases = n, nu, cases
        # Loads that fix the same dofs share one preconditioner.
        self.fixed, self.kind = np.unique(cases.fixed(), axis=0, return_inverse=True)
        self.stress = element.macro_stress(cases.strain, nu)
        periodic = {"periodic": cases.periodic}
        self.setup, self.cycle = multigrid.make_multigrid(
            n, nu, degrees=degrees, **periodic
        )
        self.product = multigrid.make_apply(n, nu, **periodic)

    def free(self, kind, dtype):
        """Return 1 at free and 0 at other dofs (3, s) of a kind of load."""
        periodic = self.cases.periodic
        mask = boundary.free_mask(self.fixed[kind], self.n, dtype, periodic=periodic)
        return mask.reshape(3, -1)

    def masked(self, force):
        """Return lines that are zero at dofs that are not free."""
        return force * jnp.stack([self.free(k, force.dtype) for k in self.kind])

    def to_line(self, u):
        """Return the lines of fields."""
        u = boundary.extend(u, self.cases)
        return u.reshape(*u.shape[:2], -1)

    def from_line(self, u):
        """Return the fields of lines."""
        m, size = self.cases.nodes(self.n), self.n + 1
        u = u.reshape(*u.shape[:2], size, size, size)
        return u[..., :m, :m, :m]

    def admissible(self, u):
        """Project fields on what can be solved: free dofs, no rigid translation."""
        if self.cases.periodic:
            return u - u.mean((-3, -2, -1), keepdims=True)
        return self.from_line(self.masked(self.to_line(u)))

    def forces(self, stiff):
        """Return the right-hand sides, as lines; linear in the moduli."""
        line = flat.flatten(stiff)

        def load(stress):
            force = flat.macro_force(line, stress, self.n)
            if self.cases.periodic:
                force = boundary.fold_images(force, self.n)
            return -force

        return self.masked(each(load, jnp.asarray(self.stress, stiff.dtype)))

    def apply(self, stiff, u):
        """Return K u of fields in a plain form, for derivatives to go through."""
        force = operator.apply(stiff, boundary.extend(u, self.cases), self.nu)
        force = boundary.fold(force, self.cases)
        if self.cases.periodic:
            return force
        return self.from_line(self.masked(self.to_line(force)))

    def macro_energy(self, stiff):
        """Return twice the energy of each load without any fluctuation."""
        unit = element.stiffness_tensor(self.nu)
        each_one = np.einsum("li,ij,lj->l", self.cases.strain, unit, self.cases.strain)
        return stiff.mean() * stiff.size * jnp.asarray(each_one, stiff.dtype)

    def invert(self, stiff, b, start, floor, whole, tol, maxiter, gain):
        """Return the solutions of lines b and what `solve.verified` says of them.

        Floors and whole energies are those of each line.
        """
        line = flat.flatten(stiff)
        setup = functools.partial(self.setup, stiff)
        hierarchies = each(setup, jnp.asarray(self.fixed))
        kinds = range(len(self.fixed))
        masks = jnp.stack([self.free(k, stiff.dtype) for k in kinds])
        diagonal, _ = flat.node_blocks(line, self.n, self.nu)

        def one(b, start, floor, whole, kind):
            hierarchy = jax.tree.map(lambda a: a[kind], hierarchies)

            def apply(u):
                return self.product(line, u) * masks[kind]

            limits = solve.Limits(tol, floor, maxiter, gain, whole)
            cycle = functools.partial(self.cycle, hierarchy)
            x, info = solve.pcg(apply, cycle, b, start, limits)
            return x, solve.verified(apply, b, x, info, limits, diagonal=diagonal)

        return each(one, b, start, floor, whole, jnp.asarray(self.kind))


def make_displacement(
    n: int,
    symmetry: str = "cubic",
    *,
    nu: float = NU,
    degrees: tuple[int, int] = multigrid.DEGREES,
) -> Callable:
    """Return `displacement(stiff, *, tol, maxiter, fields, gain) -> (x, SolveInfo)`.

    x (l, 3, m, m, m) holds the fluctuation of every load, in voxel edges; of periodic
    cells, those of zero mean. It is differentiable in the moduli `stiff` (n, n, n),
    forward and reverse, to any order. The solves of the derivatives meet the same
    tolerance relative to their own right-hand sides, within the same number of
    iterations; `SolveInfo` tells of the first solve only and has no derivatives. `gain`
    is for that one alone, see `solve.Limits`; fields are where it starts. The degrees
    are those of the smoother, see `multigrid.make_multigrid`.
    """
    cases = boundary.loads(symmetry)
    system = _System(n, cases, nu, degrees)

    @jax.custom_jvp
    def solution(stiff, start, tol, maxiter, gain):
        b = system.forces(stiff)
        rounding = jnp.finfo(b.dtype).eps * stiff.max() * n**1.5
        floor = jnp.full(b.shape[0], rounding)
        start = system.to_line(system.admissible(start))
        whole = system.macro_energy(stiff)
        x, info = system.invert(stiff, b, start, floor, whole, tol, maxiter, gain)
        return system.from_line(x), info

    @solution.defjvp
    def derivative(primals, tangents):
        stiff, _, tol, maxiter, _ = primals
        change = tangents[0]
        x, info = solution(*primals)
        frozen = lax.stop_gradient(stiff)

        def inverse(b):
            b = system.masked(system.to_line(system.admissible(b)))
            start, none = jnp.zeros_like(b), jnp.zeros(b.shape[0], b.dtype)
            x, _ = system.invert(frozen, b, start, none, none, tol, maxiter, 0.0)
            return system.from_line(x)

        slope = lax.custom_linear_solve(
            functools.partial(system.apply, stiff),
            system.from_line(system.forces(change)) - system.apply(change, x),
            lambda _, b: solve.scaled(inverse, b),
            symmetric=True,
        )
        return (x, info), (slope, jax.tree.map(solve.no_tangent, info))

    def displacement(stiff, *, tol, maxiter, fields=None, gain=0.0):
        if fields is None:
            fields = jnp.zeros(cases.field_shape(n), stiff.dtype)
        return solution(stiff, fields, tol, maxiter, gain)

    return displacement
