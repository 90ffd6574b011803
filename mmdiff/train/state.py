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

    Attributes:
      params: network parameters.
      ema: exponential moving average of the parameters, used for sampling.
      opt_state: optimizer state.
      step: number of steps done.
    """

    params: Any
    ema: Any
    opt_state: Any
    step: Int[Array, ""]


def create_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step."""
    ema = jax.tree.map(jnp.array, params)
    return TrainState(params, ema, optimizer.init(params), jnp.zeros((), jnp.int32))


def make_optimizer(
    *,
    learning_rate: float,
    warmup: int,
    steps: int,
    clip: float = 1.0,
    weight_decay: float = 1e-4,
    final: float = 0.05,
) -> optax.GradientTransformation:
    """Return AdamW with clipping by global norm, linear warm-up and cosine decay.

    Args:
      learning_rate: peak learning rate.
      warmup: steps of linear warm-up.
      steps: steps in all, where the cosine ends.
      clip: bound of the global gradient norm.
      weight_decay: decoupled weight decay.
      final: last learning rate as a share of the peak; 1 for a constant rate.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0,
        learning_rate,
        warmup,
        max(steps, warmup + 1),
        end_value=final * learning_rate,
    )
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.adamw(schedule, weight_decay=weight_decay),
    )


def optimizer_from_values(values: Mapping[str, Any]) -> optax.GradientTransformation:
    """Return `make_optimizer` of named values, such as those of a config.

    Args:
      values: learning_rate, warmup, steps, clip, weight_decay and
        final_learning_rate.
    """
    names = ("learning_rate", "warmup", "steps", "clip", "weight_decay")
    return make_optimizer(
        **{name: values[name] for name in names},
        final=values["final_learning_rate"] / values["learning_rate"],
    )


def update_ema(ema: Any, params: Any, step: Int[Array, ""], decay: float) -> Any:
    """Return the moving average after `step` steps.

    The decay warms up as min(decay, (1 + step) / (10 + step)), so that the average
    forgets the random start quickly.
    """
    step = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda e, p: e + (1 - rate) * (p - e), ema, params)
