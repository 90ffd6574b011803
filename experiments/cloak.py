"""Hide a hole: design the cells around it, take real ones, and check what they do."""

import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff import assets, elasticity
from mmdiff.data import store
from mmdiff.design import cloak, cloak_cells, cloak_files, reachable, resolved
from mmdiff.design.cloak_files import Case
from mmdiff.errors import InputError
from mmdiff.io import console, stored, workdir
from mmdiff.topopt import interface, plates

TESTS = {"pull": cloak.pulled, "strains": cloak.strained}
WALL = 1 / 8  # of the plates, two of which meet, by the edge of the cell
BAND = 0.02  # of the volume of the isotropic reference
LEAST = {
    **{"num_cells": 4, "steps": 0, "exchanges": 1, "check_cells": 0},
    **{"check_voxels": 8, "stl_voxels": 4},
}


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Design every case that the config asks for, and write what came out."""
    columns, names, tests = _check(config)
    octants, constants, volume = store.read_dataset(
        config.data or assets.dataset_path()
    )[:3]
    octants, constants, volume = cloak_cells.with_solid(octants, constants, volume)
    n = octants.shape[-1]
    for key in ("check_voxels", "stl_voxels"):
        if 2 * n % config[key] or config[key] % 2:
            raise InputError(
                f"{key}={config[key]} does not divide the {2 * n} voxels of a cell's "
                f"edge. Set --config.{key} to an even number that does."
            )
    evaluate = interface.make_evaluate(n)
    references = {
        name: _reference(config, name, octants, constants, volume, evaluate)
        for name in names
    }
    state = folder / "state"
    state.mkdir(exist_ok=True)
    excess = reachable.make_excess(constants)
    shape = (config.num_cells,) * 3
    cases = []
    for column in columns:
        for name in tests:
            test = TESTS[name](shape)
            where = cloak.body(shape, column, mirrors=test.mirrors, swaps=test.swaps)
            make = cloak.make_model(where, test)
            for kind, reference in references.items():
                cells = cloak_cells.palette(octants, constants, reference)
                case = Case(column, kind, test, where, reference, cells)
                label = f"{column}, {kind}, {name}"
                file = state / f"{column}_{kind}_{name}.npz"
                cases.append(_case(config, case, label, make, excess, file))
    checks = {line["reference"]: line for line in workdir.read_metrics(folder)}
    for name in names if config.check_cells else ():
        if name not in checks:
            facts = _resolve(config, columns[0], references[name], octants, constants)
            checks[name] = {"reference": name, **facts}
            workdir.append_metrics(folder, checks[name])
    pool = (octants, constants, volume)
    checks = [checks[name] for name in names if name in checks]
    facts = cloak_files.write(folder, cases, pool, checks, config.to_dict())
    console.table(
        [[line.get(key) for key in cloak_files.COLUMNS] for line in facts],
        cloak_files.COLUMNS,
    )
    worst = max(cases, key=lambda case: case.result["cells"].max())
    console.say(
        f"distortion of {len(cases)} cases with real cells: at most "
        f"{100 * worst.result['cells'].max():.2f} % ({worst.name}), where it was "
        f"{100 * worst.result['before'].max():.2f} % without a cloak."
    )


def _check(config) -> tuple[list[str], list[str], list[str]]:
    """Return columns, references and tests; refuse what cannot work."""
    for key, least in LEAST.items():
        if config[key] < least:
            raise InputError(
                f"{key}={config[key]} is too small. Set --config.{key} to {least} or "
                "more."
            )
    if not config.face_weight >= 0:
        raise InputError(
            f"face_weight={config.face_weight:g} is negative. Pass 0 to leave faces "
            "out of account, or more."
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


def _reference(config, name, octants, constants, volume, evaluate):
    """Return octant and constants of the cell of the body."""
    n = octants.shape[-1]
    if name == "plates":
        octant = plates.plate_lattice(n, {"sc": WALL})
        return octant, evaluate(octant).constants
    if name == "isotropic":
        near = np.flatnonzero(abs(volume[:-1] - config.reference_volume) <= BAND)
        if not near.size:
            raise InputError(
                f"no cell of the dataset has a volume within {BAND:g} of "
                f"reference_volume={config.reference_volume:g}. Pass one of "
                f"{volume[:-1].min():.2f} to {volume[:-1].max():.2f}."
            )
        zener = elasticity.moduli(constants[near])["zener"]
        row = near[np.argmin(abs(np.log(zener)))]
    else:
        row = int(name)
        if row >= len(octants) - 1:  # the solid is the last
            raise InputError(
                f"references={name} is no cell of the dataset, which holds "
                f"{len(octants) - 1}. Pass 0 to {len(octants) - 2}."
            )
    return octants[row], constants[row]


def _case(config, case: Case, label: str, make, excess, file) -> Case:
    """Return a case with its result, from `file` if it was done before."""
    held = stored.load_if_good(file)
    if held is not None and len(held["pick"]) == case.where.num_classes:
        console.say(f"{label}: {100 * held['cells'].max():.2f} % with real cells")
        return case.with_result(held)
    begun = time.perf_counter()
    model = make(case.reference[1])
    console.say(f"{label}: {100 * model.before.max():.2f} % without a cloak")
    start = np.tile(case.reference[1], (case.where.num_classes, 1))
    with console.progress(label, config.steps + config.exchanges) as advance:

        def designing(step, each):
            advance(1, info=f"{100 * each.max():.2f} %")

        def exchanging(step, each, fit):
            advance(1, info=f"{100 * each.max():.2f} %, faces {100 * fit:.1f} %")

        wanted = cloak.design(model, start, excess, steps=config.steps, after=designing)
        choice = cloak_cells.choose(
            model,
            wanted,
            case.cells,
            cloak_cells.touching(case.where),
            steps=config.exchanges,
            weight=config.face_weight,
            after=exchanging,
        )
    result = {
        "before": np.asarray(model.before),
        "designed": np.asarray(model.distortion(wanted)),
        "nearest": np.asarray(choice.nearest),
        "cells": np.asarray(choice.distortion),
        "agreement_nearest": np.array(choice.nearest_agreement),
        "agreement": np.array(choice.agreement),
        "pick": choice.pick,
        "wanted": wanted,
        **_fields(case, model, choice.pick),
        "seconds": np.array(time.perf_counter() - begun),
    }
    stored.save(file, result)
    console.say(
        f"{label}: designed {100 * result['designed'].max():.2f} %, nearest cells "
        f"{100 * result['nearest'].max():.2f} %, cells chosen "
        f"{100 * result['cells'].max():.2f} %"
    )
    return case.with_result(result)


def _fields(case: Case, model, pick) -> dict[str, np.ndarray]:
    """Return the displacements of the load that is worst with the cells."""
    classes = np.tile(case.reference[1], (case.where.num_classes, 1))
    before, _ = model.response(model.field(classes))
    after, info = model.response(model.field(case.cells.constants[pick]))
    if not bool(info.converged.all()):
        console.note(f"{case.name}: the displacement has not converged.")
    load = int(np.argmax(model.distortion(case.cells.constants[pick])))
    return {
        "u_wanted": model.wanted[load],
        "u_before": np.asarray(before[load]),
        "u_cells": np.asarray(after[load]),
        "load": np.array(load),
    }


def _resolve(config, column, reference, octants, constants) -> dict:
    """Cloak a slab, resolve it voxel by voxel, and return what was promised."""
    shape = (config.check_cells, config.check_cells, 1)
    where = cloak.body(shape, column)
    m = config.check_voxels // 2
    evaluate = interface.make_evaluate(m, void=resolved.VOID)
    model = cloak.make_model(where, cloak.gripped(shape))
    excess = reachable.make_excess(constants)
    start = np.tile(reference[1], (where.num_classes, 1))
    wanted = cloak.design(model(reference[1]), start, excess, steps=config.steps)
    # The cells as the voxels show them, and their own tensors.
    near = cloak_cells.nearest(constants, wanted)
    found = [resolved.coarsened(octants[row], m) for row in np.unique(near)]
    found = [octant for octant in found if octant is not None]
    body = resolved.coarsened(reference[0], m)
    if body is None or not found:
        console.note(
            f"check left out: the cells fall apart at {2 * m}^3 voxels. Set "
            "--config.check_voxels to a higher resolution."
        )
        return {"left out": f"the cells fall apart at {2 * m}^3 voxels"}
    known = np.stack([evaluate(octant).constants for octant in [*found, body]])
    cells = cloak_cells.palette(np.stack(found), known[:-1], (body, known[-1]))
    choice = cloak_cells.choose(
        model(known[-1]),
        wanted,
        cells,
        cloak_cells.touching(where),
        steps=config.exchanges,
        weight=config.face_weight,
    )
    none, last = -1, len(found)
    plain = np.full(shape, last)
    hollow = np.where(where.hole, none, last)
    hidden = hollow.copy()
    hidden[where.cloak] = choice.pick[where.index]
    begun = time.perf_counter()
    seen = resolved.check(
        where, (plain, hollow, hidden), np.stack([*found, body]), known, cloak.gripped
    )
    if not seen.converged:
        console.note("check: a displacement has not converged.")
    (_, promised), (before, after) = seen.promised, seen.resolved
    console.say(
        f"slab of {shape[0]} x {shape[1]} cells at {2 * m} voxels each: distortion "
        f"{100 * before:.2f} % without and {100 * after:.2f} % with a cloak, by their "
        f"tensors {100 * promised:.2f} %."
    )
    facts = {
        "cells": list(shape),
        "voxels along a cell": 2 * m,
        "test": cloak.gripped(shape).name,
        "column": column,
        "seconds": time.perf_counter() - begun,
    }
    return facts | seen._asdict()
