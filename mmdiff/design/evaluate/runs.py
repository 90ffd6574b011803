"""Cells for each of many targets and what is measured of them, target by target.

The records go to metrics.jsonl, from which a run that was stopped goes on. A record
counts only where it is of the very target, since a list may have been edited.
"""

import functools
import itertools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mmdiff.design.evaluate import metrics
from mmdiff.design.generate import pipeline
from mmdiff.design.generate.search import Budget, search
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
    solve = pipeline.make_evaluate(n, settings)

    def measure(key, target):
        start, solved = time.perf_counter(), []
        # Drawn once for both searches, with the key of their first batch.
        first = draw(jax.random.fold_in(key, 0), target)
        batches = itertools.chain([lambda *_: first], itertools.repeat(draw))
        find = functools.partial(search, key, target, num_best=num_samples)

        def evaluate(*args):
            solved.append(1)
            return solve(*args)

        raw, counts = find(
            draw=lambda *_: first, evaluate=solve, budget=Budget(rounds=1)
        )
        cells, improve = raw, pipeline.make_improve(n, settings, evaluate)
        if improve:
            cells, _ = find(
                draw=lambda *args: next(batches)(*args),
                evaluate=evaluate,
                refine=improve,
                price=settings.volume_price,
                budget=Budget(rounds=2, spare=settings.spare),
            )
        return {
            **metrics.measure(target, cells, raw, counts["sampled"] - len(raw), known),
            "evaluations": len(solved),
            "seconds": time.perf_counter() - start,
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
