"""Cells for a target tensor, or a list of them: sample, check, rank, polish, write."""

import json
import pathlib
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.design.generate import batch, pipeline, properties, refine, rework, sampler
from mmdiff.design.generate import report as deliver
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.io.json import write_json
from mmdiff.models import weights
from mmdiff.run import console, workdir
from mmdiff.targets import feasibility, table, target
from mmdiff.topopt import interface


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for the target or the targets of the config."""
    start = time.monotonic()
    if config.targets:
        _run_list(config, folder)
        return
    asked = target.parse(
        config.target,
        volume=config.vf or None,
        base=config.base.E,
        project_cubic=config.project_cubic,
    )
    feasibility.check_feasible(asked, allow_infeasible=config.allow_infeasible)
    make = _maker(config)
    cells, report = make(asked, jax.random.key(config.seed), start)
    counts = report["counts"]
    if not cells:
        raise InputError(_no_cell(counts))
    deliver.write(folder, asked, cells, report)
    rows = properties.table(asked, cells, config.base.E)
    console.table(rows, properties.header(asked))
    refused = {reason: k for reason, k in counts.items() if reason != "sampled"}
    if refused:
        said = ", ".join(f"{k} {reason}" for reason, k in refused.items())
        console.say(f"refused of {counts['sampled']} samples: {said}")
    if len(cells) < config.num_best:
        console.note(f"{len(cells)} of {config.num_best} cells wanted were good.")
    console.say(f"best: cell 0, {100 * cells[0].error:.2f} % from the target.")


def intact(folder: pathlib.Path) -> bool:
    """Whether every target of a finished list is whole; the list may have grown."""
    config = json.loads((folder / "config.json").read_text("utf-8"))["config"]
    if not config.get("targets"):
        return True
    base = config["base"]["E"]
    try:
        lines = table.read(config["targets"], base=base)
    except InputError:  # gone since: what is there is all that can be had
        return True
    lines = table.judge(lines, allow_infeasible=config["allow_infeasible"])
    return all(
        line.problem or batch.is_done(folder / line.name, line.target, base)
        for line in lines
    )


def _maker(config):
    """Return `(target, key, start) -> (cells, report)` with the model of the config."""
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
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
    solver = config.solver.to_dict()
    evaluate = interface.make_evaluate(n, **solver)
    improve = _improver(config, evaluate, n)
    fine = None
    if config.double:
        fine = interface.make_evaluate(2 * n, **solver)
    known = np.array(meta["training"]["labels"])

    def make(asked, key, start):
        distance = feasibility.training_distance(asked, known)
        if distance > meta["training"]["coverage"]:
            console.note(
                "target is outside the region this checkpoint was trained on (nearest "
                f"training cell differs by {100 * distance:.1f} %). Expect larger "
                "errors; distance is recorded in properties.json."
            )
        cells, counts = pipeline.generate(
            key,
            asked,
            draw=draw,
            evaluate=evaluate,
            num_best=config.num_best,
            refine=improve,
            spare=config.spare,
            price=config.volume_price,
            time_left=_timer(config.time_limit_s, start),
        )
        if fine:
            cells = _doubled(cells, asked, fine, config)
        settings = {
            "void": config.solver.void,
            "penal": homogenize.PENAL,
            "tol": config.solver.tol,
            "base_E": config.base.E,
            "base_nu": elasticity.NU,
            "cell_size_mm": config.cell_size_mm,
            "training_distance": distance,
            "counts": counts,
        }
        return cells, properties.report(asked, cells, settings)

    return make


def _improver(config, evaluate, n: int):
    """Return how cells are refined as configured; None where they are not."""
    if not config.polish_steps:
        return None
    return refine.make_refine(
        evaluate,
        steps=config.polish_steps,
        rework=rework.make_rework(n) if config.rework else None,
        rounds=config.rework,
        price=config.volume_price,
    )


def _doubled(cells, asked, evaluate, config):
    """Return the cells at twice the resolution, polished there, best first."""
    improve = None
    if config.polish_steps:
        improve = refine.make_refine(
            evaluate,
            steps=config.polish_steps,
            price=config.volume_price,
            smooth=False,  # doubled cells are
        )
    fine = []
    for i, cell in enumerate(cells):
        try:
            cell = refine.double(cell, asked, evaluate)
        except ValueError as error:
            console.note(f"cell {i} is left out at twice the resolution: {error}.")
            continue
        fine.append(improve(cell, asked) if improve else cell)

    def cost(cell):
        volume, price = asked.volume, config.volume_price
        return interface.cost(cell.error, cell.volume, volume, price)

    return sorted(fine, key=cost)


def _timer(limit, start):
    """Return whether time is left of a budget; None where there is no budget."""
    return (lambda: time.monotonic() < start + limit) if limit else None


def _no_cell(counts) -> str:
    return (
        f"none of {counts['sampled']} samples was a connected, load-bearing cell "
        f"({counts}). Ask for more samples with --config.num_samples, or for a target "
        "nearer to the trained region."
    )


def _run_list(config, folder):
    """Generate cells for each target of a list, in a folder of its own."""
    path = pathlib.Path(config.targets)
    if path.resolve() == (folder / "targets.csv").resolve():
        raise InputError(
            f"targets={path} is where the summary of this run goes. Rename the list, "
            "or choose another --workdir."
        )
    lines = table.read(path, base=config.base.E)
    lines = table.judge(lines, allow_infeasible=config.allow_infeasible)
    bad = [line for line in lines if line.problem]
    if not config.skip_bad:
        table.refuse(bad, path, ", or leave such lines out with --config.skip_bad=true")
    for line in bad:
        console.note(f"line {line.number} of {path} is left out: {line.problem}")
    lines = [line for line in lines if not line.problem]
    if not lines:
        raise InputError(
            f"{path} has no target to work on. Give one or more in lines below the "
            "header."
        )
    make, key = None, jax.random.key(config.seed)
    for line in lines:
        place = folder / line.name
        if batch.is_done(place, line.target, config.base.E):
            continue
        start = time.monotonic()
        make = make or _maker(config)
        cells, report = make(line.target, jax.random.fold_in(key, line.index), start)
        place.mkdir(exist_ok=True)
        batch.clear(place)
        if cells:
            (place / "index.html").unlink(missing_ok=True)
            deliver.write(place, line.target, cells, report)
            said = f"best of {len(cells)} {100 * cells[0].error:.2f} % from the target."
        else:
            write_json(place / "properties.json", report)
            said = _no_cell(report["counts"])
        seconds = time.monotonic() - start
        workdir.append_metrics(folder, {"target": line.name, "seconds": seconds})
        console.say(f"{line.name} ({seconds:.1f} s): {said}")
    rows = [
        batch.row(line.name, batch.read_report(folder / line.name)) for line in lines
    ]
    skipped = [
        {"line": line.number, "name": line.name, "reason": line.problem} for line in bad
    ]
    notes = [f"{name}: {text}." for name, text in properties.CONVENTIONS.items()]
    summary = batch.write(folder, rows, skipped, notes)
    console.table(batch.table(rows), batch.HEADER)
    console.say(
        f"{summary['answered']} of {len(rows)} targets have a cell; best cells are "
        f"{100 * summary['error_mean']:.3g} % from their targets in the mean, "
        f"{100 * summary['raw_error_mean']:.3g} % as sampled."
    )
