"""Cells for each of many targets and what is measured of them, target by target.

The records go to metrics.jsonl, from which a run that was stopped goes on. A record
counts only where it is of the very target, since a list may have been edited.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mmdiff.design.evaluate import metrics
from mmdiff.design.generate import pipeline
from mmdiff.design.generate.search import Budget
from mmdiff.io.json import plain
from mmdiff.models.weights import Model
from mmdiff.run import console, workdir
from mmdiff.targets.target import Target
from mmdiff.typing import UInt8


def make_measure(
    model: Model,
    settings: pipeline.Settings,
    num_samples: int,
    known: UInt8[np.ndarray, "N b"],
) -> Callable[..., dict]:
    """Return `measure(key, target)`, the record of a target, see `metrics.measure`.

    All of the `num_samples` samples of each target are refined; settings without
    polishing measure the samples of the model as they are. `known` are the training
    octants, see `voxels.pack`.
    """
    n = int(model.meta["octant"])
    draw = pipeline.make_draw(model, settings, num_samples)
    sampled = dataclasses.replace(settings, polish_steps=0)
    find_raw = pipeline.make_find(n, sampled, num_samples)
    find = pipeline.make_find(n, settings, num_samples)
    budget = Budget(rounds=2, spare=settings.spare)

    def measure(key, target):
        start = time.perf_counter()
        # Drawn once for both searches, with the key of their first batch.
        first = draw(jax.random.fold_in(key, 0), target)
        batches = itertools.chain([lambda *_: first], itertools.repeat(draw))
        refused, seconds = {}, 0.0
        if settings.polish_steps:
            cells, refused = find(
                key, target, lambda *args: next(batches)(*args), budget
            )
            seconds = time.perf_counter() - start
        # On both grids, as the search does not need samples that are refined.
        raw, counts = find_raw(key, target, lambda *_: first, Budget(rounds=1))
        if not settings.polish_steps:
            cells, refused, seconds = raw, counts, time.perf_counter() - start
        bad, flaw = counts["sampled"] - len(raw), settings.printing.flaw
        return {
            **metrics.measure(target, cells, raw, bad, known, flaw),
            "refused": {k: v for k, v in refused.items() if k != "sampled"},
            "seconds": seconds,
        }

    return measure


def run(
    folder: pathlib.Path,
    targets: Sequence[Target],
    measure: Callable[..., dict],
    *,
    seed: int = 0,
) -> list[dict]:
    """Return the records of targets, measured where there are none in the folder."""
    done = stored(folder, targets)
    key = jax.random.key(seed)
    for i, target in enumerate(targets):
        if i in done:
            continue
        record = {"target": i} | measure(jax.random.fold_in(key, i), target)
        workdir.append_metrics(folder, record)
        done[i] = plain(record)
        errors = [cell["error"] for cell in record["cells"]]
        best = f"{100 * min(errors):.2f} %" if errors else "no valid cell"
        console.say(f"target {i}: {best}, {record['seconds']:.1f} s")
    return [done[i] for i in range(len(targets))]


def stored(folder: pathlib.Path, targets: Sequence[Target]) -> dict[int, Mapping]:
    """Return the records of a run by place, those of other targets left out."""
    requests = [plain(metrics.request(target)) for target in targets]
    return {
        record["target"]: record
        for record in workdir.read_metrics(folder)
        if record["target"] < len(requests)
        and requests[record["target"]].items() <= record.items()
    }
