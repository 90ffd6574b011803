"""The displacement of a cell as a differentiable function of its moduli.

K(E) x = b(E) is solved by preconditioned conjugate gradients. Derivatives come from the
implicit function theorem: K dx = db - dK x, one more solve with the same K for every
direction (forward) or cotangent (reverse), to any order. The effective tensor does not
need this for its first derivatives; see `homogenize`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.elasticity import NU
from mmdiff.fem import boundary, element, flat, multigrid, operator, solve
from mmdiff.fem.device import each


def make_displacement(
    n: int,
    symmetry: str = "cubic",
    *,
    nu: float = NU,
    degrees: tuple[int, int] = multigrid.DEGREES,
):
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
      ValueError: for an unknown symmetry.
    """
    load_cases = boundary.loads(symmetry)
    periodic = load_cases.periodic
    setup, cycle = multigrid.make_multigrid(n, nu, periodic=periodic, degrees=degrees)
    product = multigrid.make_apply(n, nu, periodic=periodic)
    # Loads that fix the same dofs share one preconditioner.
    fixed, kind = np.unique(load_cases.fixed(), axis=0, return_inverse=True)
    stress = element.macro_stress(load_cases.strain, nu)

    def free(load_kind, dtype):
        mask = boundary.free_mask(fixed[load_kind], n, dtype, periodic=periodic)
        return mask.reshape(3, -1)

    def loads(stiff):
        """Right-hand sides (l, 3, s)."""
        line = flat.flatten(stiff)

        def load(stress):
            force = flat.macro_force(line, stress, n)
            return -(boundary.fold_images(force, n) if periodic else force)

        return masked(each(load, jnp.asarray(stress, stiff.dtype)))

    def masked(force):
        return force * jnp.stack([free(k, force.dtype) for k in kind])

    def to_line(u):
        u = boundary.extend(u, load_cases)
        return u.reshape(*u.shape[:2], -1)

    def from_line(u):
        m = load_cases.nodes(n)
        u = u.reshape(*u.shape[:2], n + 1, n + 1, n + 1)
        return u[..., :m, :m, :m]

    def invert(stiff, b, start, tol, maxiter, floor):
        line = flat.flatten(stiff)
        hierarchies = each(functools.partial(setup, stiff), jnp.asarray(fixed))
        masks = jnp.stack([free(k, stiff.dtype) for k in range(len(fixed))])
        diagonal, _ = flat.node_blocks(line, n, nu)

        def one(b, start, floor, kind):
            hierarchy = jax.tree.map(lambda a: a[kind], hierarchies)

            def apply(u):
                return product(line, u) * masks[kind]

            precondition = functools.partial(cycle, hierarchy)
            limits = {"tol": tol, "floor": floor}
            x, info = solve.pcg(
                apply, precondition, b, start, maxiter=maxiter, **limits
            )
            return x, solve.verified(apply, b, x, info, diagonal=diagonal, **limits)

        return each(one, b, start, floor, jnp.asarray(kind))

    @jax.custom_jvp
    def solution(stiff, start, tol, maxiter):
        b = loads(stiff)
        rounding = jnp.finfo(b.dtype).eps * stiff.max() * n**1.5
        floor = jnp.full(b.shape[0], rounding)
        start = to_line(admissible(start))
        x, info = invert(stiff, b, start, tol, maxiter, floor)
        return from_line(x), info

    def admissible(u):
        """Project on what can be solved: free dofs, and no rigid translation."""
        if periodic:
            return u - u.mean((-3, -2, -1), keepdims=True)
        return from_line(masked(to_line(u)))

    def apply_all(stiff, u):
        """Return K u of all loads in a plain form, for derivatives to go through."""
        force = operator.apply(stiff, boundary.extend(u, load_cases), nu)
        force = boundary.fold(force, load_cases)
        return force if periodic else from_line(masked(to_line(force)))

    @solution.defjvp
    def derivative(primals, tangents):
        stiff, _, tol, maxiter = primals
        change = tangents[0]
        x, info = solution(*primals)
        frozen = lax.stop_gradient(stiff)

        def inverse(_, b):
            # The norms of tiny right-hand sides underflow, and divisions give NaN.
            size = abs(b).max((1, 2, 3, 4), keepdims=True)
            size = jnp.where(size == 0, 1, size)
            b = masked(to_line(admissible(b / size)))
            floor = jnp.zeros(b.shape[0], b.dtype)
            start = jnp.zeros_like(b)
            y, _ = invert(frozen, b, start, tol, maxiter, floor)
            return size * from_line(y)

        slope = lax.custom_linear_solve(
            functools.partial(apply_all, stiff),
            from_line(loads(change)) - apply_all(change, x),
            inverse,
            symmetric=True,
        )
        return (x, info), (slope, jax.tree.map(no_tangent, info))

    def displacement(stiff, *, tol, maxiter, fields=None):
        if fields is None:
            fields = jnp.zeros(field_shape(load_cases, n), stiff.dtype)
        return solution(stiff, fields, tol, maxiter)

    return displacement


def field_shape(load_cases: boundary.Loads, n: int) -> tuple[int, ...]:
    """Return the shape (l, 3, m, m, m) of the fields on an n^3 grid."""
    return (len(load_cases.voigt), 3, *3 * (load_cases.nodes(n),))


def no_tangent(value):
    """Return the zero tangent of a value that is not differentiated."""
    if jnp.issubdtype(value.dtype, jnp.inexact):
        return jnp.zeros_like(value)
    return np.zeros(value.shape, jax.dtypes.float0)
