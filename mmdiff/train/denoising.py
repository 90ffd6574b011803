"""Training of the denoiser.

Batches and noise depend on the seed and the step alone; see `mmdiff.train.loop`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.data.loader import batch_rows
from mmdiff.diffusion.conditions import Conditions
from mmdiff.diffusion.process import Noise, symmetric_noise
from mmdiff.diffusion.schedule import Schedule
from mmdiff.train import loop
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import create_state
from mmdiff.train.step import Apply, make_evaluation, make_step
from mmdiff.typing import Array, Float, Int, UInt8


@dataclasses.dataclass(frozen=True)
class Examples:
    """A dataset in memory.

    Attributes:
      octant: uint8 (N, n, n, n) in {0, 1}.
      cond: float32 (N, k), raw conditions.
      rows: (M,) rows that make up an epoch, repeated or not; None for each once.
    """

    octant: UInt8[np.ndarray, "N n n n"]
    cond: Float[np.ndarray, "N k"]
    rows: Int[np.ndarray, "M"] | None = None


def train(
    apply: Apply,
    params: Any,
    optimizer: optax.GradientTransformation,
    data: Examples,
    *,
    conditions: Conditions,
    schedule: Schedule,
    checkpoints: Checkpoints,
    seed: int,
    batch_size: int,
    ema_decay: float = 0.999,
    drop_rate: float = 0.1,
    noise: Noise = symmetric_noise,
    validation: Examples | None = None,
    validation_times: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7),
    **settings: Any,
) -> loop.Result:
    """Train, resuming from the newest checkpoint if there is one.

    Args:
      apply: apply(params, x, t, x0_prev, cond) -> x0.
      params: initial parameters, used when there is no checkpoint.
      optimizer: gradient transformation.
      data: training examples.
      conditions: scaling of the raw conditions.
      schedule: noise schedule.
      checkpoints: where to save and look for checkpoints.
      seed: seed of everything random.
      batch_size: examples per step over all devices.
      ema_decay: decay of the parameter average.
      drop_rate: probability of each way of freeing conditions.
      noise: draws the noise of an example.
      validation: examples for the error at fixed noise levels, if any.
      validation_times: those noise levels, as times.
      settings: of `loop.run`, which says what is returned and raised.

    Raises:
      InputError: also if the batch does not fit the dataset.
    """
    batches = _Batches(data, conditions, seed, batch_size)
    key = jax.random.key(seed)
    # The same noise at every validation, and none that training draws.
    fixed = jax.random.fold_in(key, np.uint32(2**32 - 1))
    evaluate = make_evaluation(
        apply, schedule=schedule, times=validation_times, noise=noise
    )

    def validate(ema):
        if validation is None:
            return {}
        losses = _errors(evaluate, ema, validation, conditions, fixed, batch_size)
        each = zip(validation_times, losses, strict=True)
        return {
            "validation": float(losses.mean()),
            **{f"validation_t{t:g}": float(v) for t, v in each},
        }

    step = make_step(
        apply,
        optimizer,
        schedule=schedule,
        ema_decay=ema_decay,
        drop_rate=drop_rate,
        noise=noise,
    )
    return loop.run(
        step,
        create_state(params, optimizer),
        batches.at,
        checkpoints=checkpoints,
        seed=seed,
        batch_size=batch_size,
        validate=validate,
        **settings,
    )


def _errors(evaluate, ema, data, conditions, key, batch_size) -> Float[Array, "s"]:
    """Return the mean error of the averaged parameters at each noise level."""
    total, count = 0.0, len(data.octant)
    for begin in range(0, count, batch_size):
        # A short last batch is filled up, so that there is one compilation.
        rows = np.minimum(np.arange(begin, begin + batch_size), count - 1)
        cond = conditions.normalize(jnp.asarray(data.cond[rows]))
        losses = evaluate(ema, key, data.octant[rows], cond, rows)
        total = total + np.asarray(losses)[:, : count - begin].sum(1)
    return total / count


class _Batches:
    """This process's part of the batches of `mmdiff.data.loader`.

    Conditions are normalized beforehand.
    """

    def __init__(self, data, conditions, seed, batch_size):
        self._octant = data.octant
        self._cond = np.asarray(conditions.normalize(jnp.asarray(data.cond)))
        self._rows = np.arange(len(data.octant)) if data.rows is None else data.rows
        self._seed, self._size = seed, batch_size
        self.at(0)  # refuses a batch that does not fit

    def at(self, step: int) -> dict[str, np.ndarray]:
        process, processes = jax.process_index(), jax.process_count()
        picked = batch_rows(
            self._seed,
            step,
            examples=len(self._rows),
            batch_size=self._size,
            process=process,
            processes=processes,
        )
        rows, own = self._rows[picked], self._size // processes
        index = np.arange(process * own, (process + 1) * own, dtype=np.int32)
        return {"octant": self._octant[rows], "cond": self._cond[rows], "index": index}
