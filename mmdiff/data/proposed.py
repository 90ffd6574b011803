"""Candidates that a trained model proposes for empty parts of property space.

The closing round of active learning: a target is drawn in every empty bin next to a
filled one, the model samples a cell for it, and the surface of the sample's level-set
field is moved a few steps towards it. Whether it hits the bin does not matter; its
label tells what came out.
"""

import functools

import jax
import numpy as np

from mmdiff import assets
from mmdiff.cells import grey
from mmdiff.data import space, store
from mmdiff.data.recipe import Recipe, Shard
from mmdiff.elasticity import NAMES
from mmdiff.errors import InputError
from mmdiff.models import sampling, weights
from mmdiff.topopt import move
from mmdiff.typing import Float

FAMILY = -100  # one for all: samples resemble training cells, so they only train


def candidates(
    recipe: Recipe, number: int, shard: Shard, earlier: store.Labels
) -> tuple[list[Float[np.ndarray, "n n n"] | None], list[dict]]:
    """Return the candidates of a shard of the closing round, and their records."""
    rng = np.random.default_rng([recipe.seed, number])
    key = jax.random.fold_in(jax.random.key(recipe.seed), number)
    draw, name = _model(recipe.proposed.weights, recipe.proposed.steps, recipe.n)
    limits = recipe.volume_range
    empty = space.frontier(earlier.constants, earlier.volume, limits)
    if not len(empty):  # everything is covered: aim anywhere
        empty = space.reachable_bins(*limits)
    targets = space.draw_in_bins(rng, rng.choice(empty, shard.count), limits)
    solver = {"void": recipe.void, "maxiter": recipe.maxiter}
    tol = max(recipe.tol, move.TOL)  # labels are more exact than steps
    evaluate = move.make_evaluate(recipe.n, tol=tol, **solver)
    fields, records = [], []
    for i, target in enumerate(targets):
        values = dict(zip((*NAMES, "V"), target.tolist(), strict=True))
        asked = values | {"drainable": 1.0}
        sample = np.asarray(draw(jax.random.fold_in(key, i), asked))[0]
        psi, flaw = grey.to_field(sample, values["V"])
        if not flaw:
            psi = move.newton(
                psi,
                move.target_residual(target[:3]),
                evaluate,
                volume=values["V"],
                steps=recipe.proposed.polish_steps,
                repair=grey.repaired,
            ).psi
        fields.append(None if flaw else psi)
        rounded = {k: round(v, 6) for k, v in values.items()}
        records.append({"target": rounded, "model": name, "family": FAMILY})
    return fields, records


def check(recipe: Recipe) -> None:
    """Raise InputError or DataError unless the model can be read, and fits."""
    _model(recipe.proposed.weights, recipe.proposed.steps, recipe.n)


@functools.lru_cache(maxsize=2)
def _model(path: str, steps: int, n: int):
    """Return the sampler of a weights file, and twelve digits of the file's hash."""
    place = path or assets.weights_path()
    params, meta = weights.load_model(place)
    if int(meta["octant"]) != n:
        raise InputError(
            f"proposed.weights: that model makes octants of {meta['octant']}^3 voxels, "
            f"this dataset holds octants of {n}^3. Give another file, or pass "
            "`proposed.count=0` to leave that round out."
        )
    draw = sampling.make_draw(params, meta, num_samples=1, steps=steps)
    return draw, weights.sha256(place)[:12]
