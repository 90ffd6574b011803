"""Making labelled cells, one shard at a time.

`run_shard` is deterministic in (recipe, shard), skips finished work and touches only
its own shard, so any launcher can map it over shard numbers, one round after the other.
Candidates are mended until they can be printed, stored in 8 bits, and what is stored is
homogenized; those that fail are refused with a counted reason. Bytes are equal where
the arithmetic is: on processors of one kind, with one thread (`pipeline`).
"""

import collections
import pathlib
import time
from typing import NamedTuple

import jax
import numpy as np
from scipy import spatial

from mmdiff.cells import distance, grey, surface
from mmdiff.cells.mend import Printing, mend
from mmdiff.cells.printable import Printability, View
from mmdiff.cells.symmetry import num_independent
from mmdiff.data import given, optimized, perturbed, proposed, select, store
from mmdiff.data.recipe import GIVEN, OPTIMIZED, PROPOSED, Recipe, Shard
from mmdiff.elasticity import PAPER_RANGES, stability_margins
from mmdiff.errors import DataError
from mmdiff.fem import accuracy
from mmdiff.topopt import starts
from mmdiff.typing import Float, Int8

STAGES = ("make", "mend", "label", "check")  # of a shard, in order; see its timing
MIN_MARGIN = 1e-4  # of stability, below which nothing carries load
ROUNDS = 4  # of mending
KEPT = 0.95  # of the least wall and gap, after storage in 8 bits
# Uncertainty from which on a label is taken from grids twice as fine, and from which on
# a cell is refused: the mean over the ranges of the constants, and relative to them.
UNSURE, UNCERTAIN = (0.03, 0.3), (0.04, 0.3)
# Labels that a design step, and a moved surface's, takes as long as; see
# `labels_worth`.
STEP_WORTH = {"bulk_shear": 0.16, "isotropic": 0.25, "poisson": 0.2}
STEP_WORTH |= {"poisson_isotropic": 0.28, "target": 0.25}
ASCENT_WORTH = 2.2
REST_WORTH = 4.5  # of a candidate beside its design


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
    fields, records = _candidates(recipe, number, shard, earlier)
    clock.append(time.perf_counter())
    rejected = collections.Counter()
    rng = np.random.default_rng([recipe.seed, number, 1])
    asked = rng.random(len(fields)) < recipe.drainable
    cells, kept = [], []
    for i, psi in enumerate(fields):
        cell, reason = printed(recipe, psi, bool(asked[i]))
        if reason:
            rejected[reason] += 1
        else:
            cells.append(cell)
            kept.append(i)
    clock.append(time.perf_counter())
    labels = [label(recipe, distance.unpack(c.packed, recipe.n)) for c in cells]
    clock.append(time.perf_counter())
    known = _Known(recipe, earlier)
    good, made = [], []
    for i, cell, found in zip(kept, cells, labels, strict=True):
        if reason := _refusal(found) or known.refusal(cell, found):
            rejected[reason] += 1
            continue
        record = {"id": number * recipe.shard_size + i, "round": shard.round}
        record |= {"aim": shard.aim, "parent": None, "family": record["id"]}
        record |= records[i] | {"asked_drainable": bool(asked[i])}
        record |= _told(cell.found, found)
        record["split"] = _split(recipe, shard, record["family"])
        good.append((cell.packed, found.constants, found.volume))
        made.append(record)
    clock.append(time.perf_counter())
    spent = dict(zip(STAGES, np.diff(clock).tolist(), strict=True))
    packed, constants, volume = zip(*good, strict=True) if good else ((), (), ())
    store.write_shard(
        root,
        number,
        packed=np.array(packed, np.int8).reshape(len(good), num_independent(recipe.n)),
        constants=np.reshape(constants, (-1, 3)).astype(float),
        volume=np.array(volume, float),
        records=made,
        rejected=dict(rejected),
        timing={**spent, "candidates": shard.count, "labels": len(kept)},
    )
    return True


def _candidates(recipe: Recipe, number: int, shard: Shard, earlier: store.Labels):
    if shard.kind == GIVEN:
        return given.candidates(recipe, number, shard)
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


class Printed(NamedTuple):
    """A cell as it is stored, and what a printer asks of just that."""

    packed: Int8[np.ndarray, "m"]
    found: Printability


def printed(
    recipe: Recipe, psi: Float[np.ndarray, "n n n"] | None, drainable: bool
) -> tuple[Printed | None, str]:
    """Return a candidate mended and packed, or why it is refused ("" if it is not)."""
    if psi is None:
        return None, "not load bearing"
    psi, flaw = grey.connected(psi)
    if flaw:
        return None, flaw
    low, high = recipe.volume_range
    printing = Printing(recipe.wall, recipe.gap, drainable)
    psi, report = mend(psi, **printing._asdict(), rounds=ROUNDS)
    if not report.ok or not 0 < (psi > 0).mean() < 1:
        return None, "not mended"
    packed = distance.pack(distance.redistance(psi))
    psi = distance.unpack(packed, recipe.n)
    view = View(psi)
    found = view.printability
    nearly = Printing(KEPT * recipe.wall, KEPT * recipe.gap, drainable)
    if nearly.flaw(found):
        return None, "not mended"
    if not view.solid.ends.all():
        return None, "not load bearing"
    if not low <= surface.volume(psi) <= high:
        return None, "volume out of range"
    return Printed(packed, found), ""


def label(recipe: Recipe, psi: Float[np.ndarray, "n n n"]) -> accuracy.Estimate:
    """Return the constants of a surface, from fine elements where coarse ones differ.

    Coarse ones are two spacings and one of them large, fine ones one and a half.
    """
    solver = {"void": recipe.void, "tol": recipe.tol, "maxiter": recipe.maxiter}
    if recipe.n < 16 or recipe.n % 8:  # too few elements for the solver
        return accuracy.estimate(psi, **solver)
    coarse = {"elements": recipe.n // 2, "rule": accuracy.COARSE_RULE}
    found = accuracy.estimate(psi, **coarse, **solver)
    if not _exceeds(found, UNSURE) or not found.converged:
        return found
    known = {"coarse": found.fine, "fields": accuracy.refined(found.fields)}
    return accuracy.estimate(psi, **known, **solver)


def _exceeds(found: accuracy.Estimate, limits: tuple[float, float]) -> bool:
    size = np.linalg.norm(found.uncertainty) / np.linalg.norm(found.constants)
    off = (found.uncertainty / PAPER_RANGES).mean()
    return bool(off > limits[0] or size > limits[1])


def _refusal(found: accuracy.Estimate) -> str:
    if not found.converged:
        return "unconverged"
    if min(stability_margins(found.constants).values()) < MIN_MARGIN:
        return "not load bearing"
    return "uncertain" if _exceeds(found, UNCERTAIN) else ""


def _told(found: Printability, label: accuracy.Estimate) -> dict:
    """Return what a record says of a cell's surface; no wall or gap counts as 1."""
    return {
        "uncertainty": [float(f"{doubt:.3g}") for doubt in label.uncertainty],
        "residual": float(f"{label.residual:.3g}"),
        "elements": label.fields.shape[-1] - 1 if label.fields is not None else 0,
        "trapped": round(found.trapped, 5),
        "wall": round(min(found.wall, 1.0), 5),
        "gap": round(min(found.gap, 1.0), 5),
    }


def _split(recipe, shard, family) -> int:
    # Samples of a model resemble what it was trained on: they test nothing.
    if shard.aim == PROPOSED:
        return select.TRAIN
    family = np.array([family])
    return int(select.split_by_family(family, recipe.validation, recipe.test)[0])


class _Known:
    """The cells that a new one may repeat: of earlier rounds and of its own shard."""

    def __init__(self, recipe, earlier):
        limits = {"distance": recipe.distance, "similarity": recipe.similarity}
        self._limits = {"n": recipe.n, **limits}
        self._earlier = earlier
        points = select.property_points(earlier.constants, earlier.volume)
        self._tree = spatial.cKDTree(points)
        self._points, self._packed = [], []

    def refusal(self, cell: Printed, found: accuracy.Estimate) -> str:
        """Return "duplicate" of a cell that repeats one, else "", and remember it."""
        volume = np.array([found.volume])
        point = select.property_points(found.constants[None], volume)[0]
        trees = [(self._tree, self._earlier.packed)]
        if self._points:
            own = spatial.cKDTree(self._points)
            trees.append((own, lambda index: np.stack(self._packed)[index]))
        for tree, packed_of in trees:
            if select.similar_to(point, cell.packed, tree, packed_of, **self._limits):
                return "duplicate"
        self._points.append(point)
        self._packed.append(cell.packed)
        return ""


def labels_worth(recipe: Recipe, shard: Shard) -> float:
    """Return how many labels a shard takes as long as, roughly.

    For 32 samples on one core: the rest from 18 shards of deformed cells (30 s each, a
    label 0.10 s), designs scaled from when labels took a fifth longer.
    """
    if shard.aim == PROPOSED:
        return shard.count * (REST_WORTH + 2 + 1.2 * recipe.proposed.polish_steps)
    design = 0.0
    if shard.kind in optimized.MOVED:
        design = ASCENT_WORTH * recipe.optimized.ascent
    elif shard.aim == OPTIMIZED:
        design = STEP_WORTH.get(shard.kind, 0.0) * recipe.optimized.steps
    return shard.count * (REST_WORTH + design)


def seconds_per_label(recipe: Recipe) -> float:
    """Return the measured seconds of one label, compilation left out."""
    key = jax.random.key(0)
    start = np.asarray(starts.random_start(key, recipe.n, 0.4), np.float64)
    psi, _ = grey.of_density(2 * start - 1, 0.4)
    label(recipe, psi)  # compiles
    begin = time.perf_counter()
    label(recipe, psi)
    return time.perf_counter() - begin
