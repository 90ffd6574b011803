"""One pure training step, run by each device on its share of the batch.

Gradients are averaged with `lax.pmean` over the axis "data". Example i of step s draws
everything random (time, noise, dropped conditions, flip) from
fold_in(fold_in(key, s), i), whichever device it lies on.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmdiff.diffusion.conditions import drop
from mmdiff.diffusion.process import (
    Noise,
    loss_at,
    symmetric_noise,
    training_loss,
)
from mmdiff.diffusion.schedule import Schedule
from mmdiff.train.state import TrainState, update_ema
from mmdiff.typing import AnyArray, Array, Float, Int, Key, UInt8

AXIS = "data"
Apply = Callable[..., Float[Array, "b n n n"]]


def make_step(
    apply: Apply,
    optimizer: optax.GradientTransformation,
    *,
    schedule: Schedule,
    ema_decay: float = 0.999,
    drop_rate: float = 0.1,
    noise: Noise = symmetric_noise,
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """Return the per-device step function.

    Args:
      apply: apply(params, x, t, x0_prev, cond) -> x0.
      optimizer: gradient transformation.
      schedule: noise schedule.
      ema_decay: final decay of the parameter average.
      drop_rate: probability of each way of dropping conditions.
      noise: draws the noise of an example.

    Returns:
      step(state, key, batch) -> (state, metrics), to be mapped over the axis "data".
      `batch` holds octant uint8 (b, n, n, n) in {0, 1}, cond float32 (b, k) already
      normalised, and index int32 (b,), the position in the whole batch.
    """

    def step(state: TrainState, key: Key, batch: dict[str, Array]):
        key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i), 3))(
            batch["index"]
        )
        x0 = jax.vmap(random_half_shift)(keys[:, 0], to_field(batch["octant"]))
        cond = jax.vmap(lambda key, c: drop(key, c, rate=drop_rate))(
            keys[:, 1], batch["cond"]
        )

        def loss_fn(params):
            def denoise(*args):
                return apply(params, *args)

            losses = training_loss(
                denoise, keys[:, 2], x0, cond, schedule=schedule, noise=noise
            )
            return jnp.mean(losses)

        return descend(state, loss_fn, optimizer, ema_decay)

    return step


def descend(
    state: TrainState,
    loss_fn: Callable[[Any], Float[Array, ""]],
    optimizer: optax.GradientTransformation,
    ema_decay: float,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """Return the state after one step down the mean loss of all devices, and metrics.

    Args:
      state: before the step.
      loss_fn: loss of the parameters on this device's share of the batch.
      optimizer: gradient transformation.
      ema_decay: final decay of the parameter average.
    """
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    loss, grads = jax.lax.pmean((loss, grads), AXIS)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = update_ema(state.ema, params, state.step, ema_decay)
    metrics = {"loss": loss, "grad_norm": optax.global_norm(grads)}
    return TrainState(params, ema, opt_state, state.step + 1), metrics


def scan_steps(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that makes several steps in one dispatch.

    Small steps on a fast device are over before the host has sent the next one.

    Args:
      step: of `make_step`.

    Returns:
      steps(state, key, batches) -> (state, metrics), where batches and metrics have a
      leading axis of steps.
    """

    def steps(state: TrainState, key: Key, batches: dict[str, Array]):
        return jax.lax.scan(lambda state, b: step(state, key, b), state, batches)

    return steps


def make_evaluation(
    apply: Apply,
    *,
    schedule: Schedule,
    times: tuple[float, ...],
    noise: Noise = symmetric_noise,
) -> Callable[..., Float[Array, "s b"]]:
    """Return evaluate(params, key, octant, cond, index): errors at fixed noise levels.

    There is one for each time and example, so that batches of unequal size can be put
    together.
    """

    @jax.jit
    def evaluate(
        params: Any,
        key: Key,
        octant: UInt8[Array, "b n n n"],
        cond: Float[Array, "b k"],
        index: Int[Array, "b"],
    ) -> Float[Array, "s b"]:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
        x0 = to_field(octant)

        def denoise(*args):
            return apply(params, *args)

        # A loop over the levels, not a vmap, keeps memory at one batch.
        return jax.lax.map(
            lambda t: loss_at(
                denoise, keys, x0, cond, t, schedule=schedule, noise=noise
            ),
            jnp.asarray(times),
        )

    return evaluate


def to_field(octant: UInt8[AnyArray, "*b n n n"]) -> Float[AnyArray, "*b n n n"]:
    """Map voxels {0, 1} to the field {-1, +1}."""
    return octant.astype(jnp.float32) * 2 - 1


def random_half_shift(
    key: Key, octant: Float[AnyArray, "n n n"]
) -> Float[Array, "n n n"]:
    """Shift the cell by half its side along all axes with probability 1/2.

    On an octant this reverses all three axes. The material is the same, so this
    doubles the data at no cost and changes no condition.
    """
    return jnp.where(jax.random.bernoulli(key), octant[::-1, ::-1, ::-1], octant)
