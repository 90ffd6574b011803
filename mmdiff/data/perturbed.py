"""Candidates by deformation of earlier cells, aimed at thin parts of property space."""

import numpy as np

from mmdiff.data import perturb, select, space, store
from mmdiff.data.recipe import JOINT, POISSON, Recipe, Shard


def candidates(recipe: Recipe, number: int, shard: Shard, earlier: store.Labels):
    """Return the candidates of a shard of a perturbation round.

    Parents come from all earlier rounds: alike, or such that every bin of Poisson's
    ratio, or of the whole property space, is drawn as often as any other.

    Args:
      recipe: the dataset.
      number: the shard's number.
      shard: what it is to hold.
      earlier: the cells of all earlier rounds, at least one.

    Returns:
      octants (S, n, n, n) uint8 and a record for each: parent, family, deformation.
    """
    rng = np.random.default_rng([recipe.seed, number])
    weights = None
    if shard.aim == POISSON:
        weights = select.sparse_weights(space.poisson_bin(earlier.constants))
    elif shard.aim == JOINT:
        index = space.bin_index(earlier.constants, earlier.volume)
        weights = select.sparse_weights(index)
    chosen = rng.choice(len(earlier.records), shard.count, p=weights)
    parents = earlier.octants(chosen)
    settings, octants, records = recipe.perturbed, [], []
    for row, octant in zip(chosen, parents, strict=True):
        times = int(rng.integers(1, settings.times + 1))
        amplitude = rng.uniform(*settings.amplitude)
        length = rng.uniform(*settings.length)
        for _ in range(times):
            octant = perturb.perturb(
                rng,
                octant,
                amplitude=amplitude,
                length=length,
                volume_jitter=settings.volume_jitter,
            )
        octants.append(octant)
        parent = earlier.records[row]
        records.append(
            {
                "parent": parent["id"],
                "family": parent["family"],
                "amplitude": round(amplitude, 4),
                "length": round(length, 4),
                "times": times,
            }
        )
    return np.stack(octants), records
