"""Data-parallel training of the regressor, with checkpoints and exact resume.

The loss is the mean squared error of the roots (`mmdiff.models.regressor`). Half of the
octants are shifted by half a period, and half are softened: the sampler asks for the
constants of estimates that are not yet decided, and a network that has seen nothing but
-1 and +1 answers those badly. Batches depend on the seed and the step alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.data.loader import batch_rows
from mmdiff.train import loop
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import TrainState, create_state
from mmdiff.train.step import descend, random_half_shift, to_field
from mmdiff.typing import Array, Float, Key, UInt8

# Of `soften`: largest weight of a neighbour in the blur, and the slopes of tanh.
BLUR, SLOPE = 0.2, (1.5, 4.0)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Octants and what is to be told of them.

    Attributes:
      octant: uint8 (N, n, n, n) in {0, 1}.
      roots: float32 (N, k).
    """

    octant: UInt8[np.ndarray, "N n n n"]
    roots: Float[np.ndarray, "N k"]


def soften(key: Key, x: Float[Array, "n n n"]) -> Float[Array, "n n n"]:
    """Return an octant as an estimate that is not quite decided; half stay as they are.

    tanh(s blur(x)) with a random slope s and a random three-point blur along each axis.
    """
    keys = jax.random.split(key, 3)
    share = jax.random.uniform(keys[0], maxval=BLUR, dtype=x.dtype)
    slope = jax.random.uniform(keys[1], minval=SLOPE[0], maxval=SLOPE[1], dtype=x.dtype)
    soft = x
    for axis in range(3):
        soft = jnp.moveaxis(soft, axis, 0)
        wide = jnp.concatenate([soft[:1], soft, soft[-1:]])
        soft = (1 - 2 * share) * soft + share * (wide[2:] + wide[:-2])
        soft = jnp.moveaxis(soft, 0, axis)
    return jnp.where(jax.random.bernoulli(keys[2]), jnp.tanh(slope * soft), x)


def make_step(
    apply: Callable[..., Float[Array, "b k"]],
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.998,
    augment: Callable[..., Float[Array, "n n n"]] = soften,
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """Return the per-device step function, to be mapped over the axis "data".

    Args:
      apply: apply(params, x) -> (b, k) of octants (b, n, n, n) in [-1, 1].
      optimizer: gradient transformation.
      ema_decay: final decay of the parameter average.
      augment: augment(key, x) changes an octant, but not its label.

    Returns:
      step(state, key, batch) -> (state, metrics); `batch` holds octant (b, n, n, n),
      roots (b, k) and index (b,), the position in the whole batch, from which together
      with the step the randomness of an example follows.
    """

    def step(state: TrainState, key: Key, batch: dict[str, Array]):
        key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(
            batch["index"]
        )
        x = jax.vmap(random_half_shift)(keys[:, 0], to_field(batch["octant"]))
        x = jax.vmap(augment)(keys[:, 1], x)

        def loss_fn(params):
            return jnp.mean((apply(params, x) - batch["roots"]) ** 2)

        return descend(state, loss_fn, optimizer, ema_decay)

    return step


def predict(
    apply: Callable[..., Float[Array, "b k"]],
    params: Any,
    octant: UInt8[np.ndarray, "N n n n"],
    batch_size: int,
) -> Float[np.ndarray, "N k"]:
    """Return apply(params, x) of many octants, batch after batch."""
    run = jax.jit(lambda params, octant: apply(params, to_field(octant)))
    parts, count = [], len(octant)
    for begin in range(0, count, batch_size):
        # A short last batch is filled up, so that there is one compilation.
        rows = np.minimum(np.arange(begin, begin + batch_size), count - 1)
        parts.append(np.asarray(run(params, octant[rows]))[: count - begin])
    return np.concatenate(parts)


def train(
    apply: Callable[..., Float[Array, "b k"]],
    params: Any,
    optimizer: optax.GradientTransformation,
    data: Labelled,
    *,
    checkpoints: Checkpoints,
    seed: int,
    batch_size: int,
    ema_decay: float = 0.998,
    **settings: Any,
) -> loop.Result:
    """Train, resuming from the newest checkpoint if there is one; one process.

    Args:
      apply: apply(params, x) -> (b, k), see `make_step`.
      params: initial parameters, used when there is no checkpoint.
      optimizer: gradient transformation.
      data: training examples.
      checkpoints: where to save and look for checkpoints.
      seed: seed of everything random.
      batch_size: examples per step over all devices.
      ema_decay: decay of the parameter average.
      settings: of `loop.run`, which says what is returned and raised.

    Raises:
      InputError: also if the batch does not fit the dataset.
    """
    index = np.arange(batch_size, dtype=np.int32)

    def batch_at(step):
        rows = batch_rows(seed, step, examples=len(data.octant), batch_size=batch_size)
        return {"octant": data.octant[rows], "roots": data.roots[rows], "index": index}

    batch_at(0)  # refuses a batch that does not fit
    return loop.run(
        make_step(apply, optimizer, ema_decay=ema_decay),
        create_state(params, optimizer),
        batch_at,
        checkpoints=checkpoints,
        seed=seed,
        batch_size=batch_size,
        **settings,
    )
