"""Data-parallel training of the regressor, with checkpoints and exact resume.

The loss is the mean squared error of the roots (`mmdiff.models.regressor`). Half of the
octants are shifted by half a period, and half are softened: the sampler asks for the
constants of estimates that are not yet decided, and a network that has seen nothing but
-1 and +1 answers those badly. Batches depend on the seed and the step alone.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.data.loader import batch_rows
from mmdiff.train import parallel, stop
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import Result, TrainingDivergedError
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
    steps: int,
    ema_decay: float = 0.998,
    evaluate: Callable[[Any], dict[str, float]] = lambda params: {},
    log_every: int = 50,
    checkpoint_every: int = 500,
    time_limit_s: float = 0.0,
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> Result:
    """Train, resuming from the newest checkpoint if there is one; one process.

    Args:
      apply: apply(params, x) -> (b, k), see `make_step`.
      params: initial parameters, used when there is no checkpoint.
      optimizer: gradient transformation.
      data: training examples.
      checkpoints: where to save and look for checkpoints.
      seed: seed of everything random.
      batch_size: examples per step over all devices.
      steps: steps in all, the resumed ones included.
      ema_decay: decay of the parameter average.
      evaluate: numbers to report of the averaged parameters at every checkpoint.
      log_every: steps between two reports.
      checkpoint_every: steps between two checkpoints.
      time_limit_s: wall seconds after which to save and stop, 0 for none.
      on_metrics: receives a dict of plain numbers per report.

    Returns:
      The final state with what ended the run. A checkpoint of it has been written.

    Raises:
      InputError: if the batch does not fit the dataset or the devices.
      DataError: if the checkpoint to resume from is damaged.
      TrainingDivergedError: if the loss is not finite.
    """
    start = time.monotonic()
    devices = jax.local_device_count()
    rows_at = _rows(seed, len(data.octant), batch_size)
    run = parallel.parallel_step(make_step(apply, optimizer, ema_decay=ema_decay))
    state = create_state(params, optimizer)
    saved = checkpoints.latest()
    if saved is not None:
        state = checkpoints.restore(saved, state)
    first = step = int(state.step)
    state = parallel.replicate(state, devices)
    key = jax.random.key(seed)
    index = np.arange(batch_size, dtype=np.int32)
    history: list[dict[str, float]] = []
    pending: list[dict[str, Array]] = []
    busy = 0.0  # seconds in steps after the first one, which compiles

    def report(**values: float) -> None:
        metrics = {"step": step, **values, "seconds": time.monotonic() - start}
        history.append(metrics)
        on_metrics(metrics)

    def flush() -> None:
        """Report the mean of the steps since the last report."""
        means = {
            name: float(np.mean([float(m[name][0]) for m in pending]))
            for name in ("loss", "grad_norm")
            if pending
        }
        pending.clear()
        if not all(map(math.isfinite, means.values())):
            raise TrainingDivergedError(
                f"the loss is not finite near step {step}; the last good checkpoint is "
                f"step {saved}. Lower the learning rate and start again from it."
            )
        if means:
            report(**means)

    def save() -> None:
        nonlocal saved
        flush()
        if saved != step:
            checkpoints.save(step, parallel.unreplicate(state))
            saved = step
            report(**evaluate(parallel.unreplicate(state.ema)))

    reason = "steps"
    with stop.watch(start + time_limit_s if time_limit_s else math.inf) as why:
        while step < steps and reason == "steps":
            begin = time.monotonic()
            rows = rows_at(step)
            batch = {"octant": data.octant[rows], "roots": data.roots[rows]}
            batch = parallel.shard(batch | {"index": index}, devices)
            state, metrics = run(state, key, batch)
            # Waiting for the step keeps the clock honest; dispatch is asynchronous.
            pending.append(jax.block_until_ready(metrics))
            step += 1
            busy += time.monotonic() - begin if step > first + 1 else 0.0
            if step % log_every == 0:
                flush()
            reason = why()
            if step % checkpoint_every == 0 and step < steps:
                save()
        save()
    return Result(
        state=parallel.unreplicate(state),
        reason=reason,
        seconds=time.monotonic() - start,
        samples_per_s=(step - first - 1) * batch_size / busy if busy else 0.0,
        history=history,
    )


def _rows(seed, examples, batch_size):
    def at(step):
        return batch_rows(seed, step, examples=examples, batch_size=batch_size)

    at(0)  # refuses a batch that does not fit
    return at
