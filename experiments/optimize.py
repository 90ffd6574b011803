"""Optimize a cell: starts, design loop, binary refinement, check, files."""

import dataclasses
import pathlib
import time

import numpy as np
from ml_collections import ConfigDict

from mmdiff.design.optimize import problem, properties, ranking, resumable, starts
from mmdiff.design.optimize import report as optimized_files
from mmdiff.design.optimize.ranking import Entry
from mmdiff.errors import InputError
from mmdiff.fem import homogenize
from mmdiff.run import console, saved, workdir
from mmdiff.run.runner import flat
from mmdiff.topopt import binary, interface, optimize


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Optimize cells as the config asks and write them to `folder`."""
    asked = _check(config)
    for note in asked.notes:
        console.note(note)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    n = config.resolution // 2
    evaluate = _evaluate(config, n)
    begun = _starts(config, asked, evaluate, state)
    entries = _develop_all(begun, evaluate, asked, config, folder)
    ranked = ranking.ranked(entries)
    if config.double and not ranked[0].flaws:
        entries.append(_double(ranked[0], asked, config, folder))
    for text in ranking.failures(entries):
        console.note(text)
    ranked = ranking.ranked(entries)
    facts = {"base_E": config.base.E, "base_nu": config.base.nu}
    optimized_files.write_history(folder, ranked, asked.goal, facts)
    if ranked[0].flaws:
        raise InputError(
            f"none of {len(begun)} starts gave the cell that was asked for (start "
            f"{ranked[0].start}: {ranked[0].flaws[0]}). Try more starts with "
            "--config.num_starts, more steps with --config.steps, a larger vf, or "
            "weaker constraints."
        )
    chosen = ranking.named(ranked, config.num_best)
    lattices = _plates(config, evaluate, state)
    _deliver(folder, chosen, entries, lattices, asked, config)


def _check(config) -> problem.Ask:
    """Return what is asked; refuse what cannot work."""
    problem.check_numbers(flat(config.to_dict()))
    kinds = starts.kinds(config.start)
    for kind in kinds:
        _settings(config, kind, resolution=config.resolution, steps=config.steps)
    asked = problem.ask(
        config.objective,
        target=config.target,
        weights=config.weights,
        volume=config.vf,
        volume_is=config.vf_is,
        isotropy=config.isotropy,
        min_young=config.min_E,
        base=config.base.E,
        nu=config.base.nu,
        symmetry=config.symmetry,
        allow_infeasible=config.allow_infeasible,
    )
    for kind in kinds:
        starts.check(
            kind,
            resolution=config.resolution,
            symmetry=config.symmetry,
            target=asked.target,
        )
    return asked


def _settings(config, kind: str, **options) -> optimize.Settings:
    return problem.settings(
        # Starts that are cells already have a topology to be kept.
        stages=optimize.STAGES if kind == "random" else optimize.FINE_STAGES,
        symmetry=config.symmetry,
        radius=config.radius,
        robust=config.robust,
        nu=config.base.nu,
        **options,
    )


def _evaluate(config, n: int):
    return interface.make_evaluate(
        n, symmetry=config.symmetry, nu=config.base.nu, **config.solver.to_dict()
    )


def _starts(config, asked, evaluate, state) -> starts.Starts:
    """Return the starts of all kinds, from `state` if they were made before."""
    held = saved.load_if_good(state / "starts.npz")
    if held is not None:
        return list(zip(held["kind"].tolist(), held["start"], strict=True))
    found = []
    for kind in starts.kinds(config.start):
        made = _starts_of(kind, config, asked, evaluate, state)[: config.num_starts]
        if len(made) < config.num_starts:
            console.note(
                f"start={kind} gives {len(made)} of {config.num_starts} starts."
            )
        found += made
    labels, grids = zip(*found, strict=True)
    saved.save(
        state / "starts.npz", {"kind": np.array(labels), "start": np.stack(grids)}
    )
    return found


def _starts_of(kind, config, asked, evaluate, state) -> starts.Starts:
    n = config.resolution // 2
    if kind == "random":
        return starts.random_starts(
            config.num_starts, n, config.vf, symmetry=config.symmetry,
            waves=config.waves, seed=config.seed,
        )  # fmt: skip
    if kind == "plates":
        lattices = _plates(config, evaluate, state)
        return [(name, starts.soften(known[0])) for name, known in lattices.items()]
    if kind == "generated":
        return starts.generated_starts(
            asked.target, evaluate, count=config.num_starts, seed=config.seed
        )
    return starts.file_starts(
        pathlib.Path(kind), n, symmetry=config.symmetry, input_is=config.input_is,
        key=config.key, index=config.index, scale=config.scale,
    )  # fmt: skip


def _workshop(config, asked, settings, evaluate, n: int) -> resumable.Workshop:
    return resumable.make_workshop(
        resumable.jitted(optimize.make_optimize(n, asked.problem, settings)),
        asked.problem,
        asked.limits,
        settings,
        evaluate,
        refine_steps=config.refine_steps,
        chunk=config.store_every,
    )


def _develop_all(begun, evaluate, asked, config, folder) -> list[Entry]:
    """Develop every start, with progress, and return what became of each."""
    n = config.resolution // 2
    shops = {}
    for kind, _ in begun:
        options = {"resolution": config.resolution, "steps": config.steps}
        settings = _settings(config, kind, **options)
        if settings not in shops:
            shops[settings] = _workshop(config, asked, settings, evaluate, n)
        shops[kind] = shops[settings]
    total = sum(shops[kind].steps for kind, _ in begun)
    entries = []
    with console.progress("design steps", total) as advance:
        for i, (kind, grid) in enumerate(begun):
            entries.append(
                _develop(
                    i, kind, grid, f"{i:03d}", shops[kind], asked, config, folder,
                    advance,
                )
            )  # fmt: skip
    return entries


def _develop(number, kind, grid, name, shop, asked, config, folder, advance) -> Entry:
    """Develop one start; `name` is that of its files."""
    begun, done = time.perf_counter(), 0

    def show(value, volume):
        return f"{asked.goal.show(asked.goal.score(value, volume, config.base.nu))}"

    def after(step, line):
        nonlocal done
        said = f"start {number}, step {step}: {show(line['value'], line['volume'])}"
        advance(step - done, info=f"{said}, V {line['volume']:.3f}")
        done = step
        seconds = time.perf_counter() - begun
        known = {"start": number, "resolution": 2 * grid.shape[0], "step": step}
        workdir.append_metrics(folder, {**known, **line, "seconds": seconds})

    outcome = resumable.develop(grid, name, folder / "state", shop, after)
    advance(shop.steps - done)
    flaws = ranking.flaws(outcome, asked.problem, asked.limits)
    return Entry("", number, kind, outcome, flaws)


def _double(entry: Entry, asked, config, folder) -> Entry:
    """Re-optimize a cell at twice its resolution."""
    settings = _settings(config, "doubled", resolution=2 * entry.edge, steps=0)
    shop = _workshop(config, asked, settings, _evaluate(config, entry.edge), entry.edge)
    grid = binary.doubled(entry.outcome.octant)
    with console.progress(f"design steps at {2 * entry.edge}^3", shop.steps) as advance:
        found = _develop(
            entry.start, entry.kind, grid, "doubled", shop, asked, config, folder,
            advance,
        )  # fmt: skip
    return dataclasses.replace(found, name=ranking.DOUBLED)


def _plates(config, evaluate, state):
    return starts.stored_plates(
        state / "plates.npz", config.resolution // 2, config.vf, evaluate
    )


def _deliver(folder, chosen, entries, lattices, asked, config) -> None:
    """Write and show the chosen cells beside plate lattices of the same volume."""
    size = {"nu": config.base.nu, "size_mm": config.cell_size_mm}
    facts = [
        properties.numbers(entry.outcome.octant, entry.outcome.constants, **size)
        for entry in chosen
    ]
    plates = {
        name: properties.numbers(octant, constants, **size)
        for name, (octant, constants) in lattices.items()
    }
    settings = {
        "base_E": config.base.E,
        "base_nu": config.base.nu,
        "void": config.solver.void,
        "penal": homogenize.PENAL,
        "tol": config.solver.tol,
        "symmetry": config.symmetry,
        "cell_size_mm": config.cell_size_mm,
        "settings": config.to_dict(),
    }
    report = properties.report(chosen, facts, entries, plates, asked.goal, settings)
    remarks = properties.remarks(chosen, facts, config.cell_size_mm, config.min_wall)
    for text in remarks:
        console.note(text)
    report["remarks"] = [*asked.notes, *ranking.failures(entries), *remarks]
    rows = optimized_files.table(chosen, facts, plates)
    optimized_files.write(folder, chosen, facts, plates, report, asked.goal)
    console.table(rows, properties.HEADER)
    console.say(report["summary"])
