"""The macro scale of a cloak beside SciPy: times and iterations for one load.

    taskset -c 0 python docs/macro_study.py [elements per side, 40]

Bodies under a uniform strain e33 of their faces, relative residual 1e-5: `hole`, a
solid with a cylindrical hole of a sixth of the edge as radius; `cells`, constants that
differ from element to element by up to a hundred, and the same hole. SciPy solves the
assembled system by conjugate gradients with Jacobi scaling, from the same start to the
same residual, in float64. Times are of one solve, without compilation and assembly,
which are printed apart; `difference` is that of the displacements outside of the hole.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from mmdiff.fem import brick, element, multigrid, structure

TOL = 1e-5


def bodies(n: int):
    """Return the constants (n, n, n, 3) of each body, and which elements are solid."""
    x = np.arange(n) + 0.5 - n / 2
    radius = np.broadcast_to(np.hypot(x[:, None], x)[:, None], (n, n, n))
    solid = radius > n / 6
    tensor = element.stiffness_tensor(0.3)
    uniform = np.array([tensor[0, 0], tensor[0, 1], tensor[3, 3]])
    share = 10 ** -np.random.default_rng(0).uniform(0, 2, (2, n, n, n))
    c11 = share[0] * uniform[0]
    cells = np.stack([c11, 0.4 * c11, share[1] * uniform[2]], -1)
    return {
        "hole": solid[..., None] * uniform,
        "cells": solid[..., None] * cells,
    }, solid


def assemble(constants):
    """Return K of all dofs, in float64."""
    dofs = multigrid.element_dofs(constants.shape[:3])
    basis = brick.stiffness(structure.BRICK)
    values = np.tensordot(constants.reshape(-1, 3), basis, 1)
    rows, columns = np.repeat(dofs, 24, 1).ravel(), np.tile(dofs, (1, 24)).ravel()
    return sp.coo_matrix((values.ravel(), (rows, columns))).tocsr()


def by_scipy(constants, values):
    """Return the displacement, seconds of the solve and of the assembly, iterations."""
    begin = time.perf_counter()
    free = ~structure.faces(constants.shape[:3]).ravel()
    matrix = assemble(constants + structure.FLOOR * np.array([1, 0, 0.5]))
    u, held = values.ravel().copy(), values.ravel() * ~free
    b = -(matrix @ held)[free]
    matrix = matrix[free][:, free]
    scale = sp.diags(1 / matrix.diagonal())
    middle = time.perf_counter()
    count = []
    u[free], _ = spla.cg(
        matrix, b, u[free], rtol=TOL, maxiter=5000, M=scale, callback=count.append
    )
    end = time.perf_counter()
    return u.reshape(values.shape), end - middle, middle - begin, len(count)


def timed(function, *args):
    """Return what a compiled function returns, and the shortest time of three calls."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        out = jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - begin)
    return out, min(times)


def main(n: int = 40):
    """Print a line for each solver and body; return the differences."""
    differences = []
    load = structure.affine((n, n, n))[2]
    displacement = structure.make_displacement((n, n, n))
    values = jnp.asarray(load[None], jnp.float32)
    fields, solid = bodies(n)
    # Nodes of solid elements.
    around = np.pad(solid, 1)
    mask = sum(
        around[x:, y:, z:][: n + 1, : n + 1, : n + 1] for x, y, z in element.CORNERS
    )

    def square(constants, values):
        u, _ = displacement(constants, values, tol=TOL)
        return (u * u).sum()

    constants = jnp.asarray(fields["hole"], jnp.float32)
    begin = time.perf_counter()
    run = jax.jit(lambda c, v: displacement(c, v, tol=TOL)).lower(constants, values)
    run = run.compile()
    middle = time.perf_counter()
    slope = jax.jit(jax.value_and_grad(square)).lower(constants, values).compile()
    print(
        f"{n}^3 elements; compilation of the solve {middle - begin:.1f} s, "
        f"with its gradient {time.perf_counter() - middle:.1f} s"
    )
    for name, field in fields.items():
        constants = jnp.asarray(field, jnp.float32)
        (u, info), spent = timed(run, constants, values)
        print(
            f"{name}: mmdiff {spent:.2f} s, {info.iterations[0]} iterations, residual "
            f"{info.residual[0]:.1e}, converged {bool(info.converged[0])}",
            flush=True,
        )
        _, spent = timed(slope, constants, values)
        print(f"{name}: mmdiff with a gradient {spent:.2f} s", flush=True)
        want, spent, before, count = by_scipy(field, load)
        error = float(structure.distortion(u[0], jnp.asarray(want, jnp.float32), mask))
        differences.append(error)
        print(
            f"{name}: SciPy {spent:.2f} s and {before:.2f} s of assembly, {count} "
            f"iterations; difference {error:.1e}",
            flush=True,
        )
    return differences


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
