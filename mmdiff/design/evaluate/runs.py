"""Cells for each of many targets and what is measured of them, target by target.

The records go to metrics.jsonl, from which a run that was stopped goes on. A record
counts only where it is of the very target, since a list may have been edited.
"""

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

    Args:
      model: trained network.
      settings: how cells are drawn, checked and refined; no polishing measures the
        samples of the model as they are.
      num_samples: samples of each target, all of which are refined.
      known: training octants, see `voxels.pack`.
    """
    n = int(model.meta["octant"])
    draw = pipeline.make_draw(model, settings, num_samples)
    solve = pipeline.make_evaluate(n, settings)

    def measure(key, target):
        start, solved = time.perf_counter(), []
        first = [draw(jax.random.fold_in(key, 0), target)]  # as `search` draws them

        def draw_again(key, target):
            return first.pop() if first else draw(key, target)

        def evaluate(*args):
            solved.append(1)
            return solve(*args)

        raw, counts = search(
            key,
            target,
            draw=lambda key, target: first[0],
            evaluate=solve,
            num_best=num_samples,
            budget=Budget(rounds=1),
        )
        cells, improve = raw, pipeline.make_improve(n, settings, evaluate)
        if improve:
            cells, _ = search(
                key,
                target,
                draw=draw_again,
                evaluate=evaluate,
                num_best=num_samples,
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
    """Return the records of targets, measured where there are none.

    Args:
      folder: of the run.
      targets: what cells are made for.
      measure: see `make_measure`; the key is that of the place of the target.
      seed: of the samples.
    """
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
