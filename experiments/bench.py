"""How long the homogenizer takes on easy and hard cells, and what it costs otherwise.

Cells and batches are timed in this process; compile time and memory, the design loop,
the making of a dataset and of a cell, the default command and other packages in a fresh
process each. Everything is in bench.json.
"""

import dataclasses
import pathlib

import numpy as np
from ml_collections import ConfigDict

from mmdiff.design.bench import processes, solver
from mmdiff.design.bench.report import report
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console, environment


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Time everything and write bench.json, bench.csv, bench.png and a page."""
    periodic = {*config.periodic, *(config.peer_sizes if config.peers else ())}
    kinds = {"cubic": {*config.cubic}, "periodic": periodic}
    sizes = [(kind, edge) for kind, edges in kinds.items() for edge in sorted(edges)]
    _check(config, sizes)
    names = [field.name for field in dataclasses.fields(solver.Settings)]
    settings = solver.Settings(**{name: config[name] for name in names})
    designs = config.design if config.num_starts else ()
    datasets = config.dataset if config.num_candidates else ()
    groups, cells, voids = _measure_cells(config, settings, sizes)
    values = {
        "settings": config.to_dict(),
        **environment.environment(),
        "groups": groups,
        "cells": cells,
        "other_voids": voids,
        "batches": [
            row
            for edge in (config.batch_cubic if config.batches else ())
            for row in solver.measure_batches(edge, config.batches, settings)
        ],
        "design": processes.measure_edges(
            "design steps at", "steps", designs, config.num_starts, config.repeats
        ),
        "dataset": processes.measure_edges(
            "dataset of", "shards", datasets, config.num_candidates
        ),
        "job": processes.measure_job(config.num_cells) if config.num_cells else {},
        "command": processes.measure_command() if config.num_cells else [],
        "sampler": None,
        "peers": [],
    }
    if config.num_samples:
        samples = config.num_samples, config.steps
        values["sampler"] = solver.measure_sampler(*samples, settings)
    if config.peers:
        values["peers"] = processes.measure_peers(
            config.peer_sizes, cells, settings, config.peer_seconds
        )
    summary = _summary(config, cells)
    found = report(values, notes=[summary])
    console.notes(write(folder, found))
    for heading, rows in found.tables.items():
        header = [heading, *list(rows[0])[1:]]
        console.table([list(row.values()) for row in rows], header)
    console.say(summary)


def _measure_cells(config, settings, sizes):
    """Return figures of the groups, rows of the cells and rows of other voids."""
    groups, cells, voids = [], [], []
    for symmetry, edge in sizes:
        first = {}
        if config.fresh:
            first = processes.measure_first_solve(symmetry, edge, config.void)
        rows, softer, compiles = solver.measure_cells(symmetry, edge, settings, cells)
        cells, voids = cells + rows, voids + softer
        group = {"symmetry": symmetry, "edge": edge, **first, "recompiled": compiles}
        groups.append(group | solver.summarize(rows))
    return groups, cells, voids


def _check(config, sizes) -> None:
    if not sizes and not config.num_cells:
        raise InputError("cubic=() and periodic=(): there is nothing to solve.")
    others = (*config.batch_cubic, *config.design, *config.dataset)
    for symmetry, edge in [*sizes, *(("cubic", edge) for edge in others)]:
        solver.check_edge(symmetry, edge)


def _summary(config, cells) -> str:
    if not cells:
        return f"{environment.device_line()}."
    counts = [row["iterations"] for row in cells]
    return (
        f"iterations of all {len(counts)} solves: median {np.median(counts):g}, most "
        f"{max(counts)}; medians and worst of the reference and of the random cells.\n"
        f"{environment.device_line()}; relative residual {config.tol:g}, void "
        f"{config.void:g}, medians of at most {config.repeats} warm calls. Compile "
        "time and memory above the interpreter are those of the first solve in a fresh "
        "process without cache; recompiled counts the programs built between the first "
        "cell and void of a line and its last."
    )
