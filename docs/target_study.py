"""How near the optimizer alone comes to twenty random feasible targets.

    python docs/target_study.py [number of targets, 20]

Targets are tensor and volume of random cells of the shipped dataset, so that cells of
that tensor exist. Each is approached from one random start at 64^3, without the
diffusion model and without the cell the target comes from. Printed are the range error
(arXiv 2401.13570, Eq. 3) of the grey design, of its surface and of the moved one, the
volume asked and got, and what keeps the cell from being printed.
"""

import sys
import time

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.data import dataset
from mmdiff.topopt import finish, move, objectives, optimize, starts
from mmdiff.topopt.problem import Limits, Problem

PROBLEM = Problem(objectives.nearness, equality=True)


def targets(count: int, seed: int = 0):
    """Return tensors (count, 3) and volumes of random cells of the dataset."""
    data = dataset.load_dataset()
    chosen = np.random.default_rng(seed).choice(len(data.volume), count, replace=False)
    return data.constants[chosen], data.volume[chosen]


def approach(loop, evaluate, target, volume, key, n):
    """Return the errors of the grey design, and of its surface before and after steps.

    And the finished design. Errors are infinite where no connected cell was left.
    """
    limits = Limits(np.float32(volume), params=np.float32(target))
    start = starts.random_start(key, n, float(volume))
    state = loop.run(loop.init(start), limits, jnp.int32(10_000))
    line = dict(zip(optimize.COLUMNS, state.history[int(state.total) - 1], strict=True))
    grey = np.array([line[name] for name in elasticity.NAMES])
    design = finish.finish(loop.density(state), PROBLEM, limits, evaluate)
    first = -design.history[0][0] if design.history else np.inf
    return float(elasticity.range_error(grey, target)), first, -design.value, design


def main(count: int = 20, n: int = 32) -> np.ndarray:
    """Print one line per target and the medians; return the errors (count, 3)."""
    loop = optimize.make_optimize(n, PROBLEM)
    loop = optimize.Loop(*map(jax.jit, loop))
    evaluate = move.make_evaluate(n)
    rows = []
    print("target               V asked   got    grey % surface %   moved %  seconds")
    for i, (target, volume) in enumerate(zip(*targets(count), strict=True)):
        begin = time.perf_counter()
        key = jax.random.key(i)
        *row, design = approach(loop, evaluate, target, volume, key, n)
        rows.append(row)
        shown = " ".join(f"{c:.4f}" for c in target)
        got = design.estimate.volume if design.estimate else 0.0
        errors = "".join(f"{100 * e:10.3f}" for e in row)
        seconds = f"{time.perf_counter() - begin:9.1f}"
        line = f"{shown} {volume:.3f} {got:.3f} {errors} {seconds}  {design.flaw}"
        print(line.rstrip(), flush=True)
    rows = np.array(rows)
    medians = " ".join(f"{value:.3f}" for value in 100 * np.median(rows, axis=0))
    met = (rows[:, 2] <= 1e-3).sum()
    print(f"median {medians}; {met} of {count} within 0.1 %")
    return rows


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
