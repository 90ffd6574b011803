"""What the continuation and the contrast of random starts do to the designs.

    python docs/stage_study.py [number of seeds, 3]

Designs on 64^3 elements from the same random starts: isotropic shear at V 0.4 with
several continuations, and isotropic bulk at V 0.5 with several contrasts of the start.
Measured are their surfaces, as they are before these are moved. Printed are the best,
median and least objective over its bound. Results stand in docs/optimization.md.
"""

import sys

from mmdiff.run import environment

environment.silence_xla()  # before JAX is imported

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import bounds
from mmdiff.topopt import finish, move, objectives, optimize, starts
from mmdiff.topopt.optimize import STAGES, Settings, Stage
from mmdiff.topopt.problem import Limits, Problem

SHEAR = Problem(lambda _: objectives.shear, isotropic=True), 0.4, 1
BULK = Problem(lambda _: objectives.bulk, isotropic=True), 0.5, 0
CUBED = (Stage(3.0, 1.0, 45), *STAGES[2:])
GRADUAL = tuple(Stage(p, 1.0, 15) for p in (1.0, 2.0, 3.0)) + STAGES[2:]
SHARPER = (*STAGES, Stage(3.0, 32.0, 15))
# Name -> problem with volume and number of its bound, continuation, contrast.
CASES = {
    "shear, exponent 2 then 3 (default)": (SHEAR, STAGES, 1.0),
    "shear, exponent 3": (SHEAR, CUBED, 1.0),
    "shear, exponents 1, 2, 3": (SHEAR, GRADUAL, 1.0),
    "shear, projection up to 32": (SHEAR, SHARPER, 1.0),
    "bulk, contrast 1 (default)": (BULK, STAGES, 1.0),
    "bulk, contrast 0.6": (BULK, STAGES, 0.6),
    "bulk, contrast 1.5": (BULK, STAGES, 1.5),
    "bulk, exponent 3": (BULK, CUBED, 1.0),
    "bulk, exponent 3, contrast 1.5": (BULK, CUBED, 1.5),
}


def shares(case, count: int, n: int = 32) -> list[float]:
    """Return the objective over its bound for each seed, 0 where nothing holds."""
    (problem, volume, bound), stages, contrast = case
    loop = optimize.make_optimize(n, problem, Settings(stages=stages))
    loop = optimize.Loop(*map(jax.jit, loop))
    evaluate, limits = move.make_evaluate(n), Limits(np.float32(volume))
    found = []
    for seed in range(count):
        key = jax.random.key(seed)
        start = starts.random_start(key, n, volume, contrast=contrast)
        state = loop.run(loop.init(start), limits, jnp.int32(10_000))
        design = finish.finish(loop.density(state), problem, limits, evaluate, steps=0)
        if design.estimate is None:  # no connected part was left
            found.append(0.0)
            continue
        best = bounds.hashin_shtrikman(design.estimate.volume)[bound]
        found.append(design.value / best)
    return found


def main(count: int = 3) -> None:
    """Print one line per case."""
    for name, case in CASES.items():
        got = np.array(shares(case, count))
        figures = f"best {got.max():.3f}  median {np.median(got):.3f}"
        print(f"{name:36}{figures}  least {got.min():.3f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
