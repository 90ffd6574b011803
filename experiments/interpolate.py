"""A path between two cells through their noise, and a family without gaps in volume."""

import dataclasses
import pathlib

import jax
from ml_collections import ConfigDict

from mmdiff.data import dataset
from mmdiff.design.generate import fem_guidance, pipeline, sampler
from mmdiff.design.generate.search import Budget
from mmdiff.design.interpolate import chain, ends, family, pairs, path, report, strip
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.models import noise_codec, weights
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make the path and the family of the config, and write them."""
    settings = pipeline.settings_of(config.to_dict())
    pipeline.check_settings(settings)
    texts = config.first, config.second
    ends.check(config.conditions, config.family, config.num_path, texts)
    model = weights.load_model(config.checkpoint)
    data = dataset.load_dataset(config.data)
    n = int(model.meta["octant"])
    if data.n != n:
        raise InputError(
            f"the cells of the dataset have {2 * data.n} samples an edge and those of "
            f"the network {2 * n}. Pass the `data` it was trained on."
        )
    given = ends.read(texts, data) if config.num_path else (None, None)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    limits = {"floor": config.floor, "tolerance": config.tolerance}
    begun, cells, members, info, strip_of = [], [], [], {}, None
    if config.family == "ladder":
        volumes = {"count": config.num_cells, "low": config.low, "high": config.high}
        begun = family.begin_once(state / "begun.npz", data, **volumes, **limits)
    elif config.family == "chain":
        begun = members = _chain(config, settings, data, state)
        if config.strip_cells:
            strip_of = strip.graded(members, config.strip_cells, n)
    if config.num_path:
        both = ends.both(given, ends.usual(begun) if begun else given)
        cells, info = _path(config, both, model, settings, state / "path.npz")
    if config.family == "ladder":
        make = _gap_filler(config, model, settings, state)
        members = family.fill(begun, make, rounds=config.rounds, **limits)
        info |= {"begun_with": len(begun), "widest_gap_begun": family.widest(begun)}
    ratios = pairs.worst_ratios(members or cells, config.num_pairs, folder)
    size, groups = config.cell_size_mm, {"path": cells, "family": members}
    missing = report.write_cells(folder / "cells", groups, size, config.resolution)
    found = report.report(cells, members, ratios, info, size, strip_of)
    console.notes([*missing, *write(folder, found)])
    console.table(report.table(found.values["cells"]), report.HEADER)
    for text in report.sentences(found.values["summary"]):
        console.say(text)


def _chain(config, settings, data, state):
    """Return the members of a chain."""
    asked = chain.volumes(config.low, config.high, config.tolerance)
    growth = chain.Growth(config.chain_steps, settings.printing, settings.solver)
    seed = ends.seed(config.seed_cell, data, config.low)
    return chain.grow(seed, asked, growth, state)


def _path(config, both, model, settings, file):
    """Return the cells of the path with its ends, and what is reported of it."""
    free, n = config.conditions == "none", both[0].psi.shape[-1]
    if free:
        settings = dataclasses.replace(settings, newton=0, polish_steps=0)
    guide = sampler.choose_guidance(settings.guide, n, settings.newton)
    steps = {"steps": config.steps, "iterations": config.iterations}
    finish = path.make_finish(
        pipeline.make_check(n, settings),
        pipeline.make_improve(n, settings),
        settings.printing.flaw,
        any_volume=free,
    )
    return path.make_path(
        both,
        noise_codec.load_noise_codec(*model, guide=guide, **steps),
        finish,
        key=jax.random.key(config.seed),
        count=config.num_path,
        conditioned=not free,
        target_values=fem_guidance.target_values if settings.newton else None,
        file=file,
    )


def _gap_filler(config, model, settings, state):
    """Return what makes cells for a gap, see `family.fill`."""
    n, most = int(model.meta["octant"]), config.per_gap
    draw = pipeline.make_draw(model, settings, most)
    find = pipeline.make_find(n, settings, most)

    def generate(key, target):
        return find(key, target, draw, Budget(rounds=1))[0]

    return family.make_gap_filler(generate, jax.random.key(config.seed), state)
