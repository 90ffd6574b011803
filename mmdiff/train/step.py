"""One pure training step, run by each device on its share of the batch.

Gradients are averaged with `lax.pmean` over the axis "data". Example i of step s draws
everything random (time, noise, dropped conditions, flip) from
fold_in(fold_in(key, s), i), whichever device it lies on.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmdiff.cells import symmetry
from mmdiff.cells.distance import STEPS
from mmdiff.diffusion.conditions import Conditions, drop
from mmdiff.diffusion.process import Noise, loss_at, symmetric_noise, training_loss
from mmdiff.diffusion.schedule import Schedule
from mmdiff.train.state import TrainState, update_ema
from mmdiff.typing import AnyArray, Array, Float, Int, Int8, Key

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """A denoiser with the noise that it is trained on."""

    apply: Callable[..., Float[Array, "b n n n"]]  # (params, x, t, x0_prev, cond) -> x0
    conditions: Conditions  # scaling of the raw ones
    schedule: Schedule
    noise: Noise = symmetric_noise  # draws that of an example
    drop_rate: float = 0.1  # probability of each way of freeing conditions
    late: float = 0.0  # power of the density of times, see `noised_example`
    # Of the loss at times (b,); None for 1. Validation has none.
    weight: Callable[[Float[Array, "b"]], Float[Array, "b"]] | None = None


def make_step(
    diffusion: Diffusion,
    optimizer: optax.GradientTransformation,
    ema_decay: float = 0.999,
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """Return step(state, key, batch) -> (state, metrics) of a device.

    It is to be mapped over the axis "data". `batch` holds packed fields, int8 (b, m),
    cond float32 (b, k) already normalised, and index int32 (b,), the position in the
    whole batch.
    """
    options = {"schedule": diffusion.schedule, "noise": diffusion.noise}
    options |= {"late": diffusion.late, "weight": diffusion.weight}
    freeing = {"names": diffusion.conditions.names, "rate": diffusion.drop_rate}

    def step(state: TrainState, key: Key, batch: dict[str, Array]):
        key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i), 3))(
            batch["index"]
        )
        x0 = jax.vmap(random_half_shift)(keys[:, 0], to_x0(batch["packed"]))
        cond = jax.vmap(lambda key, c: drop(key, c, **freeing))(
            keys[:, 1], batch["cond"]
        )

        def loss_fn(params):
            def denoise(*args):
                return diffusion.apply(params, *args)

            return jnp.mean(training_loss(denoise, keys[:, 2], x0, cond, **options))

        return descend(state, loss_fn, optimizer, ema_decay)

    return step


def descend(
    state: TrainState,
    loss_fn: Callable[[Any], Float[Array, ""]],
    optimizer: optax.GradientTransformation,
    ema_decay: float,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """Return the state after one step down the mean loss of all devices, and metrics.

    `loss_fn` is the loss of the parameters on this device's share of the batch.
    """
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    loss, grads = jax.lax.pmean((loss, grads), AXIS)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = update_ema(state.ema, params, state.step, ema_decay)
    metrics = {"loss": loss, "grad_norm": optax.global_norm(grads)}
    return TrainState(params, ema, opt_state, state.step + 1), metrics


def scan_steps(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return steps(state, key, batches) -> (state, metrics) in one dispatch.

    Batches and metrics have a leading axis of steps. Small steps on a fast device are
    over before the host has sent the next one.
    """

    def steps(state: TrainState, key: Key, batches: dict[str, Array]):
        return jax.lax.scan(lambda state, b: step(state, key, b), state, batches)

    return steps


def make_evaluation(
    diffusion: Diffusion, times: tuple[float, ...]
) -> Callable[..., Float[Array, "s b"]]:
    """Return evaluate(params, key, packed, cond, index): errors at fixed noise levels.

    There is one for each time and example, so that batches of unequal size can be put
    together.
    """
    options = {"schedule": diffusion.schedule, "noise": diffusion.noise}

    @jax.jit
    def evaluate(
        params: Any,
        key: Key,
        packed: Int8[AnyArray, "b m"],
        cond: Float[Array, "b k"],
        index: Int[Array, "b"],
    ) -> Float[Array, "s b"]:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
        x0 = to_x0(packed)

        def denoise(*args):
            return diffusion.apply(params, *args)

        # A loop over the levels, not a vmap, keeps memory at one batch.
        return jax.lax.map(
            lambda t: loss_at(denoise, keys, x0, cond, t, **options), jnp.asarray(times)
        )

    return evaluate


def to_x0(packed: Int8[AnyArray, "*b m"]) -> Float[Array, "*b n n n"]:
    """Return x0 in [-1, 1] of packed fields (`mmdiff.cells.distance`)."""
    values = jnp.asarray(packed).astype(jnp.float32) / STEPS
    return symmetry.spread(values, symmetry.side(packed.shape[-1]))


def random_half_shift(key: Key, x0: Float[AnyArray, "n n n"]) -> Float[Array, "n n n"]:
    """Shift the cell by half its side along all axes with probability 1/2.

    On an octant this reverses all three axes. The material is the same, so this
    doubles the data at no cost and changes no condition.
    """
    return jnp.where(jax.random.bernoulli(key), x0[::-1, ::-1, ::-1], x0)
