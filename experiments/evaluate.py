"""Accuracy, validity, diversity and novelty of a model on a list of targets."""

import functools
import pathlib

import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.cells import voxels
from mmdiff.data import dataset, select
from mmdiff.design.evaluate import runs, targets
from mmdiff.design.evaluate.report import report
from mmdiff.design.generate import pipeline
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.models import weights
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Generate cells for every target and report what came out."""
    if config.held_out and config.targets:
        raise InputError(
            f"held_out=True and targets={config.targets} are two lists. Give one of "
            "them."
        )
    lines, beyond = [], []
    if not config.held_out:
        lines = targets.read_list(_path(config.targets), config.num_targets)
        beyond = targets.infeasible(lines)
        goals = [line.target for line in lines]
    weights.load_model(config.checkpoint)  # refused before anything is measured
    data = dataset.load_dataset(config.data, skip_bad=config.skip_bad)
    if config.held_out:
        test = data.info["split"] == select.TEST
        labels = data.constants[test], data.volume[test]
        goals = targets.of_cells(*labels, config.num_targets)
    training = np.flatnonzero(dataset.training_cells(data))
    parts = dataset.octants_in_parts(data, training)
    packed = np.concatenate([voxels.pack(part) for part in parts])
    settings = pipeline.settings_of(config.to_dict())
    prepare = functools.partial(
        runs.make_measure, config.checkpoint, settings, config.num_samples, config.seed
    )
    known = [line.known for line in lines] or [None] * len(goals)
    records = [
        record
        | {"infeasible": record["target"] in beyond, "known": known[record["target"]]}
        for record in runs.run(folder, goals, prepare, packed, processes=config.workers)
    ]
    labels = data.constants[training], data.volume[training]
    found = report(records, *labels, polished=bool(config.polish_steps))
    console.notes(write(folder, found))
    rows = found.tables["Beside published results"]
    console.table([[*row.values()] for row in rows], [*rows[0]])
    console.say(
        f"{len(records)} targets x {config.num_samples} samples; range error as in "
        "arXiv 2401.13570, Eq. 3, of the surface and as voxels, as measured there; "
        "others' numbers are their own, on their own targets."
    )
    for text in found.notes:
        console.say(text)


def _path(text):
    return text or assets.dataset_path() / "targets.csv"
