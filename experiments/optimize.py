"""Optimize a cell: starts, design loop, moved surface, check, files."""

import functools
import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from mmdiff.cells.mend import LIMIT, Printing
from mmdiff.design.generate.pipeline import limits_of
from mmdiff.design.optimize import problem, properties, ranking, report, runs, starts
from mmdiff.design.optimize.method import Method
from mmdiff.design.optimize.problem import Constraints, Request
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console


def run(config: ConfigDict, folder: pathlib.Path) -> None:
    """Optimize cells as the config asks and write them to `folder`."""
    ask, method = _check(config)
    request = ask()
    notes = console.notes(request.notes)
    state = folder / "state"
    state.mkdir(exist_ok=True)

    def lattices():
        file, options = state / "plates.npz", {"nu": method.nu, **method.solver}
        return starts.plate_lattices(
            file, method.n, config.vf, symmetry=method.symmetry, **options
        )

    def make(kind):
        return _starts(kind, config, request, method, lattices)

    kinds, count = starts.kinds(config.start), config.num_starts
    begun = starts.stored(state / "starts.npz", kinds, make, count)
    entries = runs.run_stored(begun, ask, method, folder, processes=config.workers)
    best = ranking.ranked(entries)[0]
    notes += console.notes(ranking.failures(entries))
    base, nu = config.base.E, config.base.nu
    report.write_history(folder, entries, request.goal, base, nu)
    if best.flaws:
        raise InputError(
            f"none of {len(begun)} starts gave the cell that was asked for (start "
            f"{best.start}: {best.flaws[0]}). Try more starts with `num_starts`, more "
            "steps with `steps`, a larger `volume`, or weaker constraints."
        )
    settings = {
        "base_E": base,
        "base_nu": nu,
        **{name: config.solver[name] for name in ("void", "tol")},
        **{n: config[n] for n in ("symmetry", "resolution", "cell_size_mm", "recheck")},
        "settings": config.to_dict(),
    }
    plates, goal = lattices(), request.goal
    results = properties.collect(entries, config.num_best, plates, goal, settings)
    notes += console.notes(properties.remarks(results, method.printing))
    found = report.report(results, notes)
    console.notes(write(folder, found))
    console.table(properties.table(results), properties.HEADER)
    console.say(found.values["summary"])


def _check(config) -> tuple[Callable[[], Request], Method]:
    """Return what gives the request, and the method; refuse what cannot work."""
    same = (
        *("design_resolution", "symmetry", "radius", "robust"),
        *("steps", "refine_steps", "resolution"),
    )
    limits = limits_of(config.to_dict())
    method = Method(
        **{name: config[name] for name in same},
        chunk=config.store_every,
        nu=config.base.nu,
        solver=config.solver.to_dict(),
        printing=Printing(
            limits.get("min_wall", LIMIT),
            limits.get("min_gap", LIMIT),
            config.drainable,
        ),
    )
    kinds = starts.kinds(config.start)
    for kind in kinds:
        method.settings(runs.stages_of(kind))
    ask = functools.partial(
        problem.request,
        config.objective,
        Constraints(config.vf, config.vf_is, config.isotropy, config.min_E),
        target=config.target,
        weights=config.weights,
        base=config.base.E,
        nu=config.base.nu,
        symmetry=config.symmetry,
        allow_infeasible=config.allow_infeasible,
    )
    target = ask().target
    for kind in kinds:
        starts.check(kind, method, target)
    return ask, method


def _starts(kind, config, request, method, lattices) -> starts.Starts:
    """Return the starts of a kind."""
    n, count, seed = method.n, config.num_starts, config.seed
    if kind == "dataset":
        options = {"drainable": method.printing.drainable, "nu": method.nu}
        return starts.dataset_starts(request, n, count=count, **options)
    if kind == "random":
        options = {"symmetry": config.symmetry, "waves": config.waves}
        return starts.random_starts(count, n, config.vf, seed=seed, **options)
    if kind == "plates":
        return starts.plate_starts(lattices())
    if kind == "generated":
        return starts.generated_starts(
            request.target, n, count=count, seed=seed, nu=method.nu, **method.solver
        )
    names = ("key", "index", "symmetry", "input_is", "scale")
    options = {name: config[name] for name in names}
    return starts.file_starts(pathlib.Path(kind), n, **options)
