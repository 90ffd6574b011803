"""Making labelled cells, one shard at a time.

A recipe lists rounds of shards: first optimized cells, then rounds of perturbed ones
whose parents come from all earlier rounds, sparse regions of property space first.
`run_shard` is deterministic in (recipe, shard), skips finished work and touches only
its own shard, so any launcher can map it over shard numbers, one round after the other.
"""

import collections
import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.data import perturb, select, store
from mmdiff.elasticity import NU
from mmdiff.errors import DataError
from mmdiff.fem import batch
from mmdiff.fem.homogenize import PENAL
from mmdiff.topopt import initial, objectives, optimize
from mmdiff.topopt.oc import optimality_criteria
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.voxels import clean_octant, spanning_axes, threshold_to_volume

BETAS = (1.0, 2.0, 4.0, 8.0, 16.0)  # projection of the optimized cells, stage by stage


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a dataset.

    Attributes:
      n: voxels per side of the octants.
      shard_size: candidates per shard, and rows a shard has room for.
      optimized_shards: shards of optimized cells (round 0).
      perturbed_rounds: shards in each later round.
      volume_range: smallest and largest volume fraction asked and accepted.
      steps: design steps of an optimization.
      radius: filter radius in voxels.
      amplitude: range of the displacement amplitude in voxels.
      length: range of the correlation length in voxels.
      volume_jitter: standard deviation of the volume change.
      void: void stiffness of the labels.
      tol: relative residual of the labels.
      maxiter: most CG iterations for a label.
      validation: share of families kept for validation.
      test: share of families kept for testing.
      seed: seed of everything.
    """

    n: int = 32
    shard_size: int = 32
    optimized_shards: int = 4
    perturbed_rounds: tuple[int, ...] = (8, 16)
    volume_range: tuple[float, float] = (0.08, 0.85)
    steps: int = 50
    radius: float = 2.0
    amplitude: tuple[float, float] = (0.5, 2.5)
    length: tuple[float, float] = (3.0, 8.0)
    volume_jitter: float = 0.04
    void: float = 1e-6
    tol: float = 1e-5
    maxiter: int = 200
    validation: float = 0.05
    test: float = 0.05
    seed: int = 0

    @property
    def shards(self) -> int:
        """Number of shards of all rounds."""
        return self.optimized_shards + sum(self.perturbed_rounds)

    def base(self) -> dict:
        """Return what the tensors are for."""
        return {
            "E": 1.0,
            "nu": NU,
            "void": self.void,
            "penal": PENAL,
            "tol": self.tol,
        }

    def rounds(self) -> list[range]:
        """Return the shard numbers of every round."""
        ends = np.cumsum([self.optimized_shards, *self.perturbed_rounds])
        starts = [0, *ends[:-1]]
        return [range(a, b) for a, b in zip(starts, ends, strict=True)]

    def round_of(self, shard: int) -> int:
        """Return the round a shard belongs to."""
        return next(i for i, r in enumerate(self.rounds()) if shard in r)


@functools.lru_cache(maxsize=4)
def _optimizer(n, steps, radius):
    stages = tuple(
        optimize.Stage(PENAL, beta, -(-steps // len(BETAS))) for beta in BETAS
    )
    loop = optimize.make_optimize(
        n,
        Problem(objectives.weighted),
        optimize.Settings(radius=radius, stages=stages),
        optimizer=optimality_criteria(),
    )

    def run(start, volume, weights):
        limits = Limits(volume, params=weights)
        return loop.density(loop.run(loop.init(start), limits, steps))

    return batch.map_batch(run)


def _optimized(recipe: Recipe, shard: int):
    """Return candidate octants (S, n, n, n) and their records."""
    rng = np.random.default_rng([recipe.seed, shard])
    size = recipe.shard_size
    low, high = recipe.volume_range
    volume = rng.uniform(low + 0.02, high - 0.02, size)
    weights = rng.dirichlet([0.6, 0.6, 0.6], size)
    # A third each are pure bulk and pure shear cells, the rest mixtures.
    weights[: size // 3] = [1.0, 0.0, 0.0]
    weights[size // 3 : 2 * (size // 3)] = [0.0, 1.0, 0.0]
    keys = jax.random.split(
        jax.random.fold_in(jax.random.key(recipe.seed), shard), size
    )
    starts = jnp.stack(
        [
            initial.random_start(key, recipe.n, float(v))
            for key, v in zip(keys, volume, strict=True)
        ]
    )
    run = _optimizer(recipe.n, recipe.steps, recipe.radius)
    densities = run(starts, jnp.float32(volume), jnp.float32(weights))
    octants = [
        threshold_to_volume(np.asarray(density), v)
        for density, v in zip(densities, volume, strict=True)
    ]
    records = [
        {"objective": [round(float(w), 6) for w in weights[i]], "parent": None}
        for i in range(size)
    ]
    return np.stack(octants), records


def _perturbed(recipe: Recipe, shard: int, root: pathlib.Path):
    """Return candidate octants (S, n, n, n) and their records."""
    rng = np.random.default_rng([recipe.seed, shard])
    earlier = [s for r in recipe.rounds()[: recipe.round_of(shard)] for s in r]
    manifests = store.read_manifests(root, earlier)
    parents, constants, volume = store.read_shards(root, manifests)
    if not len(parents):
        raise DataError(
            f"{root} has no accepted cell in the rounds before shard {shard}, so there "
            "is nothing to perturb. Widen --config.volume_range or raise "
            "--config.steps."
        )
    records = [record for m in manifests for record in m["records"]]
    weights = select.sparse_weights(constants, volume)
    chosen = rng.choice(len(parents), recipe.shard_size, p=weights)
    octants, made = [], []
    for i in chosen:
        amplitude = rng.uniform(*recipe.amplitude)
        length = rng.uniform(*recipe.length)
        octants.append(
            perturb.perturb(
                rng,
                parents[i],
                amplitude=amplitude,
                length=length,
                volume_jitter=recipe.volume_jitter,
            )
        )
        made.append(
            {
                "objective": None,
                "parent": records[i]["id"],
                "family": records[i]["family"],
                "amplitude": round(amplitude, 4),
                "length": round(length, 4),
            }
        )
    return np.stack(octants), made


def create(recipe: Recipe, root: pathlib.Path) -> None:
    """Create the empty dataset of a recipe, or check that `root` holds the same."""
    store.create(
        root,
        n=recipe.n,
        shards=recipe.shards,
        shard_size=recipe.shard_size,
        base=recipe.base(),
    )


def run_shard(recipe: Recipe, shard: int, root: pathlib.Path) -> bool:
    """Make one shard, unless it is finished.

    Args:
      recipe: the dataset.
      shard: shard number; all shards of earlier rounds must be finished.
      root: `data.zarr` directory made by `create`.

    Returns:
      whether anything was done.

    Raises:
      DataError: if an earlier round is not finished or has no cell to perturb.
    """
    if store.manifest_path(root, shard).exists():
        return False
    number = recipe.round_of(shard)
    if number == 0:
        candidates, records = _optimized(recipe, shard)
    else:
        candidates, records = _perturbed(recipe, shard, root)
    rejected = collections.Counter()
    octants, kept, seen = [], [], set()
    low, high = recipe.volume_range
    for i, (octant, record) in enumerate(zip(candidates, records, strict=True)):
        octant, _, share = clean_octant(octant)
        # A cell that loses much of its solid is no longer what was asked for.
        if share < 0.9:
            rejected["disconnected"] += 1
        elif not all(spanning_axes(octant)) or not octant[0].any():
            rejected["not spanning"] += 1
        elif not low <= octant.mean() <= high:
            rejected["volume out of range"] += 1
        elif octant.tobytes() in seen:
            rejected["duplicate"] += 1
        else:
            seen.add(octant.tobytes())
            octants.append(octant)
            kept.append((i, record))
    n = recipe.n
    padded = np.ones((recipe.shard_size, n, n, n), np.float32)
    if octants:
        padded[: len(octants)] = octants
    label = batch.labeller(n, void=recipe.void, tol=recipe.tol, maxiter=recipe.maxiter)
    constants, residual, converged = map(np.asarray, label(jnp.asarray(padded)))
    good = []
    for j, (i, record) in enumerate(kept):
        c11, c12, c44 = constants[j]
        if not converged[j]:
            rejected["unconverged"] += 1
        elif min(c11 - c12, c11 + 2 * c12, c44) < 1e-4:
            rejected["not load bearing"] += 1
        else:
            name = shard * recipe.shard_size + i
            record = {"id": name, "round": number, **record}
            record.setdefault("family", name)
            record["residual"] = float(residual[j])
            split = select.split_by_family(
                np.array([record["family"]]), recipe.validation, recipe.test
            )
            record["split"] = int(split[0])
            good.append((j, record))
    index = [j for j, _ in good]
    store.write_shard(
        root,
        shard,
        octants=np.asarray(octants, np.uint8).reshape(-1, n, n, n)[index],
        constants=constants[index].astype(np.float64),
        records=[record for _, record in good],
        rejected=dict(rejected),
    )
    return True
