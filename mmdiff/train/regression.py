"""Data-parallel training of the regressor, with checkpoints and exact resume.

The loss is the mean squared error of the roots (`mmdiff.models.regressor`). Half of the
fields are shifted by half a period, and half are softened: the sampler asks for the
constants of estimates that are no distances yet, and a network that has seen nothing
else answers those badly.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff import bounds, elasticity
from mmdiff.data.dataset import Dataset
from mmdiff.models import regressor
from mmdiff.train import loop
from mmdiff.train.loader import make_batches
from mmdiff.train.state import TrainState, create_state
from mmdiff.train.step import descend, random_half_shift, to_x0
from mmdiff.typing import Array, Bool, Float, Int8, Key, Shaped

QUANTITIES = ("K / K_HS", *elasticity.NAMES)

# Of `soften`: largest weight of a neighbour in the blur, and the least factor.
BLUR, SCALE = 0.2, 0.5


def soften(key: Key, x: Float[Array, "n n n"]) -> Float[Array, "n n n"]:
    """Return a field as an estimate that is not quite decided; half stay as they are.

    s blur(x) with a random factor s and a random three-point blur along each axis.
    """
    keys = jax.random.split(key, 3)
    share = jax.random.uniform(keys[0], maxval=BLUR, dtype=x.dtype)
    scale = jax.random.uniform(keys[1], minval=SCALE, maxval=1.0, dtype=x.dtype)
    soft = x
    for axis in range(3):
        soft = jnp.moveaxis(soft, axis, 0)
        wide = jnp.concatenate([soft[:1], soft, soft[-1:]])
        soft = (1 - 2 * share) * soft + share * (wide[2:] + wide[:-2])
        soft = jnp.moveaxis(soft, 0, axis)
    return jnp.where(jax.random.bernoulli(keys[2]), scale * soft, x)


def make_step(
    apply: Callable[..., Float[Array, "b k"]],
    optimizer: optax.GradientTransformation,
    ema_decay: float,
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """Return the step of a device, as `mmdiff.train.step.make_step` does.

    `apply(params, x)` maps fields (b, n, n, n) in [-1, 1] to roots (b, k); `batch`
    holds packed, roots and index.
    """

    def step(state: TrainState, key: Key, batch: dict[str, Array]):
        key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(
            batch["index"]
        )
        x = jax.vmap(random_half_shift)(keys[:, 0], to_x0(batch["packed"]))
        x = jax.vmap(soften)(keys[:, 1], x)

        def loss_fn(params):
            return jnp.mean((apply(params, x) - batch["roots"]) ** 2)

        return descend(state, loss_fn, optimizer, ema_decay)

    return step


def labelled(
    data: Dataset, chosen: Bool[np.ndarray, "N"]
) -> dict[str, Shaped[np.ndarray, "M ..."]]:
    """Return chosen cells of a dataset as `packed`, (M, m), and `roots`, (M, k).

    The roots are those of shares of the bounds, see `mmdiff.models.regressor`.
    """
    roots = regressor.to_roots(
        data.constants[chosen], data.volume[chosen], float(data.info["base"]["nu"])
    )
    return {"packed": data.packed[chosen], "roots": roots.astype(np.float32)}


def train(
    apply: Callable[..., Float[Array, "b k"]],
    params: Any,
    optimizer: optax.GradientTransformation,
    data: Mapping[str, np.ndarray],
    *,
    settings: loop.Settings,
    **options,
) -> loop.Result:
    """Train on cells of `labelled`; options are those of `loop.run`."""
    return loop.run(
        make_step(apply, optimizer, settings.ema),
        create_state(params, optimizer),
        make_batches(data, seed=settings.seed, batch_size=settings.batch_size),
        settings=settings,
        **options,
    )


def make_predict(
    apply: Callable[..., Float[Array, "b k"]], batch_size: int
) -> Callable[[Any, Int8[np.ndarray, "N m"]], Float[np.ndarray, "N k"]]:
    """Return `predict(params, packed)`: apply(params, x) batch after batch."""
    run = jax.jit(lambda params, packed: apply(params, to_x0(packed)))

    def predict(params, packed):
        parts, count = [], len(packed)
        for begin in range(0, count, batch_size):
            # A short last batch is filled up, so that there is one compilation.
            rows = np.minimum(np.arange(begin, begin + batch_size), count - 1)
            parts.append(np.asarray(run(params, packed[rows]))[: count - begin])
        return np.concatenate(parts)

    return predict


class Comparison(NamedTuple):
    """Values of `QUANTITIES` of some cells, by finite elements and by a network."""

    true: Float[np.ndarray, "N 4"]
    predicted: Float[np.ndarray, "N 4"]

    def scores(self) -> dict[str, float]:
        """Return R^2 of each quantity and the mean range error."""
        true, predicted = self
        r2 = 1 - ((predicted - true) ** 2).mean(0) / true.var(0)
        error = elasticity.range_error(predicted[:, 1:], true[:, 1:]).mean()
        names = [*(f"R2 {name}" for name in QUANTITIES), "range error"]
        return dict(zip(names, [*r2.tolist(), float(error)], strict=True))


def make_comparison(
    model: regressor.Regressor, data: Dataset, batch_size: int
) -> Callable[[Any, int], Comparison | None]:
    """Return `compare(params, split)`: true and predicted values of a split.

    None stands for a split of fewer than two cells, which have no R^2.
    """
    predict = make_predict(regressor.make_roots(model), batch_size)
    nu = float(data.info["base"]["nu"])

    def compare(params: Any, split: int) -> Comparison | None:
        rows = np.flatnonzero(data.info["split"] == split)
        if len(rows) < 2:
            return None
        constants, volume = data.constants[rows], data.volume[rows]
        roots = predict(params, data.packed[rows]).astype(float)
        predicted = regressor.to_constants(roots, volume, nu)
        ratio = bounds.hashin_shtrikman_ratios(constants, volume, nu)["K"]
        return Comparison(
            np.concatenate([ratio[:, None], constants], 1),
            np.concatenate([roots[:, :1] ** 2, predicted], 1),
        )

    return compare
