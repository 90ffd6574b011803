"""Training of the denoiser.

Batches and noise depend on the seed and the step alone; see `mmdiff.train.loop`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.data.dataset import Dataset
from mmdiff.data.select import balanced_rows
from mmdiff.data.space import bin_index
from mmdiff.diffusion.conditions import NAMES, Conditions, fit_conditions
from mmdiff.diffusion.linear import Prior, fit_prior
from mmdiff.errors import InputError
from mmdiff.models.denoiser import prior_of
from mmdiff.models.network import make_network
from mmdiff.models.weights import init_params, load_model
from mmdiff.train import loop
from mmdiff.train.loader import make_batches
from mmdiff.train.state import create_state
from mmdiff.train.step import Diffusion, make_evaluation, make_step
from mmdiff.typing import Bool, Float, Int, Int8

COMPUTE = ("dtype", "remat")  # how a network is computed, not what it is
TIMES = (0.03, 0.1, 0.3, 0.5, 0.7)  # of the noise levels that are validated
VALIDATED = 512  # most examples that are, evenly spread


@dataclasses.dataclass(frozen=True)
class Examples:
    """Packed fields (`mmdiff.cells.distance`) and raw conditions.

    `rows` make up an epoch, None for all of them once.
    """

    packed: Int8[np.ndarray, "N m"]
    cond: Float[np.ndarray, "N k"]
    rows: Int[np.ndarray, "M"] | None = None


def examples(
    data: Dataset, chosen: Bool[np.ndarray, "N"], balance: float = 0.0
) -> Examples:
    """Return chosen cells of a dataset with their `conditions.NAMES`.

    `balance` is the weight of sparse property bins, see `select.balanced_rows`.
    """
    constants, volume = data.constants[chosen], data.volume[chosen]
    cond = np.column_stack([constants, volume, data.drainable[chosen]])
    rows = balanced_rows(bin_index(constants, volume), balance)
    return Examples(data.packed[chosen], cond.astype(np.float32), rows)


def begin(
    config: Any, fields: Mapping[str, Any], n: int, data: Examples
) -> tuple[Any, Conditions, Prior]:
    """Return the parameters to start from, the conditions and the prior of the fields.

    Fresh ones of a network with the given fields, on n samples along the octant, for
    the examples, by the config's `power` and `seed`; or those of its weights file
    `init`, whose parameters mean what they say with its own conditions and prior.

    Raises:
      InputError: if the weights are those of another network.
    """
    if not config["init"]:
        params = init_params(make_network(**fields), jax.random.key(config["seed"]), n)
        conditions = fit_conditions(NAMES, data.cond, config["power"])
        return params, conditions, fit_prior(data.packed)
    params, meta = load_model(config["init"])
    own = {"kind": "unet", **meta["model"], "octant": meta["octant"]}
    asked = {k: v for k, v in fields.items() if k not in COMPUTE} | {"octant": n}
    odd = [name for name, value in asked.items() if own.get(name) != value]
    if odd:
        raise InputError(
            f"init={config['init']} has {odd[0]}={own.get(odd[0])} and the configured "
            f"network has {asked[odd[0]]}. Use the settings it was trained with."
        )
    prior = prior_of(meta) or fit_prior(data.packed)
    params = jax.tree.map(jnp.asarray, params)
    return params, Conditions.from_dict(meta["cond"]), prior


def train(
    diffusion: Diffusion,
    params: Any,
    optimizer: optax.GradientTransformation,
    data: Examples,
    *,
    settings: loop.Settings,
    **options,
) -> loop.Result:
    """Train on examples; options are those of `loop.run`."""
    cond = np.asarray(diffusion.conditions.normalize(jnp.asarray(data.cond)))
    arrays = {"packed": data.packed, "cond": cond}
    sizes = {"seed": settings.seed, "batch_size": settings.batch_size}
    return loop.run(
        make_step(diffusion, optimizer, settings.ema),
        create_state(params, optimizer),
        make_batches(arrays, rows=data.rows, **sizes),
        settings=settings,
        **options,
    )


def make_validation(
    diffusion: Diffusion,
    data: Examples | None,
    settings: loop.Settings,
    times: Sequence[float] = TIMES,
) -> Callable[[Any], Mapping[str, float]]:
    """Return `validate(params)`: the error of held-out examples, by noise level.

    Without held-out examples it returns no numbers; `settings` gives the seed and the
    size of the batches.
    """
    evaluate = make_evaluation(diffusion, tuple(times))
    # The same noise at every validation, and none that training draws.
    key = jax.random.fold_in(jax.random.key(settings.seed), np.uint32(2**32 - 1))

    def validate(params: Any) -> dict[str, float]:
        if data is None:
            return {}
        size, total = settings.batch_size, 0.0
        last = len(data.packed) - 1
        chosen = np.unique(np.linspace(0, last, min(last + 1, VALIDATED)).astype(int))
        count = len(chosen)
        for begin in range(0, count, size):
            # A short last batch is filled up, so that there is one compilation.
            rows = chosen[np.minimum(np.arange(begin, begin + size), count - 1)]
            cond = diffusion.conditions.normalize(jnp.asarray(data.cond[rows]))
            losses = evaluate(params, key, data.packed[rows], cond, rows)
            total = total + np.asarray(losses)[:, : count - begin].sum(1)
        losses = total / count
        by_time = zip(times, losses, strict=True)
        errors = {f"validation_t{t:g}": float(x) for t, x in by_time}
        return {"validation": float(losses.mean()), **errors}

    return validate
