"""How near the optimizer alone comes to twenty random feasible targets.

    python docs/target_study.py [number of targets, 20]

Targets are tensor and volume of random cells of the shipped dataset, so that cells of
that tensor exist. Each is approached from one random start at 64^3, without the
diffusion model and without the cell the target comes from. Printed are the range error
(arXiv 2401.13570, Eq. 3) of the grey design, of the binary cell and of the refined one,
and the volume asked and got.
"""

import sys
import time

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import assets, elasticity
from mmdiff.data import dataset
from mmdiff.topopt import binary, interface, objectives, optimize, starts
from mmdiff.topopt.problem import Limits, Problem

PROBLEM = Problem(objectives.nearness, equality=True)


def targets(count: int, seed: int = 0):
    """Return tensors (count, 3) and volumes of random cells of the dataset."""
    root = assets.weights_path().parent / "cells64" / "data.zarr"
    _, constants, volume, _ = dataset.load_dataset(root)
    chosen = np.random.default_rng(seed).choice(len(volume), count, replace=False)
    return constants[chosen], volume[chosen]


def approach(loop, evaluate, target, volume, key, n):
    """Return the errors of the grey, the binary and the refined cell, and its volume.

    Errors are infinite where no connected cell was left.
    """
    limits = Limits(np.float32(volume), params=np.float32(target))
    start = starts.random_start(key, n, float(volume))
    state = loop.run(loop.init(start), limits, jnp.int32(10_000))
    line = dict(zip(optimize.COLUMNS, state.history[int(state.total) - 1], strict=True))
    grey = np.array([line[name] for name in elasticity.NAMES])
    design = binary.finish(loop.density(state), PROBLEM, limits, evaluate)
    first = -design.history[0][0] if design.history else np.inf
    error = float(elasticity.range_error(grey, target))
    return error, first, -design.value, float(design.octant.mean())


def main(count: int = 20, n: int = 32) -> np.ndarray:
    """Print one line per target and the means; return the lines (count, 4)."""
    loop = optimize.make_optimize(n, PROBLEM)
    loop = optimize.Loop(*map(jax.jit, loop))
    evaluate = interface.make_evaluate(n)
    rows = []
    print("target               V asked   got    grey %  binary %  refined %  seconds")
    for i, (target, volume) in enumerate(zip(*targets(count), strict=True)):
        begin = time.perf_counter()
        key = jax.random.key(i)
        rows.append(approach(loop, evaluate, target, volume, key, n))
        shown = " ".join(f"{c:.4f}" for c in target)
        errors = "".join(f"{100 * e:10.3f}" for e in rows[-1][:3])
        seconds = time.perf_counter() - begin
        print(
            f"{shown} {volume:.3f} {rows[-1][3]:.3f} {errors} {seconds:9.1f}",
            flush=True,
        )
    means = 100 * np.mean(rows, axis=0)[:3]
    print("mean", *(f"{value:.3f}" for value in means), "most refined", end=" ")
    print(f"{100 * np.max(rows, axis=0)[2]:.3f}")
    return np.array(rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
