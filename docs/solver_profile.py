"""What one iteration of the homogenizer is made of, in milliseconds.

    taskset -c 0 python docs/solver_profile.py

One load of the plates, float32; each figure is the median of seven runs of a compiled
loop. The table in docs/homogenizer.md comes from here.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mmdiff.design.bench import specimens
from mmdiff.fem import boundary, homogenize, multigrid, solve, stencil
from mmdiff.fem.brick import Brick

BRICK = Brick()


def milliseconds(function, operand, x, repeats):
    """Return the time of one call within a loop that feeds results back."""

    # The operand is an argument: XLA would compute with a constant while it compiles.
    @jax.jit
    def loop(operand, x):
        return lax.fori_loop(0, repeats, lambda _, y: function(operand, y), x)

    jax.block_until_ready(loop(operand, x))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        jax.block_until_ready(loop(operand, x))
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times)) / repeats


def main():
    """Print a line for each part and size."""
    fixed = jnp.asarray(boundary.loads("cubic").fixed()[1])
    for n, repeats in ((32, 20), (64, 5)):
        stiff = jnp.asarray(homogenize.modulus(specimens.plates(n)), jnp.float32)
        grids = multigrid.grids((n, n, n), BRICK)
        free = multigrid.cell_masks(fixed, grids, jnp.float32, periodic=False)
        most = {"most_free": int(free[-1].sum())}
        setup, cycle = multigrid.make_multigrid(grids, **most)
        setup = jax.jit(setup)
        hierarchy = jax.block_until_ready(setup(stiff[None], free))
        start = time.perf_counter()
        jax.block_until_ready(setup(stiff[None], free))
        print(f"octant {n}^3: set-up {1e3 * (time.perf_counter() - start):.1f}")
        coarser = multigrid.Hierarchy(hierarchy.levels[1:], hierarchy.coarse)
        degrees = 2 * multigrid.DEGREES[1:]
        _, coarse_cycle = multigrid.make_multigrid(grids[1:], degrees=degrees, **most)
        lines, shape = hierarchy.levels[0].lines, grids[0].shape
        # Factors keep the numbers small over the loop.
        parts = {
            "K u": (
                n,
                lines,
                lambda e, u, shape=shape: 1e-3 * stencil.apply(e, u, shape, BRICK),
            ),
            "V-cycle": (n, hierarchy, lambda h, u, c=cycle: 1e-3 * c(h, u)),
            "coarser grids": (
                n // 2,
                coarser,
                lambda h, u, c=coarse_cycle: 1e-3 * c(h, u),
            ),
            "scalar product": (n, 1e-9, lambda e, u: u * (1 + e * solve._dot(u, u))),
        }
        for name, (size, operand, function) in parts.items():
            values = np.random.default_rng(0).standard_normal((3, (size + 1) ** 3))
            u = jnp.asarray(values, jnp.float32)
            spent = milliseconds(function, operand, u, repeats)
            print(f"    {name:15s} {spent:7.2f}")


if __name__ == "__main__":
    main()
