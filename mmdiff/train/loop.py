"""The training loop: batches, checkpoints, validation, time limit and clean stops.

Plain arrays and values in, the final state out. The batch of a step depends on the seed
and the step alone, so a run that was stopped and resumed gives the numbers of one that
was not. Nothing is printed: the caller passes functions that receive the metrics.

With several processes each feeds its part of the batch; the first one alone writes
checkpoints and calls those functions.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmdiff.errors import InputError
from mmdiff.train import parallel, stop
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import TrainState
from mmdiff.train.step import scan_steps
from mmdiff.typing import Array


class TrainingDivergedError(RuntimeError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


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


def run(
    step_of_device: Callable[..., tuple[TrainState, dict[str, Array]]],
    state: TrainState,
    batch_at: Callable[[int], dict[str, np.ndarray]],
    *,
    checkpoints: Checkpoints,
    seed: int,
    batch_size: int,
    steps: int,
    validate: Callable[[Any], dict[str, float]] = lambda ema: {},
    log_every: int = 100,
    checkpoint_every: int = 1000,
    sample_every: int = 0,
    steps_per_dispatch: int = 1,
    time_limit_s: float = 0.0,
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None,
    on_sample: Callable[[int, Any], None] = lambda step, ema: None,
) -> Result:
    """Train, resuming from the newest checkpoint if there is one.

    Args:
      step_of_device: step(state, key, batch) -> (state, metrics), to be mapped over the
        axis "data"; metrics hold loss and grad_norm.
      state: initial state, used when there is no checkpoint.
      batch_at: this process's part of the batch of a step.
      checkpoints: where to save and look for checkpoints.
      seed: seed of everything random.
      batch_size: examples per step over all devices.
      steps: steps in all, the resumed ones included.
      validate: numbers to report of the averaged parameters at every checkpoint.
      log_every: steps between two reports.
      checkpoint_every: steps between two checkpoints and validations.
      sample_every: steps between two calls of `on_sample`, 0 for none.
      steps_per_dispatch: steps that the devices make without the host in between.
        Where fewer are left to the next report, checkpoint, sample or the end, they
        are made one by one; signals and the time limit wait for the whole dispatch.
      time_limit_s: wall seconds after which to save and stop, 0 for none.
      on_metrics: receives a dict of plain numbers per report.
      on_sample: receives the step and the averaged parameters, NumPy arrays.

    Returns:
      The final state with what ended the run. A checkpoint of it has been written.

    Raises:
      InputError: if the batch does not fit the devices, or if there is less than one
        step in a dispatch.
      DataError: if the checkpoint to resume from is damaged.
      TrainingDivergedError: if the loss is not finite.
    """
    start = time.monotonic()
    if steps_per_dispatch < 1:
        raise InputError(
            f"steps_per_dispatch={steps_per_dispatch} makes no step. Use 1 or more."
        )
    devices, writes = jax.local_device_count(), jax.process_index() == 0
    parallel.check_shares(batch_size, jax.device_count())
    run_one = parallel.parallel_step(step_of_device)
    run_many = parallel.parallel_step(scan_steps(step_of_device))
    rests = [n for n in (log_every, checkpoint_every, sample_every) if n]
    # The first process says where to go on: it alone changes the directory.
    found = parallel.largest((checkpoints.latest() or 0) if writes else 0)
    if found:
        state = checkpoints.restore(found, state)
    first = step = int(state.step)
    state = parallel.replicate(state, devices)
    key = jax.random.key(seed)
    history: list[dict[str, float]] = []
    pending: list[dict[str, Array]] = []
    saved = found or None
    reason = "steps"
    # Seconds and steps of all dispatches but the first of each length, which compile.
    busy, timed, seen = 0.0, 0, set()

    def flush() -> None:
        """Report the mean of the steps since the last report."""
        if not pending:
            return
        losses = [float(v) for m in pending for v in np.ravel(m["loss"][0])]
        norms = [float(v) for m in pending for v in np.ravel(m["grad_norm"][0])]
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
            metrics["samples_per_s"] = timed * batch_size / busy
        history.append(metrics)
        if writes:
            on_metrics(metrics)

    def save() -> None:
        nonlocal saved
        flush()
        if saved != step:
            checkpoints.save(step, parallel.unreplicate(state))
            saved = step
        values = validate(parallel.unreplicate(state.ema))
        if values:
            report(**values)

    def sample() -> None:
        if writes and sample_every and step % sample_every == 0:
            on_sample(step, parallel.unreplicate(state.ema))

    def advance(count: int) -> list[dict[str, Array]]:
        nonlocal state
        parts = [parallel.shard(batch_at(step + i), devices) for i in range(count)]
        if count == 1:
            state, metrics = run_one(state, key, parts[0])
        else:
            state, metrics = run_many(state, key, parallel.stack(parts))
        # Waiting for the step keeps the clock honest; dispatch is asynchronous.
        return jax.block_until_ready([metrics])

    with stop.watch(start + time_limit_s if time_limit_s else math.inf) as why:
        while step < steps:
            begin = time.monotonic()
            room = min(steps - step, *(n - step % n for n in rests))
            count = steps_per_dispatch if steps_per_dispatch <= room else 1
            pending += advance(count)
            step += count
            if count in seen:
                busy, timed = busy + time.monotonic() - begin, timed + count
            seen.add(count)
            if step % log_every == 0:
                flush()
            reason = why()
            if reason != "steps":
                break
            if step < steps:
                if step % checkpoint_every == 0:
                    save()
                sample()
        save()
        if reason == "steps" and step > first:
            sample()
    return Result(
        state=parallel.unreplicate(state),
        reason=reason,
        seconds=time.monotonic() - start,
        samples_per_s=timed * batch_size / busy if busy else 0.0,
        history=history,
    )
