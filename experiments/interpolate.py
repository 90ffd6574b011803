"""A path between two cells through their noise, and a family without gaps in volume."""

import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff.data import dataset
from mmdiff.design.generate import fem_guidance, refine, sampler
from mmdiff.design.generate.cell import binarize, make_cell
from mmdiff.design.generate.search import Budget, search
from mmdiff.design.interpolate import ends, family, pairs, path, report
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.models import noise_codec, weights
from mmdiff.run import console
from mmdiff.topopt import interface

CONDITIONS = ("none", "ends")
PRICE = 0.3  # of the volume while polishing: a family is ordered by it


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make the path and the family of the config, and write them."""
    _check(config)
    model = weights.load_model(config.checkpoint)
    data = dataset.load_dataset(config.data)
    n = int(model.meta["octant"])
    if data.octants.shape[-1] != n:
        raise InputError(
            f"the cells of the dataset have {2 * data.octants.shape[-1]} voxels an "
            f"edge and those of the network {2 * n}. Pass the `data` it was trained on."
        )
    evaluate = interface.make_evaluate(n)
    improve = refine.make_refine(evaluate, steps=config.polish_steps, price=PRICE)
    tools = model, evaluate, improve if config.polish_steps else None
    state = folder / "state"
    state.mkdir(exist_ok=True)
    limits = {"floor": config.floor, "tolerance": config.tolerance}
    begun, cells, members, info = [], [], [], {}
    if config.num_cells:
        volumes = {"count": config.num_cells, "low": config.low, "high": config.high}
        begun = family.begin(data, **volumes, **limits)
    if config.num_path:
        usual = (begun[0], begun[-1]) if begun else None
        both = ends.read((config.first, config.second), usual, data, evaluate)
        cells, info = _path(config, both, *tools, state / "path.npz")
    if begun:
        make = _gap_filler(config, *tools, state)
        members = family.fill(begun, make, rounds=config.rounds, **limits)
        info |= {"begun_with": len(begun), "widest_gap_begun": family.widest(begun)}
    ratios = pairs.worst_ratios(members or cells, config.num_pairs, folder)
    found = report.report(cells, members, ratios, info)
    console.notes(write(folder, found))
    console.table(report.table(found.values["cells"]), report.HEADER)
    for text in report.sentences(found.values["summary"]):
        console.say(text)


def _check(config) -> None:
    """Refuse settings that do not go together."""
    if config.conditions not in CONDITIONS:
        raise InputError(
            f"conditions={config.conditions!r} is unknown. Use "
            f"{' or '.join(CONDITIONS)}."
        )
    if config.num_cells == 1:
        raise InputError(
            "num_cells=1 makes no family. Pass 2 or more, or 0 for the path alone."
        )
    if not config.num_cells and not config.num_path:
        raise InputError(
            "num_cells=0 and num_path=0 leave nothing to do. Set one of them."
        )
    for key in ("first", "second") if config.num_path and not config.num_cells else ():
        if not config[key]:
            raise InputError(
                f"{key} is empty, and with num_cells=0 there is no family to take it "
                f"from. Give a voxel file or a number with `{key}`."
            )


def _path(config, both, model, evaluate, improve, file):
    """Return the cells of the path with its ends, and what is reported of it."""
    free = config.conditions == "none"
    newton = 0 if free else config.newton
    guide = sampler.choose_guidance(config.guide, both[0].octant.shape[-1], newton)
    steps = {"steps": config.steps, "iterations": config.iterations}

    def finish(field, target):
        octant, reason, pieces = binarize(field, None if free else target.volume)
        result = None if reason else evaluate(octant)
        if reason or not result.converged:
            return None, reason or "unconverged"
        cell = make_cell(octant, result, target, pieces)
        return cell if free or not improve else improve(cell, target), ""

    return path.make_path(
        both,
        noise_codec.load_noise_codec(*model, guide=guide, **steps),
        finish,
        key=jax.random.key(config.seed),
        count=config.num_path,
        conditioned=not free,
        target_values=fem_guidance.target_values if newton else None,
        file=file,
    )


def _gap_filler(config, model, evaluate, improve, state):
    """Return what makes cells for a gap, see `family.fill`."""
    most, steps = config.per_gap, {"steps": config.steps, "newton": config.newton}
    draw = sampler.make_sampler(*model, num_samples=most, guide=config.guide, **steps)
    options = {"draw": draw, "evaluate": evaluate, "refine": improve}

    def generate(key, target):
        return search(key, target, num_best=most, budget=Budget(rounds=1), **options)[0]

    return family.make_gap_filler(generate, jax.random.key(config.seed), state)
