"""A path between two cells through their noise, and a family without gaps in volume."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, bounds, elasticity
from mmdiff.data import dataset
from mmdiff.design.generate import fem_guidance, pipeline, refine, sampler
from mmdiff.design.generate.cell import binarize, make_cell
from mmdiff.design.interpolate import ends as path_ends
from mmdiff.design.interpolate import family, report
from mmdiff.design.interpolate import path as paths
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError, check_least
from mmdiff.models import noise_codec, weights
from mmdiff.run import console, saved, workdir
from mmdiff.targets.target import of_constants
from mmdiff.topopt import interface

CONDITIONS = ("none", "ends")
HELD = 0.3  # price of the volume: a family is ordered by it
LEAST = {
    **{"num_path": 0, "num_cells": 0, "num_pairs": 0, "rounds": 0, "newton": 0},
    **{"polish_steps": 0, "per_gap": 1, "steps": 1, "iterations": 1, "seed": 0},
}
HEADER = ("", "kind", "V", "C11", "K/K_HS", "face %", "contact %", "pair/series")


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Make the path and the family that the config asks for, and write them."""
    _check(config)
    params, meta = weights.load_weights(config.checkpoint or assets.weights_path())
    data = dataset.load_dataset(config.data or assets.dataset_path())[:3]
    n = int(meta["octant"])
    if data[0].shape[-1] != n:
        raise InputError(
            f"the cells of the dataset have {2 * data[0].shape[-1]} voxels an edge and "
            f"those of the network {2 * n}. Pass the --config.data it was trained on."
        )
    evaluate = interface.make_evaluate(n)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    begun = _begin(config, data) if config.num_cells else []
    path, facts = [], {}
    if config.num_path:
        usual = (begun[0], begun[-1]) if begun else None
        ends = path_ends.read((config.first, config.second), usual, data[:2], evaluate)
        path, facts = _path(config, ends, params, meta, evaluate, state)
    members = _fill(config, begun, params, meta, evaluate, state) if begun else []
    if begun:
        facts |= {"begun_with": len(begun), "widest_gap_begun": family.widest(begun)}
    _deliver(config, folder, path, members, facts)


def _check(config) -> None:
    """Refuse settings that cannot work."""
    check_least(config, LEAST)
    if config.conditions not in CONDITIONS:
        raise InputError(
            f"conditions={config.conditions!r} is unknown. Use "
            f"{' or '.join(CONDITIONS)}."
        )
    if not 0 < config.low < config.high < 1:
        raise InputError(
            f"low={config.low:g} and high={config.high:g} are no range of volume "
            "fractions. Pass 0 < low < high < 1."
        )
    if not 0 <= config.floor <= 1:
        raise InputError(
            f"floor={config.floor:g} is no share of a bound. Pass one of 0 to 1."
        )
    if not config.tolerance > 0:
        raise InputError(
            f"tolerance={config.tolerance:g} is not positive. Pass the widest gap in "
            "volume that may stay, such as --config.tolerance=0.02."
        )
    if config.num_cells == 1:
        raise InputError(
            "num_cells=1 makes no family. Pass 2 or more, or 0 for the path alone."
        )
    if not config.num_cells and not config.num_path:
        raise InputError(
            "num_cells=0 and num_path=0 leave nothing to do. Set one of them."
        )
    if config.num_path and not config.num_cells:
        for key in ("first", "second"):
            if not config[key]:
                raise InputError(
                    f"{key} is empty, and with num_cells=0 there is no family to take "
                    f"it from. Give a voxel file or a number with --config.{key}."
                )


def _begin(config, data) -> list[Member]:
    """Return the cells of the dataset that the family begins with."""
    octants, constants, volume = data
    share = bounds.hashin_shtrikman_ratios(constants, volume)["K"]
    allowed = share >= config.floor
    chosen = family.spread_out(
        octants, volume, allowed, config.low, config.high, config.num_cells
    )
    chosen = family.with_gaps_filled(chosen, octants, volume, allowed, config.tolerance)
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} cells of the dataset have K/K_HS of {config.floor:g} or "
            f"more at volumes from {config.low:g} to {config.high:g}, and a family "
            "needs two. Lower --config.floor or widen --config.low and --config.high."
        )
    return [Member(octants[i], constants[i], "dataset") for i in chosen]


def _path(config, ends, params, meta, evaluate, state):
    """Return the cells of the path with its ends, and how well the ends came back."""
    held = saved.load_if_good(state / "path.npz")
    if held is not None:
        facts = {"returned": held["returned"].tolist(), "refused": int(held["refused"])}
        return report.members_of(held), facts
    conditioned = config.conditions == "ends"
    n = int(meta["octant"])
    guidance = conditioned and config.newton
    bridge, scaling = noise_codec.load_noise_codec(
        params,
        meta,
        steps=config.steps,
        iterations=config.iterations,
        guide=sampler.choose_guidance(
            config.guide, n, config.newton if guidance else 0
        ),
    )
    raw = [np.append(end.constants, end.volume) for end in ends]

    def told(values):
        names = (*elasticity.NAMES, "V")
        known = dict(zip(names, map(float, values), strict=True)) if conditioned else {}
        return scaling.from_values(**known)

    key = jax.random.key(config.seed)
    noises, returned = [], []
    for i, end in enumerate(ends):
        x0 = jnp.asarray(2.0 * end.octant - 1, jnp.float32)
        noises.append(bridge.encode(jax.random.fold_in(key, i), x0, told(raw[i])))
        back = bridge.decode(noises[-1], told(raw[i]))
        returned.append(noise_codec.returned(back, end.octant))
        console.say(
            f"end {i + 1}: {100 * returned[-1]:.2f} % of voxels come back from the "
            "noise"
        )
    found, refused = [ends[0]], 0
    improve = refine.make_refine(evaluate, steps=config.polish_steps, price=HELD)
    for theta in paths.angles(config.num_path):
        values = paths.between(*raw, theta)
        target = of_constants(values[:3], float(values[3]))
        wanted = jnp.asarray(fem_guidance.target_values(target)) if guidance else None
        x0 = bridge.decode(noise_codec.spherical(*noises, theta), told(values), wanted)
        volume = target.volume if conditioned else None
        octant, reason, pieces = binarize(np.asarray(x0), volume)
        result = None if reason else evaluate(octant)
        if result is None or not result.converged:
            refused += 1
            console.note(f"theta {theta:.3f}: {reason or 'unconverged'}, left out.")
            continue
        constants = np.asarray(result.constants)
        if conditioned and config.polish_steps:
            cell = improve(make_cell(octant, result, target, pieces), target)
            octant, constants = cell.octant, np.asarray(cell.constants)
        found.append(Member(octant, constants, "path", float(theta)))
    found.append(ends[1])
    saved.save(
        state / "path.npz",
        report.arrays(found)
        | {"returned": np.array(returned), "refused": np.array(refused)},
    )
    return found, {"returned": returned, "refused": refused}


def _fill(config, begun, params, meta, evaluate, state) -> list[Member]:
    """Return the family after its gaps are filled."""
    draw = sampler.make_sampler(
        params,
        meta,
        num_samples=config.per_gap,
        steps=config.steps,
        newton=config.newton,
        guide=config.guide,
    )
    improve = None
    if config.polish_steps:
        improve = refine.make_refine(evaluate, steps=config.polish_steps, price=HELD)
    key = jax.random.key(config.seed)

    def make(number, low, high):
        constants, volume = family.midway(low, high)
        mark = round(1e6 * volume)
        file = state / f"gap_{number}_{mark}.npz"
        held = saved.load_if_good(file)
        if held is None:
            cells, _ = pipeline.generate(
                jax.random.fold_in(jax.random.fold_in(key, 2 + number), mark),
                of_constants(constants, volume),
                draw=draw,
                evaluate=evaluate,
                num_best=config.per_gap,
                refine=improve,
                rounds=1,
            )
            shape = (len(cells), *low.octant.shape)
            held = {
                "octants": np.array([c.octant for c in cells], np.uint8).reshape(shape),
                "constants": np.array([c.constants for c in cells]).reshape(-1, 3),
                "kind": np.array([f"round {number + 1}"] * len(cells), "U16"),
                "theta": np.full(len(cells), np.nan),
            }
            saved.save(file, held)
        made = report.members_of(held)
        best = max((member.share for member in made), default=np.nan)
        console.say(
            f"round {number + 1}, V {low.volume:.3f} to {high.volume:.3f}: "
            f"{len(made)} cells, K/K_HS up to {best:.3f}"
        )
        return made

    members = begun
    options = {
        "tolerance": config.tolerance, "floor": config.floor, "rounds": config.rounds
    }  # fmt: skip
    for members in family.fill(begun, make, **options):
        console.say(
            f"{len(members)} cells, widest gap in V {family.widest(members):.4f}"
        )
    return family.by_volume(members)


def _deliver(config, folder, path, members, facts) -> None:
    """Judge the neighbours, write everything and say what came out."""
    pairs = _pairs(config, folder, members or path)
    lines = report.rows(path, "path", {} if members else pairs)
    lines += report.rows(members, "family", pairs)
    if len(path) > 2:
        constants, theta = zip(
            *((cell.constants, cell.theta) for cell in path), strict=True
        )
        off = paths.off_line(np.stack(constants), np.array(theta))[1:-1]
        facts |= {"off_line_mean": float(off.mean()), "off_line_most": float(off.max())}
    facts = report.summary(path, members, lines, facts)
    report.write(folder, path, members, lines, facts)
    table = []
    for line in lines:
        fit = [line.get("face agreement"), line.get("contact")]
        fit = [None if value is None else 100 * value for value in fit]
        known = [line[name] for name in ("cell", "kind", "V", "C11", "K/K_HS")]
        table.append([*known, *fit, line.get("C11 pair / series")])
    console.table(table, HEADER)
    if path:
        worst = 100 * min(facts["returned"])
        console.say(
            f"path: {len(path)} cells with its ends, {facts['refused']} refused, "
            f"{worst:.2f} % of an end's voxels come back."
        )
    if "off_line_mean" in facts:
        console.say(
            f"constants of the path are {100 * facts['off_line_mean']:.2f} % of range "
            "off the straight line between the ends in the mean."
        )
    if members:
        console.say(
            f"family: {len(members)} cells, widest gap in V {facts['widest_gap']:.4f} "
            f"(at first {facts['widest_gap_begun']:.4f}), K/K_HS "
            f"{facts['least_K/K_HS']:.3f} or more."
        )


def _pairs(config, folder, members) -> dict[int, float]:
    """Return the stiffness of the pairs whose faces fit worst, over that in series."""
    known = {line["pair"]: line["ratio"] for line in workdir.read_metrics(folder)}
    fits = [
        family.face_agreement(one.octant, two.octant)[0]
        for one, two in zip(members[:-1], members[1:], strict=True)
    ]
    chosen = np.argsort(fits, kind="stable")[: config.num_pairs].tolist()
    for i in chosen:
        if i not in known:
            ratio = family.pair_stiffness(members[i], members[i + 1])
            workdir.append_metrics(folder, {"pair": i, "ratio": ratio})
            known[i] = ratio
            console.say(f"pair {i}, {i + 1}: C11 {ratio:.3f} of that in series")
    return {i: known[i] for i in chosen}
