"""Hide a hole: design the cells around it, take real ones, and check what they do."""

import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.cells import plates
from mmdiff.data import dataset
from mmdiff.design.cloak import assign, region, report, resolved
from mmdiff.design.cloak import model as cloak
from mmdiff.design.cloak import pool as cloak_pool
from mmdiff.design.cloak.pool import Pool
from mmdiff.design.cloak.report import Case
from mmdiff.errors import InputError, check_least
from mmdiff.fem.homogenize import VOID
from mmdiff.run import console, saved, workdir
from mmdiff.topopt import interface

TESTS = {"pull": cloak.pulled, "strains": cloak.strained}
WALL = 1 / 8  # of the plates, two of which meet, by the edge of the cell
BAND = 0.02  # of the volume of the isotropic reference
TRIED = 30  # cells that are looked at for it
SEVERAL = 4  # fewer steps under several loads
LEAST = {
    **{"num_cells": 4, "steps": 0, "exchanges": 1, "check_cells": 0, "pool": 2},
    **{"cell_voxels": 8, "check_voxels": 8, "stl_voxels": 4},
}


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Design every case that the config asks for, and write what came out."""
    columns, names, tests = _check(config)
    data = dataset.load_dataset(config.data or assets.dataset_path())[:3]
    edge = 2 * data[0].shape[-1]
    for key in ("cell_voxels", "check_voxels"):
        if edge % config[key] or config[key] % 2:
            raise InputError(
                f"{key}={config[key]} does not divide the {edge} voxels of a cell's "
                f"edge. Set --config.{key} to an even number that does."
            )
    state = folder / "state"
    state.mkdir(exist_ok=True)
    pools = {
        name: _pool(config, name, data, config.cell_voxels, VOID, state)
        for name in names
    }
    shape = (config.num_cells,) * 3
    cases = []
    for column in columns:
        for name in tests:
            test = TESTS[name](shape)
            where = cloak.body(shape, column, mirrors=test.mirrors, swaps=test.swaps)
            make = cloak.make_model(where, test)
            for kind, pool in pools.items():
                case = Case(column, kind, test, where, pool)
                cases.append(_case(config, case, make, state / f"{case.name}.npz"))
    checks = {line["reference"]: line for line in workdir.read_metrics(folder)}
    for name in names if config.check_cells else ():
        if name not in checks:
            void = resolved.VOID
            pool = _pool(config, name, data, config.check_voxels, void, state)
            facts = _resolve(config, columns[0], pool)
            checks[name] = {"reference": name, **facts}
            workdir.append_metrics(folder, checks[name])
    checks = [checks[name] for name in names if name in checks]
    facts = report.write(folder, cases, checks, config.to_dict())
    console.table(
        [[line.get(key) for key in report.COLUMNS] for line in facts],
        report.COLUMNS,
    )
    worst = max(cases, key=lambda case: case.result["cells"].max())
    console.say(
        f"distortion of {len(cases)} cases with real cells: at most "
        f"{100 * worst.result['cells'].max():.2f} % ({worst.name}), where it was "
        f"{100 * worst.result['before'].max():.2f} % without a cloak."
    )


def _check(config) -> tuple[list[str], list[str], list[str]]:
    """Return columns, references and tests; refuse what cannot work."""
    check_least(config, LEAST)
    if config.cell_voxels % config.stl_voxels or config.stl_voxels % 2:
        raise InputError(
            f"stl_voxels={config.stl_voxels} does not divide cell_voxels="
            f"{config.cell_voxels}. Set --config.stl_voxels to an even number that "
            "does."
        )
    if not config.cell_size_mm > 0:
        raise InputError(
            f"cell_size_mm={config.cell_size_mm:g} is not positive. Pass the edge of a "
            "cell in millimetres."
        )
    return (
        _names(config.columns, "columns", cloak.SHAPES),
        _names(config.references, "references", None),
        _names(config.tests, "tests", tuple(TESTS)),
    )


def _names(text: str, key: str, known: tuple[str, ...] | None) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        fits = (
            name in known
            if known
            else name and (name in ("plates", "isotropic") or name.isdecimal())
        )
        if not fits:
            usual = known or ("plates", "isotropic", "the number of a cell")
            raise InputError(
                f"{key}={text!r} holds {name!r}. Use {', '.join(usual)}, or several "
                "joined by commas."
            )
    return names


def _pool(config, name, data, edge, void, state) -> Pool:
    """Return the cells to choose from in a body, from its file if there is one."""
    file = state / f"pool_{name}_{edge}_{void:g}.npz"
    held = saved.load_if_good(file)
    if held is not None:
        return Pool(**held)
    evaluate = interface.make_evaluate(edge // 2, void=void)
    body = _body(config, name, data, edge // 2, evaluate)
    with console.progress(f"{name}, cells that fit", config.pool + 1) as advance:
        pool = cloak_pool.make_pool(
            data, body, evaluate, most=config.pool, advance=lambda: advance(1)
        )
    saved.save(file, pool._asdict())
    console.say(f"{name}: {len(pool.number)} cells of {edge}^3 voxels fit the body")
    return pool


def _body(config, name, data, m, evaluate) -> np.ndarray:
    """Return the octant of the cell of the body, m voxels a side."""
    octants, constants, volume = data
    if name == "plates":
        return plates.plate_lattice(m, {"sc": WALL})
    if name == "isotropic":
        near = np.flatnonzero(abs(volume - config.reference_volume) <= BAND)
        if not near.size:
            raise InputError(
                f"no cell of the dataset has a volume within {BAND:g} of "
                f"reference_volume={config.reference_volume:g}. Pass one of "
                f"{volume.min():.2f} to {volume.max():.2f}."
            )
        zener = elasticity.moduli(constants[near])["zener"]
        rows = near[np.argsort(abs(np.log(zener)))][:TRIED]
    else:
        rows = [int(name)]
        if rows[0] >= len(octants):
            raise InputError(
                f"references={name} is no cell of the dataset, which holds "
                f"{len(octants)}. Pass 0 to {len(octants) - 1}."
            )
    found = [resolved.coarsened(octants[row], m) for row in rows]
    found = [octant for octant in found if octant is not None]
    if not found:
        raise InputError(
            f"references={name} falls apart at {2 * m}^3 voxels. Set "
            "--config.cell_voxels and --config.check_voxels to more."
        )
    # What is isotropic at the dataset's resolution need not be at a lower one.
    return cloak_pool.isotropic_body(data, found, evaluate)


def _case(config, case: Case, make, file) -> Case:
    """Return a case with its result, from `file` if it was done before."""
    label = f"{case.column}, {case.kind}, {case.test.name}"
    held = saved.load_if_good(file)
    if held is not None and len(held["pick"]) == case.where.num_classes:
        console.say(f"{label}: {100 * held['cells'].max():.2f} % with real cells")
        return case.with_result(held)
    begun = time.perf_counter()
    model = make(case.pool.constants[-1])
    console.say(f"{label}: {100 * model.before.max():.2f} % without a cloak")
    wanted, choice = _find(config, label, model, case.pool, case.where)
    result = {
        "before": np.asarray(model.before),
        "designed": np.asarray(model.distortion(wanted)),
        "nearest": np.asarray(choice.nearest),
        "cells": np.asarray(choice.distortion),
        "pick": choice.pick,
        "wanted": wanted,
        **_fields(case, model, choice.pick),
        "seconds": np.array(time.perf_counter() - begun),
    }
    saved.save(file, result)
    console.say(
        f"{label}: designed {100 * result['designed'].max():.2f} %, nearest cells "
        f"{100 * result['nearest'].max():.2f} %, cells chosen "
        f"{100 * result['cells'].max():.2f} %"
    )
    return case.with_result(result)


def _find(config, label, model, pool, where):
    """Return the constants designed, and the cells chosen for them."""
    share = 1 if len(model.wanted) == 1 else SEVERAL
    steps, exchanges = config.steps // share, max(config.exchanges // share, 1)
    start = np.tile(pool.constants[-1], (where.num_classes, 1))
    excess = region.make_excess(pool.constants)
    with console.progress(label, steps + exchanges) as advance:

        def after(step, each):
            advance(1, info=f"{100 * each.max():.2f} %")

        wanted = cloak.design(model, start, excess, steps=steps, after=after)
        choice = assign.choose(
            model, wanted, pool.constants, steps=exchanges, after=after
        )
    return wanted, choice


def _fields(case: Case, model, pick) -> dict[str, np.ndarray]:
    """Return the displacements of the load that is worst with the cells."""
    constants = case.pool.constants
    classes = np.tile(constants[-1], (case.where.num_classes, 1))
    before, _ = model.response(model.field(classes))
    after, info = model.response(model.field(constants[pick]))
    if not bool(info.converged.all()):
        console.note(f"{case.name}: the displacement has not converged.")
    load = int(np.argmax(model.distortion(constants[pick])))
    return {
        "u_wanted": model.wanted[load],
        "u_before": np.asarray(before[load]),
        "u_cells": np.asarray(after[load]),
        "load": np.array(load),
    }


def _resolve(config, column, pool: Pool) -> dict:
    """Cloak a slab, resolve it voxel by voxel, and return what was promised."""
    shape = (config.check_cells, config.check_cells, 1)
    where, test = cloak.body(shape, column), cloak.gripped(shape)
    model = cloak.make_model(where, test)(pool.constants[-1])
    label = f"slab of {shape[0]} x {shape[1]} cells at {config.check_voxels} voxels"
    _, choice = _find(config, label, model, pool, where)
    last = len(pool.number) - 1
    plain = np.full(shape, last)
    hollow = np.where(where.hole, -1, last)
    hidden = report.filled(where, choice.pick, last)
    begun = time.perf_counter()
    seen = resolved.check(
        where, (plain, hollow, hidden), pool.octants, pool.constants, cloak.gripped
    )
    if not seen.converged:
        console.note("check: a displacement has not converged.")
    (_, promised), (before, after) = seen.promised, seen.resolved
    console.say(
        f"{label} each: distortion {100 * before:.2f} % without and {100 * after:.2f} "
        f"% with a cloak, by their tensors {100 * promised:.2f} %."
    )
    facts = {
        "cells": list(shape),
        "voxels along a cell": config.check_voxels,
        "test": test.name,
        "column": column,
        "C11, C12, C44 of the body": pool.constants[-1].tolist(),
        "seconds": time.perf_counter() - begun,
    }
    return facts | seen._asdict()
