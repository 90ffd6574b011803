"""Accuracy, validity, diversity and novelty of a model on a list of targets."""

import pathlib
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.cells import voxels
from mmdiff.data import dataset, select
from mmdiff.design.evaluate import figures, metrics
from mmdiff.design.generate import pipeline, refine, rework, sampler
from mmdiff.errors import InputError, check_least
from mmdiff.io import plots
from mmdiff.io.json import markdown, plain, write_json
from mmdiff.models import weights
from mmdiff.run import console, workdir
from mmdiff.targets import feasibility, target
from mmdiff.targets import table as target_list
from mmdiff.topopt import interface

NUM_SURFACES = 500  # training cells whose surface is told beside that of the model
LEAST = {
    **{"num_samples": 1, "steps": 2, "newton": 0},
    **{"polish_steps": 0, "rework": 0, "spare": 0, "volume_price": 0.0},
}


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for every target and report what came out."""
    check_least(config, LEAST)
    if config.held_out and config.targets:
        raise InputError(
            f"held_out=True and targets={config.targets} are two lists. Give one of "
            "them."
        )
    path = config.targets or assets.dataset_path() / "targets.csv"
    if not config.held_out:
        targets, beyond = read_targets(path, config.num_targets)
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    octants, constants, volume, info = dataset.load_dataset(
        config.data or assets.dataset_path(), skip_bad=config.skip_bad
    )
    training = info["split"] == select.TRAIN
    if config.held_out:
        test = info["split"] == select.TEST
        targets = of_cells(constants[test], volume[test], config.num_targets)
        beyond = []
    known = voxels.pack(octants[training])
    draw = sampler.make_sampler(
        params,
        meta,
        num_samples=config.num_samples,
        steps=config.steps,
        weight=config.guidance,
        newton=config.newton,
        guide=config.guide,
    )
    n = int(meta["octant"])
    solve = interface.make_evaluate(n)
    reworked = rework.make_rework(n) if config.rework else None
    done = {record["target"]: record for record in workdir.read_metrics(folder)}
    for i, goal in enumerate(targets):
        if i in done:
            continue
        record = {"target": i} | _measure(
            jax.random.fold_in(jax.random.key(config.seed), i),
            goal,
            config,
            draw=draw,
            solve=solve,
            reworked=reworked,
            known=known,
        )
        workdir.append_metrics(folder, record)
        done[i] = plain(record)
        errors = [cell["error"] for cell in record["cells"]]
        best = f"{100 * min(errors):.2f} %" if errors else "no valid cell"
        console.say(f"target {i}: {best}, {record['seconds']:.1f} s")
    records = [{**done[i], "infeasible": i in beyond} for i in range(len(targets))]
    _report(
        *(config, folder, records),
        *(octants[training], constants[training], volume[training]),
    )


def _measure(key, goal, config, *, draw, solve, reworked, known) -> dict:
    """Return the record of a target: its first samples as they are, then its cells."""
    start, solved, first = time.perf_counter(), [], []

    def draw_once(key, goal):
        first.append(draw(key, goal))
        return first[0]

    def draw_again(key, goal):
        return first.pop() if first else draw(key, goal)

    def evaluate(*args):
        solved.append(1)
        return solve(*args)

    count = config.num_samples
    raw, counts = pipeline.generate(
        key, goal, draw=draw_once, evaluate=solve, num_best=count, rounds=1
    )
    cells = raw
    if config.polish_steps:
        improve = refine.make_refine(
            evaluate,
            steps=config.polish_steps,
            rework=reworked,
            rounds=config.rework,
            price=config.volume_price,
        )
        cells, _ = pipeline.generate(
            key,
            goal,
            draw=draw_again,
            evaluate=evaluate,
            num_best=count,
            refine=improve,
            rounds=2,
            spare=config.spare,
            price=config.volume_price,
        )
    return {
        **metrics.measure(goal, cells, raw, counts["sampled"] - len(raw), known),
        "evaluations": len(solved),
        "seconds": time.perf_counter() - start,
    }


def read_targets(
    path: str | pathlib.Path, count: int
) -> tuple[list[target.Target], list[int]]:
    """Return the first targets of a list, and which of them no cell can reach.

    Raises:
      InputError: if the file is missing, has too few lines, or one of them cannot be
        read.
    """
    lines = target_list.read(path)
    if not 1 <= count <= len(lines):
        raise InputError(
            f"num_targets={count}, and {path} has {len(lines)} targets. Set "
            "--config.num_targets to one of 1 to that number."
        )
    lines = lines[:count]
    target_list.refuse(lines, path)
    judged = target_list.judge(lines)
    beyond = [line for line in judged if line.problem]
    if beyond:
        why = beyond[0].problem.removesuffix(f" {feasibility.ANYWAY}")  # it does anyway
        console.note(
            f"{len(beyond)} of {count} targets cannot be reached by any cell, the "
            f"first in line {beyond[0].number}: {why}"
        )
    return [line.target for line in lines], [line.index for line in beyond]


def of_cells(constants, volume, count: int) -> list[target.Target]:
    """Return tensors and volumes of cells, in a random order that is always the same.

    Args:
      constants: (N, 3) of the cells, base E = 1.
      volume: (N,) solid fractions.
      count: targets wanted.

    Raises:
      InputError: if there are not so many cells.
    """
    if not 1 <= count <= len(volume):
        raise InputError(
            f"num_targets={count}, and the dataset has {len(volume)} test cells. Set "
            "--config.num_targets to one of 1 to that number, or --config.data to a "
            "dataset that has some."
        )
    rows = np.random.default_rng(0).permutation(len(volume))[:count]
    return [
        target.of_constants(constants[row].tolist(), float(volume[row])) for row in rows
    ]


def _percent(summary, name):
    return f"{100 * summary[f'{name}_median']:.3f} %"


def _report(config, folder, records, octants, constants, volume):
    summary = metrics.summarize(records)
    # Of a few, evenly drawn, of the training cells: it is their mean that is told.
    trained = metrics.surface(octants[:: len(octants) // NUM_SURFACES + 1])
    summary |= {f"trained_{name}": value for name, value in trained.items()}
    filled, fresh = metrics.new_bins(records, constants, volume)
    summary |= {"bins": filled, "new_bins": fresh}
    summary["infeasible"] = sum(record["infeasible"] for record in records)
    write_json(folder / "metrics.json", {"summary": summary, "targets": records})
    rows = metrics.comparison(summary, bool(config.polish_steps))
    groups = metrics.groups(records, constants, volume)
    tables = (metrics.HEADER, rows), (metrics.GROUPS_HEADER, groups)
    (folder / "table.md").write_text("\n".join(markdown(*table) for table in tables))
    pairs = [
        ([r["C11"], r["C12"], r["C44"], r["V"]], [*c["constants"], c["volume"]])
        for r in records
        for c in r["cells"]
    ]
    if pairs:  # what is free is NaN here, and no point there
        asked, got = (np.array(side, float) for side in zip(*pairs, strict=True))
        plots.parity(folder / "parity.png", asked, got)
    figures.error_histogram(folder / "error_hist.png", records)
    figures.similarities(folder / "novelty.png", records)
    figures.coverage(folder / "coverage.png", records, constants, volume)
    console.table(rows, metrics.HEADER)
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
        f"{100 * metrics.GOAL:g} % of range; medians "
        f"{_percent(summary, 'raw_error')} raw, {_percent(summary, 'error')} "
        f"delivered; volumes {summary['volume_off']:.4f} off in the mean."
    )
    console.say(
        "solid and void in features of one voxel: "
        + ", ".join(
            f"{100 * summary[f'{kind}thin']:.1f} and {100 * summary[f'{kind}pits']:.1f}"
            f" % {name}"
            for kind, name in (
                *(("raw_", "raw"), ("", "delivered")),
                ("trained_", "in training cells"),
            )
        )
        + "."
    )
