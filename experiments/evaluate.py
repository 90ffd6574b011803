"""Accuracy, validity, diversity and novelty of a model on a list of targets."""

import json
import pathlib

from ml_collections import ConfigDict

from mmdiff import assets
from mmdiff.cells import voxels
from mmdiff.data import dataset, select
from mmdiff.design.evaluate import metrics, runs, targets
from mmdiff.design.evaluate.report import messages, report
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
    beyond = []
    if not config.held_out:
        lines = targets.read_list(_path(config.targets), config.num_targets)
        beyond = targets.infeasible(lines)
        goals = [line.target for line in lines]
    model = weights.load_model(config.checkpoint)
    octants, constants, volume, info = dataset.load_dataset(
        config.data, skip_bad=config.skip_bad
    )
    if config.held_out:
        test = info["split"] == select.TEST
        goals = targets.of_cells(constants[test], volume[test], config.num_targets)
    training = info["split"] == select.TRAIN
    measure = runs.make_measure(
        model,
        pipeline.settings_of(config.to_dict()),
        config.num_samples,
        voxels.pack(octants[training]),
    )
    records = [
        record | {"infeasible": i in beyond}
        for i, record in enumerate(runs.run(folder, goals, measure, seed=config.seed))
    ]
    polished = bool(config.polish_steps)
    known = (octants[training], constants[training], volume[training])
    found = report(records, *known, polished=polished)
    for text in write(folder, found):
        console.note(text)
    summary = found.values["summary"]
    console.table(metrics.comparison(summary, polished), metrics.HEADER)
    console.say(
        f"{len(records)} targets x {config.num_samples} samples; range error as in "
        "arXiv 2401.13570, Eq. 3, on binary connected cells; others' numbers are "
        "their own, on their own targets."
    )
    for text in messages(summary):
        console.say(text)


def intact(folder: pathlib.Path) -> bool:
    """Whether a finished run has the records of its list, which may have changed."""
    config = json.loads((folder / "config.json").read_text("utf-8"))["config"]
    if config["held_out"]:
        return True
    try:
        lines = targets.read_list(_path(config["targets"]), config["num_targets"])
    except InputError:  # gone since: what is there is all that can be had
        return True
    return len(runs.stored(folder, [line.target for line in lines])) == len(lines)


def _path(text):
    return text or assets.dataset_path() / "targets.csv"
