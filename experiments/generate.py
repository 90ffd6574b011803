"""Cells for a target tensor, or a list of them: sample, check, rank, polish, write."""

import functools
import pathlib
import time

import jax
from ml_collections import ConfigDict

from mmdiff.design.generate import apart, batch, pipeline
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console, workers
from mmdiff.targets import feasibility, target


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for the target or the targets of the config."""
    if config.targets:
        _run_list(config, folder)
        return
    start = time.monotonic()
    asked = target.parse(
        config.target,
        volume=config.vf,
        base=config.base.E,
        project_cubic=config.project_cubic,
    )
    options = {"allow_infeasible": config.allow_infeasible, "nu": config.base.nu}
    feasibility.check_feasible(asked, **options)
    values = config.to_dict()
    prepare = functools.partial(
        apart.make_unit, config.checkpoint, batch.settings_of(values)
    )
    with workers.opened(prepare, workers=config.workers) as units:
        # An accelerator draws and checks all samples at once.
        make = batch.make_maker(values, units if workers.on_cpu() else None)
        cells, counts, found = make(asked, jax.random.key(config.seed), start)
        if not cells:
            raise InputError(pipeline.no_cell(counts))
        console.notes(write(folder, found, apart.files_by(units)))
    (rows,) = found.tables.values()
    console.table([[*row.values()] for row in rows], [*rows[0]])
    refused = [f"{k} {reason}" for reason, k in counts.items() if reason != "sampled"]
    if refused:
        console.say(f"refused of {counts['sampled']} samples: {', '.join(refused)}")
    if len(cells) < config.num_best:
        console.note(f"{len(cells)} of {config.num_best} cells wanted were good.")
    console.say(f"best: cell 0, {100 * cells[0].error:.2f} % from the target.")


def _run_list(config, folder):
    """Generate cells for each target of a list, in a folder of its own."""
    base = config.base.E
    options = {key: config[key] for key in ("allow_infeasible", "skip_bad")}
    options["nu"] = config.base.nu
    lines, skipped = batch.read(config.targets, folder, base=base, **options)
    prepare = functools.partial(batch.make_unit, folder, config.to_dict())
    batch.run(folder, lines, prepare, base=base, processes=config.workers)
    found = batch.summary_report(folder, lines, skipped)
    write(folder, found)
    (rows,) = found.tables.values()
    console.table([[*row.values()] for row in rows], [*rows[0]])
    summary = found.values["summary"]
    console.say(
        f"{summary['answered']} of {len(lines)} targets have a cell; best cells are "
        f"{100 * summary['error_mean']:.3g} % from their targets in the mean, "
        f"{100 * summary['raw_error_mean']:.3g} % as sampled."
    )
