"""The training loop: batches, checkpoints, validation, time limit and clean stops.

Plain arrays and values in, the final state out. The batch of a step depends on the seed
and the step alone, so a run that was stopped and resumed gives the numbers of one that
was not. Nothing is printed: the caller passes functions that receive the metrics.
"""

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.data.loader import batch_rows
from mmdiff.diffusion.conditions import Conditions
from mmdiff.diffusion.process import Noise, symmetric_noise
from mmdiff.diffusion.schedule import Schedule
from mmdiff.train import parallel
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import TrainState, create_state
from mmdiff.train.step import Apply, make_evaluation, make_step
from mmdiff.typing import Array, Float, Int, UInt8


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


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


@dataclasses.dataclass(frozen=True)
class Result:
    """What a training run returns.

    Attributes:
      state: the final state, NumPy arrays.
      reason: "steps", "time" or "signal": what ended the run.
      seconds: wall time of this run, compilation included.
      samples_per_s: training samples per second after the first step.
      history: the metrics that were reported, oldest first.
    """

    state: TrainState
    reason: str
    seconds: float
    samples_per_s: float
    history: list[dict[str, float]]


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
    steps: int,
    ema_decay: float = 0.999,
    drop_rate: float = 0.1,
    noise: Noise = symmetric_noise,
    validation: Examples | None = None,
    validation_times: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7),
    log_every: int = 100,
    checkpoint_every: int = 1000,
    time_limit_s: float = 0.0,
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> Result:
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
      steps: steps in all, the resumed ones included.
      ema_decay: decay of the parameter average.
      drop_rate: probability of each way of freeing conditions.
      noise: draws the noise of an example.
      validation: examples for the error at fixed noise levels, if any.
      validation_times: those noise levels, as times.
      log_every: steps between two reports.
      checkpoint_every: steps between two checkpoints and validations.
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
    batches = _Batches(data, conditions, seed, batch_size)
    run = parallel.parallel_step(
        make_step(
            apply,
            optimizer,
            schedule=schedule,
            ema_decay=ema_decay,
            drop_rate=drop_rate,
            noise=noise,
        )
    )
    evaluate = make_evaluation(
        apply, schedule=schedule, times=validation_times, noise=noise
    )
    state = create_state(params, optimizer)
    found = checkpoints.latest()
    if found is not None:
        state = checkpoints.restore(found, state)
    first = step = int(state.step)
    state = parallel.replicate(state, devices)
    key = jax.random.key(seed)
    history: list[dict[str, float]] = []
    pending: list[dict[str, Array]] = []
    saved = found
    reason = "steps"
    # Seconds spent in steps after the first one, which compiles.
    busy = 0.0

    def flush() -> None:
        """Report the mean of the steps since the last report."""
        if not pending:
            return
        losses = [float(m["loss"][0]) for m in pending]
        norms = [float(m["grad_norm"][0]) for m in pending]
        pending.clear()
        if not all(map(math.isfinite, losses)):
            raise TrainingDivergedError(
                f"the loss is not finite near step {step}; the last good checkpoint is "
                f"step {saved}. Lower the learning rate and start again from it."
            )
        report(loss=float(np.mean(losses)), grad_norm=float(np.mean(norms)))

    def report(**values: float) -> None:
        metrics = {"step": step, **values, "seconds": time.monotonic() - start}
        if busy:
            metrics["samples_per_s"] = (step - first - 1) * batch_size / busy
        history.append(metrics)
        on_metrics(metrics)

    def save() -> None:
        nonlocal saved
        flush()
        if saved != step:
            checkpoints.save(step, parallel.unreplicate(state))
            saved = step
        if validation is not None:
            losses = validate(evaluate, state, validation, conditions, key, batch_size)
            report(
                validation=float(losses.mean()),
                **{
                    f"validation_t{t:g}": float(v)
                    for t, v in zip(validation_times, losses, strict=True)
                },
            )

    with _stop_on_sigterm() as stopped:
        while step < steps:
            begin = time.monotonic()
            state, metrics = run(state, key, parallel.shard(batches.at(step), devices))
            # Waiting for the step keeps the clock honest; dispatch is asynchronous.
            jax.block_until_ready(metrics)
            step += 1
            pending.append(metrics)
            if step > first + 1:
                busy += time.monotonic() - begin
            if step % log_every == 0:
                flush()
            if stopped():
                reason = "signal"
                break
            if time_limit_s and time.monotonic() - start > time_limit_s:
                reason = "time"
                break
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


def validate(evaluate, state, data, conditions, key, batch_size) -> Float[Array, "s"]:
    """Return the mean error of the averaged parameters at each noise level."""
    ema = jax.tree.map(lambda x: x[0], state.ema)
    # The same noise at every validation, and none that training draws.
    key = jax.random.fold_in(key, np.uint32(2**32 - 1))
    total, count = 0.0, len(data.octant)
    for begin in range(0, count, batch_size):
        # A short last batch is filled up, so that there is one compilation.
        rows = np.minimum(np.arange(begin, begin + batch_size), count - 1)
        cond = conditions.normalize(jnp.asarray(data.cond[rows]))
        losses = evaluate(ema, key, data.octant[rows], cond, rows)
        total = total + np.asarray(losses)[:, : count - begin].sum(1)
    return total / count


class _Batches:
    """The batches of `mmdiff.data.loader`, with conditions normalized beforehand."""

    def __init__(self, data, conditions, seed, batch_size):
        self._octant = data.octant
        self._cond = np.asarray(conditions.normalize(jnp.asarray(data.cond)))
        self._rows = np.arange(len(data.octant)) if data.rows is None else data.rows
        self._seed, self._size = seed, batch_size
        self.at(0)  # refuses a batch that does not fit

    def at(self, step: int) -> dict[str, np.ndarray]:
        picked = batch_rows(
            self._seed, step, examples=len(self._rows), batch_size=self._size
        )
        rows = self._rows[picked]
        index = np.arange(self._size, dtype=np.int32)
        return {"octant": self._octant[rows], "cond": self._cond[rows], "index": index}


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM or SIGINT has arrived."""
    received = []

    def note(signum, frame):
        # A second signal ends the process as usual.
        received.append(signum)
        signal.signal(signum, old[signum])

    try:
        old = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread, where signals cannot be caught
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for signum, handler in old.items():
            signal.signal(signum, handler)
