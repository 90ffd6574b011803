"""Making labelled cells, one shard at a time.

`run_shard` is deterministic in (recipe, shard), skips finished work and touches only
its own shard, so any launcher can map it over shard numbers, one round after the other.
Candidates are cleaned, refused with a counted reason, and homogenized. Bytes are equal
where the arithmetic is: on processors of one kind, with one thread (`pipeline`).
"""

import collections
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import spatial

from mmdiff.cells.connectivity import clean_octant, spanning_axes
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import optimized, perturbed, proposed, select, store
from mmdiff.data.recipe import OPTIMIZED, PROPOSED, Recipe, Shard
from mmdiff.elasticity import stability_margins
from mmdiff.errors import DataError
from mmdiff.fem.homogenize import batched_homogenizer
from mmdiff.topopt import starts

STAGES = ("make", "clean", "label", "check")  # of a shard, in order; see its timing
MIN_SHARE = 0.9  # of the solid in the largest piece: else it is another cell
MIN_MARGIN = 1e-4  # of stability, below which nothing carries load
# Homogenizations that a design step takes as long as; see `labels_worth`.
STEP_WORTH = {"bulk_shear": 0.3, "isotropic": 0.3, "poisson": 0.35}
STEP_WORTH |= {"poisson_isotropic": 0.4, "target": 0.4}


def create(recipe: Recipe, root: pathlib.Path) -> None:
    """Create the empty dataset of a recipe, or check that `root` holds the same."""
    shards = len(recipe.plan())
    size = {"n": recipe.n, "shards": shards, "shard_size": recipe.shard_size}
    store.create(root, **size, base=recipe.base(), recipe=recipe.to_dict())


def run_shard(recipe: Recipe, number: int, root: pathlib.Path) -> bool:
    """Make one shard, and return whether it was not finished yet.

    All shards of earlier rounds must be finished.
    """
    if store.manifest_path(root, number).exists():
        return False
    clock = [time.perf_counter()]
    shard = recipe.plan()[number]
    first = recipe.rounds()[shard.round].start
    earlier = store.read_labels(root, range(first))
    candidates, records = _candidates(recipe, number, shard, earlier)
    clock.append(time.perf_counter())
    rejected = collections.Counter()
    octants, kept = _whole(recipe, candidates, rejected)
    clock.append(time.perf_counter())
    constants, residual, converged = _label(recipe, octants)
    clock.append(time.perf_counter())
    volume = octants.mean((1, 2, 3))
    points = select.property_points(constants, volume)
    known = _Known(recipe, earlier)
    good, made = [], []
    for j, i in enumerate(kept):
        if not converged[j]:
            rejected["unconverged"] += 1
        elif min(stability_margins(constants[j]).values()) < MIN_MARGIN:
            rejected["not load bearing"] += 1
        elif known.has(points[j], octants[j]):
            rejected["duplicate"] += 1
        else:
            known.add(points[j], octants[j])
            name = number * recipe.shard_size + i
            record = {"id": name, "round": shard.round, "aim": shard.aim}
            record |= {"parent": None, "family": name, **records[i]}
            record["residual"] = float(residual[j])
            record["split"] = _split(recipe, shard, record["family"])
            good.append(j)
            made.append(record)
    clock.append(time.perf_counter())
    spent = dict(zip(STAGES, np.diff(clock).tolist(), strict=True))
    store.write_shard(
        root,
        number,
        octants=octants[good],
        constants=constants[good],
        records=made,
        rejected=dict(rejected),
        timing={**spent, "candidates": shard.count, "labels": len(kept)},
    )
    return True


def _candidates(recipe: Recipe, number: int, shard: Shard, earlier: store.Labels):
    if shard.aim == OPTIMIZED:
        return optimized.candidates(recipe, number, shard)
    if not earlier.records:
        raise DataError(
            f"{earlier.root} has no accepted cell in the rounds before shard {number}, "
            "so there is nothing to go on from. Widen `volume_range` or raise "
            "`optimized.steps`."
        )
    source = proposed if shard.aim == PROPOSED else perturbed
    return source.candidates(recipe, number, shard, earlier)


def _whole(recipe, candidates, rejected):
    """Return the cleaned octants that may be cells, and their candidates' numbers."""
    low, high = recipe.volume_range
    octants, kept = [], []
    for i, octant in enumerate(candidates):
        octant, _, share = clean_octant(octant)
        if share < MIN_SHARE:
            rejected["disconnected"] += 1
        elif not all(spanning_axes(octant)) or not octant[0].any():
            rejected["not spanning"] += 1
        elif not low <= octant.mean() <= high:
            rejected["volume out of range"] += 1
        else:
            octants.append(octant)
            kept.append(i)
    n = recipe.n
    return np.asarray(octants, np.uint8).reshape(-1, n, n, n), kept


def _label(recipe, octants):
    """Return constants float64 (k, 3), residuals and whether each solve converged."""
    # One program for all shards: what is missing is solid, and solved at once.
    n, size = recipe.n, recipe.shard_size
    padded = np.ones((size, n, n, n), np.float32)
    padded[: len(octants)] = octants
    label = batched_homogenizer(
        n, void=recipe.void, tol=recipe.tol, maxiter=recipe.maxiter
    )
    constants, residual, converged = map(np.asarray, label(jnp.asarray(padded)))
    return constants[: len(octants)].astype(np.float64), residual, converged


def _split(recipe, shard, family) -> int:
    # Samples of a model resemble what it was trained on: they test nothing.
    if shard.aim == PROPOSED:
        return select.TRAIN
    family = np.array([family])
    return int(select.split_by_family(family, recipe.validation, recipe.test)[0])


class _Known:
    """The cells that a new one may repeat: of earlier rounds and of its own shard."""

    def __init__(self, recipe, earlier):
        self._limits = {"distance": recipe.distance, "similarity": recipe.similarity}
        self._earlier = earlier
        points = select.property_points(earlier.constants, earlier.volume)
        self._tree = spatial.cKDTree(points)
        self._points, self._octants = [], []

    def has(self, point, octant) -> bool:
        trees = [(self._tree, self._earlier.octants)]
        if self._points:
            own = spatial.cKDTree(self._points)
            trees.append((own, lambda index: [self._octants[i] for i in index]))
        return any(
            select.similar_to(point, octant, tree, octants, **self._limits)
            for tree, octants in trees
        )

    def add(self, point, octant) -> None:
        self._points.append(point)
        self._octants.append(octant)


def labels_worth(recipe: Recipe, shard: Shard) -> float:
    """Return how many homogenizations a shard takes as long as, roughly.

    Measured at 64^3 on one core (`DATASET_CARD.md` of the shipped cells).
    """
    if shard.aim == PROPOSED:
        return shard.count * (2 + 1.2 * recipe.proposed.polish_steps)
    steps = recipe.optimized.steps if shard.aim == OPTIMIZED else 0
    return shard.count * (1.2 + STEP_WORTH.get(shard.kind, 0.0) * steps)


def seconds_per_label(recipe: Recipe) -> float:
    """Return the measured seconds of one homogenization, compilation left out."""
    keys = jax.random.split(jax.random.key(0), 4)
    fields = [np.asarray(starts.random_start(key, recipe.n, 0.4)) for key in keys]
    octants = np.stack([threshold_to_volume(field, 0.4) for field in fields])
    count = min(recipe.shard_size, len(octants))
    _label(recipe, octants[:count])  # compiles
    start = time.perf_counter()
    _label(recipe, octants[:count])
    return (time.perf_counter() - start) / count
