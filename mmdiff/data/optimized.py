"""Candidates by inverse homogenization: the first round of a dataset.

Stiff cells and cells of random reachable tensors are designed as densities, one
compiled program for a whole shard, three shards of four on a grid half as fine: what
that holds is wide enough to print. Their surfaces are not refined: a dataset wants
variety, not records. Hinges of auxetic densities do not survive in print, so most
auxetic cells are re-entrant lattices whose surface is moved. Plate lattices and other
textbook ones are taken as they are.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import grey, lattices, mend, plates, surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.symmetry import symmetrize
from mmdiff.data import perturbed, space
from mmdiff.data.recipe import Optimized, Recipe, Shard
from mmdiff.elasticity import NAMES
from mmdiff.fem.device import map_batch
from mmdiff.topopt import ascent, finish, move, objectives, optimize
from mmdiff.topopt import starts as initial
from mmdiff.topopt.oc import optimality_criteria
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.topopt.room import widths
from mmdiff.typing import Float

# The continuation of `optimize.STAGES`, as shares of all steps.
SHARES = (0.28, 0.18, 0.14, 0.14, 0.13, 0.13)
STIFF_BAND, AUXETIC_BAND = 0.05, 0.1  # of the Zener ratio of isotropic cells
FLOOR = (-2.5, -1.3)  # decades of E / V that auxetic cells keep, drawn uniformly
AUXETIC_VOLUME = 0.75  # above which hinges close
LATTICE_VOLUME = 0.12, 0.2  # of re-entrant lattices before their surface is moved,
MOVED_VOLUME = 0.12, 0.3  # and after that
FINE_EACH = 4  # every so many shards of densities have the full grid,
LEAST_COARSE = 0.25  # the others cells of at least this volume
# Sets of plates: single families and pairs; cells of one set are one family.
PLATES = (
    ("sc",),
    ("bcc",),
    ("octet",),
    ("sc", "bcc"),
    ("sc", "octet"),
    ("bcc", "octet"),
)

# A family for each; new ones go to the end, or other cells get their numbers.
LATTICES = (
    *("P sheet", "P network", "IWP sheet", "IWP network"),
    *("Neovius sheet", "Neovius network", "bcc struts", "octet struts"),
    *("sc plates", "bcc plates", "re-entrant"),
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
) -> tuple[list[Float[np.ndarray, "n n n"] | None], list[dict]]:
    """Return the candidates of a shard of round 0, and a record of each.

    A candidate is None where no part of a design bears load.
    """
    rng = np.random.default_rng([recipe.seed, number])
    low, high = recipe.volume_range
    if shard.kind == "plates":
        return _plates(rng, recipe.n, shard.count, low, high)
    if shard.kind == "lattices":
        return _lattices(rng, recipe.n, shard.count, low, high)
    if shard.kind in MOVED:
        return _moved(rng, recipe, shard)
    m = recipe.n
    if number % FINE_EACH and m % 8 == 0:
        m, low = m // 2, min(max(low, LEAST_COARSE), high - 0.01)
    limits, records = draw_requests(rng, shard, low, high)
    key = jax.random.fold_in(jax.random.key(recipe.seed), number)
    keys = jax.random.split(key, shard.count)
    starts = [
        initial.random_start(key, m, float(volume))
        for key, volume in zip(keys, limits.volume, strict=True)
    ]
    run = _optimizer(m, shard.kind, recipe.optimized)
    densities = run(jnp.stack(starts), jax.tree.map(jnp.float32, limits))
    fields = []
    for density, volume in zip(np.asarray(densities), limits.volume, strict=True):
        psi, flaw = finish.field_of(density.astype(np.float64), float(volume))
        finer = surface.sample(psi, surface.centres(m, recipe.n)) * (recipe.n / m)
        fields.append(None if flaw else symmetrize(finer))
    return fields, records


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


# Objectives of re-entrant lattices whose surface is moved.
MOVED = {
    "auxetic": Problem(_poisson, equality=True, stiff=True),
    "auxetic_isotropic": Problem(_poisson, equality=True, stiff=True, isotropic=True),
}


def _moved(rng, recipe, shard):
    """Return deformed re-entrant lattices moved to a lower Poisson's ratio."""
    problem, printing = MOVED[shard.kind], Printing(recipe.wall, recipe.gap, True)
    solver = {"void": recipe.void, "maxiter": recipe.maxiter}
    tol = max(recipe.tol, move.TOL)  # labels are more exact than steps
    evaluate = move.make_evaluate(recipe.n, tol=tol, **solver)
    least_volume = lattices.volumes("re-entrant", recipe.n)[0] + 1e-3
    fields, records = [], []
    for _ in range(shard.count):
        # Coarse fields hold thick struts only.
        first = max(rng.uniform(*LATTICE_VOLUME), least_volume)
        volume = max(rng.uniform(*MOVED_VOLUME), least_volume)
        least = volume * 10 ** rng.uniform(*FLOOR)
        psi = lattices.lattice("re-entrant", first, recipe.n)
        displacement = perturbed.smooth_displacement(
            rng, recipe.n, amplitude=rng.uniform(0.0, 1.0), length=recipe.n / 4
        )
        psi, _ = mend.mend(perturbed.warp(psi, displacement), **printing._asdict())
        moved = ascent.ascend(
            psi,
            finish.make_outputs(problem, Limits(volume, AUXETIC_BAND, least)),
            evaluate,
            steps=recipe.optimized.ascent,
            widths=widths(psi, printing),
            repair=grey.repaired,
        )
        fields.append(moved.psi)
        objective = {"kind": shard.kind, "V": round(volume, 6)}
        records.append({"objective": objective | {"least E": round(least, 6)}})
    return fields, records


def _lattices(rng, n, count, low, high):
    """Return textbook lattices at random volumes, and their records."""
    fields, records = [], []
    ranges = {name: lattices.volumes(name, n) for name in LATTICES}
    names = [k for k, (a, b) in ranges.items() if max(a, low) < min(b, high)]
    for _ in range(count):
        index = int(rng.integers(len(names)))
        least, most = ranges[names[index]]
        volume = rng.uniform(max(least, low) + 1e-3, min(most, high) - 1e-3)
        fields.append(lattices.lattice(names[index], volume, n))
        objective = {"kind": "lattices", "name": names[index], "V": round(volume, 6)}
        # They differ in thickness alone, so that none may test what another taught.
        family = -1 - len(PLATES) - LATTICES.index(names[index])
        records.append({"objective": objective, "family": family})
    return fields, records


def _plates(rng, n, count, low, high):
    """Return plate lattices at random volumes, and their records."""
    fields, records = [], []
    for volume in rng.uniform(low, high, count):
        index = int(rng.integers(len(PLATES)))
        shares = rng.dirichlet(np.ones(len(PLATES[index])))
        thickness = dict(zip(PLATES[index], shares.tolist(), strict=True))
        octant = plates.by_volume(2 * n, thickness, volume)
        fields.append(surface.from_voxels(octant, n))
        shown = {name: round(share, 6) for name, share in thickness.items()}
        # They differ in thickness alone, so that none may test what another taught.
        objective = {"kind": "plates", "V": round(volume, 6), "thickness": shown}
        records.append({"objective": objective, "family": -1 - index})
    return fields, records
