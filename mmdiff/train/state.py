"""The training state: parameters, their moving average, optimizer state and step.

A pytree of arrays only. Random keys are not part of it: every key of the training loop
is derived from the seed and the step, so a resumed run repeats the uninterrupted one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmdiff.typing import Array, Int


class TrainState(NamedTuple):
    """Everything that a training step changes.

    `ema` is the moving average of the parameters, which samples are drawn with.
    """

    params: Any
    ema: Any
    opt_state: Any
    step: Int[Array, ""]


def create_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step."""
    ema = jax.tree.map(jnp.array, params)
    return TrainState(params, ema, optimizer.init(params), jnp.zeros((), jnp.int32))


def make_optimizer(values: Mapping[str, Any]) -> optax.GradientTransformation:
    """Return AdamW with clipping by global norm, linear warm-up and cosine decay.

    The values are learning_rate (the peak), final_learning_rate, warmup and steps
    (where the cosine ends), clip and weight_decay, as in a config.
    """
    rate, warmup = values["learning_rate"], values["warmup"]
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, warmup, max(values["steps"], warmup + 1),
        end_value=values["final_learning_rate"],
    )  # fmt: skip
    return optax.chain(
        optax.clip_by_global_norm(values["clip"]),
        optax.adamw(schedule, weight_decay=values["weight_decay"]),
    )


def update_ema(ema: Any, params: Any, step: Int[Array, ""], decay: float) -> Any:
    """Return the moving average after `step` steps.

    The decay warms up as min(decay, (1 + step) / (10 + step)), so that the average
    forgets the random start quickly.
    """
    step = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda e, p: e + (1 - rate) * (p - e), ema, params)
