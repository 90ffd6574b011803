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
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmdiff.errors import InputError
from mmdiff.train import parallel, stop
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.state import TrainState
from mmdiff.train.step import scan_steps
from mmdiff.typing import Array


class TrainingDivergedError(InputError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run.

    The devices make `steps_per_dispatch` steps without the host in between; where fewer
    are left to the next report, checkpoint, sample or the end, these are made one by
    one. Signals and the time limit wait for the whole dispatch.
    """

    steps: int  # in all, the resumed ones included
    batch_size: int  # examples per step over all devices
    seed: int = 0  # of everything random
    ema: float = 0.999  # decay of the parameter average
    log_every: int = 100  # steps between two reports
    checkpoint_every: int = 1000  # steps between two checkpoints and validations
    sample_every: int = 0  # steps between two calls of `Hooks.on_sample`, 0 for none
    steps_per_dispatch: int = 1
    time_limit_s: float = 0.0  # wall seconds after which to save and stop, 0 for none

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Settings":
        """Return the settings among named values, such as those of a config."""
        names = {field.name for field in dataclasses.fields(cls)} & values.keys()
        return cls(**{name: values[name] for name in names})


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Functions that a training run calls.

    `validate` returns what to report of the averaged parameters at every checkpoint,
    `validated` whether a run that was killed did so at a step; `on_metrics` receives
    each report, `on_sample` a step and its averaged parameters.
    """

    validate: Callable[[Any], Mapping[str, float]] = lambda ema: {}
    validated: Callable[[int], bool] = lambda step: True
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None
    on_sample: Callable[[int, Any], None] = lambda step, ema: None


@dataclasses.dataclass(frozen=True)
class Result:
    """Outcome of a training run: the final state (NumPy), reports, oldest first.

    The reason of the end is "steps", "time" or "signal".
    """

    state: TrainState
    reason: str
    samples_per_s: float
    history: list[dict[str, float]]


def run(
    step_of_device: Callable[..., tuple[TrainState, dict[str, Array]]],
    state: TrainState,
    batch_at: Callable[[int], dict[str, np.ndarray]],
    *,
    settings: Settings,
    checkpoints: Checkpoints,
    hooks: Hooks,
) -> Result:
    """Train, from `state` or the newest checkpoint, and save the final state.

    `step_of_device` is step(state, key, batch) -> (state, metrics), to be mapped over
    the axis "data", with metrics loss and grad_norm; `batch_at` returns this process's
    part of the batch of a step.

    Raises:
      InputError: if the batch does not fit the devices or the dataset.
      DataError: if the checkpoint to resume from is damaged.
      TrainingDivergedError: if the loss is not finite.
    """
    start, limit = time.monotonic(), settings.time_limit_s
    training = _Training(step_of_device, state, batch_at, settings, checkpoints, hooks)
    first, reason = training.step, "steps"
    with stop.watch(start + limit if limit else math.inf) as why:
        training.catch_up()
        while training.step < settings.steps:
            training.advance()
            reason = why()
            if reason != "steps":
                break
            if training.step < settings.steps:
                if training.step % settings.checkpoint_every == 0:
                    training.save()
                training.sample()
        training.save()
        if reason == "steps" and training.step > first:
            training.sample()
    state = parallel.unreplicate(training.state)
    return Result(state, reason, training.samples_per_s, training.history)


class _Training:
    """A run on its way: the state after `step` steps, and the metrics so far."""

    def __init__(self, step_of_device, state, batch_at, settings, checkpoints, hooks):
        self._start = time.monotonic()
        self._batch_at, self._settings = batch_at, settings
        self._checkpoints, self._hooks = checkpoints, hooks
        self._devices = jax.local_device_count()
        self._writes = jax.process_index() == 0
        parallel.check_shares(settings.batch_size, jax.device_count())
        self._run_one = parallel.parallel_step(step_of_device)
        self._run_many = parallel.parallel_step(scan_steps(step_of_device))
        self._key = jax.random.key(settings.seed)
        # The first process says where to go on: it alone changes the directory.
        latest = (checkpoints.latest() or 0) if self._writes else 0
        self._saved = parallel.largest(latest) or None
        if self._saved:
            state = checkpoints.restore(self._saved, state)
        self.step = int(state.step)
        self.state = parallel.replicate(state, self._devices)
        self.history: list[dict[str, float]] = []
        self._pending: list[dict[str, Array]] = []
        # Seconds and steps of all dispatches but the first of each length, which
        # compile.
        self._busy, self._timed, self._seen = 0.0, 0, set()

    @property
    def samples_per_s(self) -> float:
        """Training samples per second; 0 before the first timed dispatch."""
        samples = self._timed * self._settings.batch_size
        return samples / self._busy if self._busy else 0.0

    def advance(self) -> None:
        """Make the steps of one dispatch, and report where a report is due."""
        begin, count = time.monotonic(), self._count()
        parts = [
            parallel.shard(self._batch_at(self.step + i), self._devices)
            for i in range(count)
        ]
        run = self._run_one if count == 1 else self._run_many
        batch = parts[0] if count == 1 else parallel.stack(parts)
        self.state, metrics = run(self.state, self._key, batch)
        # Waiting for the step keeps the clock honest; dispatch is asynchronous.
        self._pending += jax.block_until_ready([metrics])
        self.step += count
        if count in self._seen:
            self._busy += time.monotonic() - begin
            self._timed += count
        self._seen.add(count)
        if self.step % self._settings.log_every == 0:
            self._flush()

    def _count(self) -> int:
        """Return the steps of the next dispatch, which must not pass a boundary."""
        settings = self._settings
        rests = settings.log_every, settings.checkpoint_every, settings.sample_every
        room = min(settings.steps - self.step, *(n - self.step % n for n in rests if n))
        each = settings.steps_per_dispatch
        return each if each <= room else 1

    def _flush(self) -> None:
        """Report the mean of the steps since the last report."""
        if not self._pending:
            return
        losses, norms = (
            [float(v) for m in self._pending for v in np.ravel(m[name][0])]
            for name in ("loss", "grad_norm")
        )
        self._pending.clear()
        if not np.isfinite(losses).all():
            raise TrainingDivergedError(
                f"the loss is not finite near step {self.step}; the last good "
                f"checkpoint is step {self._saved}. Lower `learning_rate` and start "
                "again from it."
            )
        self._report(loss=float(np.mean(losses)), grad_norm=float(np.mean(norms)))

    def _report(self, **values: float) -> None:
        seconds = time.monotonic() - self._start
        metrics = {"step": self.step, **values, "seconds": seconds}
        if self._busy:
            metrics["samples_per_s"] = self.samples_per_s
        self.history.append(metrics)
        if self._writes:
            self._hooks.on_metrics(metrics)

    def save(self) -> None:
        """Write a checkpoint and report the validation."""
        self._flush()
        if self._saved != self.step:
            self._checkpoints.save(self.step, parallel.unreplicate(self.state))
            self._saved = self.step
        self._validate()

    def catch_up(self) -> None:
        """Make the validation that a killed run had no time for after its checkpoint.

        That of the last step is made in any case.
        """
        if self._saved and self.step < self._settings.steps:
            # All processes validate, or none.
            if not parallel.largest(int(self._hooks.validated(self.step))):
                self._validate()

    def _validate(self) -> None:
        values = self._hooks.validate(parallel.unreplicate(self.state.ema))
        if values:
            self._report(**values)

    def sample(self) -> None:
        """Hand out the averaged parameters where samples are due."""
        every = self._settings.sample_every
        if self._writes and every and self.step % every == 0:
            self._hooks.on_sample(self.step, parallel.unreplicate(self.state.ema))
