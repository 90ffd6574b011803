"""What a step of topology optimization costs beside the solve it cannot do without.

    python -m mmdiff.design.bench.steps 64 8 5

Started by `processes` with the edge of the cells, the starts of a batch and the
repetitions. At several designs of one optimization it times a whole design step, and
one homogenization with its gradient at the same density, from the same fields, to the
same tolerance. Then a batch of starts in one program is timed beside the same starts
one by one.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.fem import homogenize
from mmdiff.fem.device import map_batch
from mmdiff.run.timing import measure
from mmdiff.topopt import objectives, optimize
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.topopt.starts import random_start

VOLUME = 0.4
PROBLEM = Problem(lambda _: objectives.shear, isotropic=True)
APART = 20  # design steps between two measurements
BATCH_STEPS = 10


def design_steps(edge: int, repeats: int) -> dict:
    """Return seconds of a step and of a solve with its gradient, and CG iterations."""
    n, settings = edge // 2, optimize.Settings()
    loop = optimize.make_optimize(n, PROBLEM, settings)
    run, density = jax.jit(loop.run), jax.jit(loop.density)
    solver = homogenize.make_solver(n, nu=settings.nu)
    limits = jax.tree.map(jnp.float32, Limits(VOLUME))

    @jax.jit
    def solve(density, fields, penal):
        def value(density):
            stiff = homogenize.modulus(density, settings.void, penal)
            tensor, info = solver(
                stiff, tol=settings.tol, maxiter=settings.maxiter, fields=fields
            )
            return objectives.shear(tensor), info

        return jax.value_and_grad(value, has_aux=True)(density)

    state = jax.jit(loop.init)(random_start(jax.random.key(0), n, VOLUME))
    steps, solves, iterations = [], [], []
    one = jnp.int32(1)
    while not loop.done(state):
        penal = jnp.float32(settings.stages[int(state.stage)].penal)
        now = density(state)
        solve(now, state.fields[0], penal), run(state, limits, one)  # compile
        found = measure(lambda s=state: run(s, limits, one), repeats, 5.0)
        alone = measure(
            lambda d=now, f=state.fields[0], p=penal: solve(d, f, p), repeats, 5.0
        )
        steps.append(found.wall_s)
        solves.append(alone.wall_s)
        iterations.append(int(alone.result[0][1].iterations.max()))
        state = run(state, limits, jnp.int32(APART))
    return {"step_s": steps, "solve_s": solves, "iterations": iterations}


def batches(edge: int, starts: int, repeats: int) -> dict:
    """Return seconds of some design steps of a batch of starts, and one by one."""
    n = edge // 2
    loop = optimize.make_optimize(n, PROBLEM)

    def run(start):
        return loop.run(loop.init(start), Limits(VOLUME), BATCH_STEPS).design

    keys = jax.random.split(jax.random.key(0), starts)
    stack = jnp.stack([random_start(key, n, VOLUME) for key in keys])
    single, together = jax.jit(run), map_batch(run)
    cells = list(stack)
    jax.block_until_ready((single(cells[0]), together(stack)))
    one_by_one = measure(lambda: [single(cell) for cell in cells], repeats, 20.0)
    batched = measure(lambda: together(stack), repeats, 20.0)
    return {"batch_s": batched.wall_s, "one_by_one_s": one_by_one.wall_s}


def main(edge: int, starts: int, repeats: int) -> dict:
    """Return all figures of one edge."""
    figures = design_steps(edge, repeats)
    ratio = np.sum(figures["step_s"]) / np.sum(figures["solve_s"])
    figures |= {"edge": edge, "starts": starts, "ratio": float(ratio)}
    return figures | batches(edge, starts, repeats)


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
