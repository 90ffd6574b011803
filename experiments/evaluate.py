"""Accuracy, validity, diversity and novelty of a model on a list of targets."""

import csv
import pathlib
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.data import select, store
from mmdiff.design import evaluation, generate, sampler, target
from mmdiff.errors import InputError
from mmdiff.io import console, evaluation_plots, plots, workdir, writers
from mmdiff.models import weights
from mmdiff.topopt import interface


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for every target and report what came out."""
    path = config.targets or assets.dataset_path() / "targets.csv"
    targets = read_targets(path, config.num_targets)
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    octants, constants, volume, info = store.read_dataset(
        config.data or assets.dataset_path(), skip_bad=config.skip_bad
    )
    training = info["split"] == select.TRAIN
    known = evaluation.pack(octants[training])
    draw = sampler.make_sampler(
        params,
        meta,
        num_samples=config.num_samples,
        steps=config.steps,
        weight=config.guidance,
        newton=config.newton,
    )
    solve = interface.make_evaluate(int(meta["octant"]))
    done = {record["target"]: record for record in workdir.read_metrics(folder)}
    for i, goal in enumerate(targets):
        if i in done:
            continue
        solved = []

        def evaluate(*args, solved=solved):
            solved.append(1)
            return solve(*args)

        start = time.perf_counter()
        cells, counts = generate.generate(
            jax.random.fold_in(jax.random.key(config.seed), i),
            goal,
            draw=draw,
            evaluate=evaluate,
            num_best=config.num_samples,
            polish_steps=config.polish_steps,
            rounds=1,
        )
        record = {
            "target": i,
            **evaluation.measure(goal, cells, counts, known),
            "evaluations": len(solved),
            "seconds": time.perf_counter() - start,
        }
        workdir.append_metrics(folder, record)
        done[i] = workdir.plain(record)
        best = f"{100 * cells[0].error:.2f} %" if cells else "no valid cell"
        console.say(f"target {i}: {best}, {record['seconds']:.1f} s")
    records = [done[i] for i in range(len(targets))]
    _report(config, folder, records, constants[training], volume[training])


def read_targets(path: str | pathlib.Path, count: int) -> list[target.Target]:
    """Return the first targets of a CSV file.

    Raises:
      InputError: if the file is missing, lacks a column, holds something that is not a
        number, or has too few rows.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(
            f"no list of targets at {path}. Give a CSV file with the columns C11, C12, "
            "C44 and V, or leave --config.targets empty."
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not 1 <= count <= len(rows):
        raise InputError(
            f"num_targets={count}, and {path} has {len(rows)} targets. Set "
            "--config.num_targets to one of 1 to that number."
        )
    found = []
    for line, row in enumerate(rows[:count], 2):
        try:
            numbers = tuple(float(row[name]) for name in ("C11", "C12", "C44"))
            volume = float(row["V"]) if row.get("V") else None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"line {line} of {path} is not a target ({error!r}). Give numbers in "
                "the columns C11, C12, C44 and V; an empty V is free."
            ) from error
        found.append(target.of_constants(numbers, volume))
    return found


def _percent(summary, name):
    return f"{100 * summary[f'{name}_median']:.3f} %"


def _report(config, folder, records, constants, volume):
    summary = evaluation.summarize(records)
    filled, fresh = evaluation.new_bins(records, constants, volume)
    summary |= {"bins": filled, "new_bins": fresh}
    writers.write_json(
        folder / "metrics.json", {"summary": summary, "targets": records}
    )
    rows = evaluation.comparison(summary, bool(config.polish_steps))
    lines = ["| " + " | ".join(line) + " |" for line in [evaluation.HEADER, *rows]]
    lines.insert(1, "|---" * len(evaluation.HEADER) + "|")
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    pairs = [
        ([r["C11"], r["C12"], r["C44"], r["V"]], [*c["constants"], c["volume"]])
        for r in records
        for c in r["cells"]
    ]
    if pairs:
        asked, got = (np.array(side, float) for side in zip(*pairs, strict=True))
        plots.parity(folder / "parity.png", asked, got)
    evaluation_plots.error_histogram(folder / "error_hist.png", records)
    evaluation_plots.similarities(folder / "novelty.png", records)
    evaluation_plots.coverage(folder / "coverage.png", records, constants, volume)
    console.table(rows, evaluation.HEADER)
    console.say(
        f"{len(records)} targets x {config.num_samples} samples; range error as in "
        "arXiv 2401.13570, Eq. 3, on binary connected cells; others' numbers are "
        "their own, on their own targets."
    )
    console.say(
        f"similarity {100 * summary['within']:.1f} % between the cells of a target, "
        f"{100 * summary['nearest']:.1f} % to the nearest training cell; {fresh} of "
        f"{filled} bins of property space filled have no training cell; "
        f"{summary['evaluations']:.1f} finite-element solutions after sampling and "
        f"{summary['seconds']:.1f} s per cell; {100 * summary['answered']:.0f} % of "
        f"targets got a valid cell, {100 * summary['reached']:.0f} % one within "
        f"{100 * evaluation.GOAL:g} % of range; medians "
        f"{_percent(summary, 'raw_error')} raw, {_percent(summary, 'error')} "
        f"delivered; volumes {summary['volume_off']:.4f} off in the mean."
    )
