"""Beginning and end of all training runs: the dataset, metrics, the closing lines.

Lines stand on the terminal and in the log of the run.
"""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from mmdiff.data.dataset import Dataset, load_dataset
from mmdiff.run import tensorboard
from mmdiff.run.console import note, say
from mmdiff.run.workdir import append_metrics, read_metrics
from mmdiff.train.loop import Result, Settings

_ENDS = {"steps": "all steps done", "time": "time limit", "signal": "stopped"}


def read_dataset(path: str | os.PathLike, *, skip_bad: bool = False) -> Dataset:
    """Return a dataset, and note which of its shards are left out."""
    data = load_dataset(path, skip_bad=skip_bad)
    for message in data.info["skipped"]:
        note(f"{message.split('. Rerun')[0]}; going on without them.")
    return data


@contextlib.contextmanager
def metrics(
    workdir: pathlib.Path, *, steps: int = 0, curves: bool = False
) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function that says metrics and appends them to metrics.jsonl.

    It says, too, how long a training of so many steps will take at the pace since its
    first report. With `curves` it writes metrics for TensorBoard.
    """
    first: tuple[int, float] | None = None

    def left(step: int) -> list[str]:
        """Return the time to the end, where a pace is known."""
        nonlocal first
        now = time.monotonic()
        first = first or (step, now)
        if not first[0] < step < steps:
            return []
        seconds = (now - first[1]) * (steps - step) / (step - first[0])
        return [f"{_duration(seconds)} left"]

    scalars = tensorboard.scalars(workdir / "tb") if curves else None
    with scalars or contextlib.nullcontext() as write_curves:

        def on_metrics(values: dict[str, float]) -> None:
            append_metrics(workdir, values)
            if write_curves:
                write_curves(values)
            shown = [
                f"{name} {value:.4g}"
                for name, value in values.items()
                if name not in ("step", "grad_norm")
                and not name.startswith("validation_t")
            ]
            if "loss" in values:
                shown += left(values["step"])
            say(f"step {values['step']}  {'  '.join(shown)}")

        yield on_metrics


def _duration(seconds: float) -> str:
    """Return a time for people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def say_start(cells: str, octant: int, params: Any) -> None:
    """Say what is trained: the number of cells, their size, the network, devices."""
    say(
        f"{cells}, fields of {octant}^3 samples; network of "
        f"{count(params) / 1e6:.2f} million parameters; {jax.device_count()} "
        f"{jax.default_backend()} device(s)"
    )


def summary(settings: Settings, result: Result, cells: int) -> dict[str, int]:
    """Return the numbers of a run that stand in the header of its weights."""
    return {
        "seed": settings.seed,
        "steps": int(result.state.step),
        "planned": settings.steps,
        "batch_size": settings.batch_size,
        "cells": cells,
        "parameters": count(result.state.params),
    }


def last(rows: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Return the last row of metrics that has some value; empty where none has."""
    return next((row for row in reversed(rows) if name in row), {})


def count(params: Any) -> int:
    """Return the number of parameters of a network."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def validated(workdir: pathlib.Path) -> Callable[[int], bool]:
    """Return a function that tells whether metrics hold a validation of a step."""

    def found(step: int) -> bool:
        rows = [row for row in read_metrics(workdir) if row.get("step") == step]
        return any(name.startswith("validation") for row in rows for name in row)

    return found


def say_end(path: pathlib.Path, settings: Settings, result: Result) -> str:
    """Say why a run ended, and how to go on with it; return what `unfinished` does."""
    say(
        f"{_ENDS[result.reason]}: step {int(result.state.step)} of {settings.steps}, "
        f"{result.samples_per_s:.1f} samples/s; wrote {path}"
    )
    if result.reason != "steps":
        note("run the same command again to go on from this step")
    return unfinished(settings, result)


def unfinished(settings: Settings, result: Result) -> str:
    """Return why a run is not at its last step, empty where it is."""
    if result.reason == "steps":
        return ""
    step = int(result.state.step)
    return f"{_ENDS[result.reason]} at step {step} of {settings.steps}"
