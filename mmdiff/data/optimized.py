"""Candidates by inverse homogenization: the first round of a dataset.

Stiff cells, auxetic ones, cells of random reachable tensors, and plate lattices: each
kind is one compiled program for a whole shard. The designs are thresholded to their
volume and not refined: a dataset wants variety, not records.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import plates
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import space
from mmdiff.data.recipe import Optimized, Recipe, Shard
from mmdiff.elasticity import NAMES
from mmdiff.fem.device import map_batch
from mmdiff.topopt import objectives, optimize
from mmdiff.topopt import starts as initial
from mmdiff.topopt.oc import optimality_criteria
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.typing import UInt8

# The continuation of `optimize.STAGES`, as shares of all steps.
SHARES = (0.28, 0.18, 0.14, 0.14, 0.13, 0.13)
STIFF_BAND, AUXETIC_BAND = 0.05, 0.1  # of the Zener ratio of isotropic cells
FLOOR = (-2.5, -1.3)  # decades of E / V that auxetic cells keep, drawn uniformly
AUXETIC_VOLUME = 0.75  # above which hinges close
# Sets of plates: single families and pairs; cells of one set are one family.
PLATES = (
    ("sc",),
    ("bcc",),
    ("octet",),
    ("sc", "bcc"),
    ("sc", "octet"),
    ("bcc", "octet"),
)


def _poisson(_):
    return objectives.poisson


PROBLEMS = {
    "bulk_shear": Problem(objectives.weighted),
    "isotropic": Problem(objectives.weighted, isotropic=True),
    "poisson": Problem(_poisson, equality=True, stiff=True),
    "poisson_isotropic": Problem(_poisson, equality=True, stiff=True, isotropic=True),
    "target": Problem(objectives.nearness, equality=True),
}


def candidates(
    recipe: Recipe, number: int, shard: Shard
) -> tuple[UInt8[np.ndarray, "S n n n"], list[dict]]:
    """Return the candidates of a shard of round 0, and a record of each."""
    rng = np.random.default_rng([recipe.seed, number])
    low, high = recipe.volume_range
    if shard.kind == "plates":
        return _plates(rng, recipe.n, shard.count, low, high)
    limits, records = draw_requests(rng, shard, low, high)
    key = jax.random.fold_in(jax.random.key(recipe.seed), number)
    keys = jax.random.split(key, shard.count)
    starts = [
        initial.random_start(key, recipe.n, float(volume))
        for key, volume in zip(keys, limits.volume, strict=True)
    ]
    run = _optimizer(recipe.n, shard.kind, recipe.optimized)
    densities = run(jnp.stack(starts), jax.tree.map(jnp.float32, limits))
    octants = [
        threshold_to_volume(density, volume)
        for density, volume in zip(np.asarray(densities), limits.volume, strict=True)
    ]
    return np.stack(octants), records


def draw_requests(
    rng: np.random.Generator, shard: Shard, low: float, high: float
) -> tuple[Limits, list[dict]]:
    """Return the limits of all candidates' problems, and records of them."""
    count, kind = shard.count, shard.kind
    volume = rng.uniform(low, high, count)
    band, floor, params = np.full(count, STIFF_BAND), np.zeros(count), np.zeros(count)
    if kind == "target":
        bins = rng.choice(space.reachable_bins(low, high), count)
        points = space.draw_in_bins(rng, bins, (low, high))
        params, volume = points[:, :3], points[:, 3]
        values = [dict(zip(NAMES, p.round(6).tolist(), strict=True)) for p in params]
    elif kind in ("bulk_shear", "isotropic"):
        # A third each are pure bulk and pure shear cells, the rest mixtures.
        params = rng.dirichlet([0.6, 0.6, 0.6], count)
        params[::3], params[1::3] = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
        values = [{"weights": weights.round(6).tolist()} for weights in params]
    else:
        volume = rng.uniform(low, max(min(high, AUXETIC_VOLUME), low), count)
        floor = volume * 10 ** rng.uniform(*FLOOR, count)
        band = np.full(count, AUXETIC_BAND)
        values = [{"least E": round(least, 6)} for least in floor.tolist()]
    records = [
        {"objective": {"kind": kind, "V": round(v, 6), **more}}
        for v, more in zip(volume.tolist(), values, strict=True)
    ]
    return Limits(volume, band, floor, params), records


@functools.lru_cache(maxsize=8)
def _optimizer(n: int, kind: str, settings: Optimized):
    ends = np.round(np.cumsum(SHARES) * settings.steps).astype(int)
    steps = np.diff(ends, prepend=0).tolist()
    stages = tuple(
        optimize.Stage(stage.penal, stage.beta, count)
        for stage, count in zip(optimize.STAGES, steps, strict=True)
    )
    loop = optimize.make_optimize(
        n,
        PROBLEMS[kind],
        optimize.Settings(radius=settings.radius, stages=stages),
        optimizer=optimality_criteria() if kind == "bulk_shear" else None,
    )

    def run(start, limits):
        return loop.density(loop.run(loop.init(start), limits, settings.steps))

    return map_batch(run)


def _plates(rng, n, count, low, high):
    """Return octants of plate lattices at random volumes, and their records."""
    octants, records = [], []
    for volume in rng.uniform(low, high, count):
        index = int(rng.integers(len(PLATES)))
        shares = rng.dirichlet(np.ones(len(PLATES[index])))
        thickness = dict(zip(PLATES[index], shares.tolist(), strict=True))
        octants.append(plates.by_volume(n, thickness, volume))
        shown = {name: round(share, 6) for name, share in thickness.items()}
        # They differ in thickness alone, so that none may test what another taught.
        objective = {"kind": "plates", "V": round(volume, 6), "thickness": shown}
        records.append({"objective": objective, "family": -1 - index})
    return np.stack(octants), records
