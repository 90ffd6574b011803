"""Samples and cells of one target on all cores: `pipeline`, its tasks done by workers.

A worker draws shares of a batch, checks fields, and refines and finishes cells. What
comes out is the same, however many of them there are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mmdiff.design.generate import pipeline
from mmdiff.fem import accuracy
from mmdiff.io.cell_files import write_entry
from mmdiff.models.weights import Model, load_model
from mmdiff.run.workers import Run
from mmdiff.targets.target import Target, of_constants
from mmdiff.typing import Key

SHARE = 2  # samples that a worker draws at a time


def make_unit(checkpoint: str, settings: pipeline.Settings) -> Callable[..., Any]:
    """Return `unit(task, *args)`, what a worker does for `make_generate`.

    The tasks are "draw", "check", "refine", "finish", "files" of a cell, and "ready",
    which compiles what those beside the first and the last need; the checkpoint is a
    weights file, empty for the shipped one.
    """
    model = load_model(checkpoint)
    n, draw = int(model.meta["octant"]), pipeline.make_draw(model, settings, SHARE)
    check = pipeline.make_check(n, settings)

    def draw_share(data, target, first, total):
        key = jax.random.wrap_key_data(data)
        return np.asarray(draw(key, target, first, total))[: total - first]

    def ready():
        wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
        psi = wave[:, None, None] + wave[:, None] + wave
        check(psi, of_constants((0.1, 0.05, 0.05)))
        quick = settings.solver | {"maxiter": 1}
        accuracy.estimate(psi, coarse=np.ones(3), **quick)

    tasks = {
        "ready": ready,
        "draw": draw_share,
        "check": check,
        "refine": pipeline.make_improve(n, settings),
        "finish": pipeline.finished,
        "fit": pipeline.make_fit(n, settings),
        "files": write_entry,
    }
    return lambda task, *args: tasks[task](*args)


def _make_draw(run: Run, num_samples: int) -> Callable:
    """Return what `pipeline.make_draw` does, shares of a batch drawn by workers."""
    before = [("ready",)]  # by one of them while others compile the sampler

    def draw(key: Key, target: Target):
        data = np.asarray(jax.random.key_data(key))
        units = [
            ("draw", data, target, first, num_samples)
            for first in range(0, num_samples, SHARE)
        ]
        found = dict(run(before + units))
        shares = [found[len(before) + i] for i in range(len(units))]
        before.clear()
        return np.concatenate(shares)

    return draw


def _make_find(run: Run, settings: pipeline.Settings, num_cells: int) -> Callable:
    """Return what `pipeline.make_find` does, its tasks done by workers."""

    def each(task):
        def results(items, *args):  # begins when the first is asked for
            yield from in_order(run, [(task, item, *args) for item in items])

        return results

    return pipeline.find_with(
        each("check"),
        each("refine") if settings.polish_steps else None,
        each("finish"),
        each("fit"),
        settings=settings,
        num_cells=num_cells,
    )


def make_generate(
    run: Run,
    model: Model,
    settings: pipeline.Settings,
    *,
    num_cells: int,
    num_samples: int,
) -> Callable:
    """Return what `pipeline.make_generate` does, of units of `make_unit`.

    `run` is that of `workers.opened`.
    """
    draw = _make_draw(run, num_samples)
    find = _make_find(run, settings, num_cells)
    count = {"num_cells": num_cells, "num_samples": num_samples}
    return pipeline.make_generate(model, settings, **count, parts=(draw, find))


def files_by(run: Run) -> Callable[[Sequence[tuple]], Iterator]:
    """Return the `each` of `mmdiff.io.report.write` that has workers write files."""
    return lambda tasks: in_order(run, [("files", *task) for task in tasks])


def in_order(run: Run, units: Sequence[tuple]) -> Iterator[Any]:
    """Return the results of units in their order; they have begun when it returns."""
    places = run(units)

    def results():
        found = dict(places)
        yield from (found[i] for i in range(len(found)))

    return results()
