"""Cells for each of many targets and what is measured of them, target by target.

Targets are units of work for all cores. The records go to metrics.jsonl, from which a
run that was stopped goes on. A record counts only where it is of the very target, since
a list may have been edited, and as it was written.
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
from mmdiff.models import weights
from mmdiff.run import console, workdir, workers
from mmdiff.targets.target import Target
from mmdiff.typing import UInt8


def make_measure(
    checkpoint: str, settings: pipeline.Settings, num_samples: int, seed: int
) -> Callable[..., tuple[dict, list[np.ndarray]]]:
    """Return `measure(i, target)`: the record of target i and octants of its cells.

    All of the `num_samples` samples of each target are refined; settings without
    polishing measure the samples of the model as they are.

    Args:
      checkpoint: weights file of the model, empty for the shipped one.
      settings: how cells are drawn, checked and refined.
      num_samples: samples of each target.
      seed: of all targets.

    Returns:
      a function, whose records are those of `metrics.measure` and more.
    """
    model = weights.load_model(checkpoint)
    n = int(model.meta["octant"])
    draw = pipeline.make_draw(model, settings, num_samples)
    sampled = dataclasses.replace(settings, polish_steps=0)
    find_raw = pipeline.make_find(n, sampled, num_samples)
    find = pipeline.make_find(n, settings, num_samples)
    budget = Budget(rounds=2, spare=settings.spare)

    def measure(i, target):
        key = jax.random.fold_in(jax.random.key(seed), i)
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
        record = {
            "target": i,
            **metrics.measure(target, cells, raw, bad, flaw),
            "refused": {k: v for k, v in refused.items() if k != "sampled"},
            "seconds": seconds,
        }
        return record, [cell.octant for cell in cells]

    return measure


def run(
    folder: pathlib.Path,
    targets: Sequence[Target],
    prepare: Callable[[], Callable],
    known: UInt8[np.ndarray, "N b"],
    *,
    processes: int = 0,
) -> list[dict]:
    """Return the records of targets, measured where there are none in the folder.

    Args:
      folder: of the run.
      targets: all of them.
      prepare: returns `measure` of a process, see `make_measure`.
      known: training octants, see `voxels.pack`.
      processes: that measure beside each other, 0 for one on every core.
    """
    done = stored(folder, targets)
    units = [(i, target) for i, target in enumerate(targets) if i not in done]
    for _, (record, octants) in workers.run_units(prepare, units, workers=processes):
        for cell, octant in zip(record["cells"], octants, strict=True):
            cell["nearest"] = metrics.nearest(octant, known)
        workdir.append_record(folder, record)
        done[record["target"]] = plain(record)
        errors = [cell["error"] for cell in record["cells"]]
        best = f"{100 * min(errors):.2f} %" if errors else "no valid cell"
        console.say(f"target {record['target']}: {best}, {record['seconds']:.1f} s")
    return [done[i] for i in range(len(targets))]


def stored(folder: pathlib.Path, targets: Sequence[Target]) -> dict[int, Mapping]:
    """Return the records of a run by place, those of other targets left out."""
    requests = [plain(metrics.request(target)) for target in targets]
    return {
        record["target"]: record
        for record in workdir.read_records(folder)
        if record["target"] < len(requests)
        and requests[record["target"]].items() <= record.items()
    }
