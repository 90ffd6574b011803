"""A whole optimization: starts, designs, ranking, files and what is said of them.

What is asked for comes as a function that makes the request, so that processes may make
it again; the settings as plain values by the name of their key.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mmdiff.cells.mend import LIMIT, Printing
from mmdiff.design.generate.pipeline import limits_of
from mmdiff.design.optimize import properties, ranking, report, runs, starts
from mmdiff.design.optimize.method import Method
from mmdiff.design.optimize.problem import Request
from mmdiff.design.optimize.properties import Results
from mmdiff.errors import InputError
from mmdiff.io.report import write
from mmdiff.run import console

Values = Mapping[str, Any]


def method_of(values: Values) -> Method:
    """Return the method of settings; InputError for what cannot work."""
    same = (
        *("design_resolution", "symmetry", "radius", "robust"),
        *("steps", "refine_steps", "resolution"),
    )
    limits = limits_of(values)
    method = Method(
        **{name: values[name] for name in same},
        chunk=values["store_every"],
        nu=values["base"]["nu"],
        solver=values["solver"],
        printing=Printing(
            limits.get("min_wall", LIMIT),
            limits.get("min_gap", LIMIT),
            values["drainable"],
        ),
    )
    for kind in starts.kinds(values["start"]):
        method.settings(runs.stages_of(kind))
    return method


def optimize(
    values: Values,
    ask: Callable[[], Request],
    method: Method,
    folder: pathlib.Path,
    *,
    remark: Callable[[Results], list[str]] = lambda results: [],
) -> Results:
    """Optimize cells and write them to the folder, going on where a run was killed.

    Args:
      values: the settings, see configs/optimize.py.
      ask: returns the request; importable by name, a `functools.partial`.
      method: see `method_of`.
      folder: of the run.
      remark: what is said of the results beside the usual remarks.

    Raises:
      InputError: no start gave what was asked for.
    """
    request = ask()
    kinds, count = starts.kinds(values["start"]), values["num_starts"]
    for kind in kinds:
        starts.check(kind, method, request.target)
    notes = console.notes(request.notes)
    state = folder / "state"
    state.mkdir(exist_ok=True)

    def lattices():
        file, options = state / "plates.npz", {"nu": method.nu, **method.solver}
        return starts.plate_lattices(
            file, method.n, values["vf"], symmetry=method.symmetry, **options
        )

    def make(kind):
        return _starts(kind, values, request, method, lattices)

    begun = starts.stored(state / "starts.npz", kinds, make, count)
    entries = runs.run_stored(begun, ask, method, folder, processes=values["workers"])
    best = ranking.ranked(entries)[0]
    notes += console.notes(ranking.failures(entries))
    base, nu = values["base"]["E"], values["base"]["nu"]
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
        **{name: values["solver"][name] for name in ("void", "tol")},
        **{n: values[n] for n in ("symmetry", "resolution", "cell_size_mm", "recheck")},
        "settings": dict(values),
    }
    plates, goal = lattices(), request.goal
    results = properties.collect(entries, values["num_best"], plates, goal, settings)
    notes += console.notes(properties.remarks(results, method.printing))
    notes += console.notes(remark(results))
    found = report.report(results, notes)
    console.notes(write(folder, found))
    console.table(properties.table(results), properties.HEADER)
    console.say(found.values["summary"])
    return results


def _starts(kind, values, request, method, lattices) -> starts.Starts:
    """Return the starts of a kind."""
    n, count, seed = method.n, values["num_starts"], values["seed"]
    if kind == "dataset":
        options = {"drainable": method.printing.drainable, "nu": method.nu}
        return starts.dataset_starts(request, n, count=count, **options)
    if kind == "random":
        options = {"symmetry": values["symmetry"], "waves": values["waves"]}
        return starts.random_starts(count, n, values["vf"], seed=seed, **options)
    if kind == "plates":
        return starts.plate_starts(lattices())
    if kind == "generated":
        return starts.generated_starts(
            request.target, n, count=count, seed=seed, nu=method.nu, **method.solver
        )
    names = ("key", "index", "symmetry", "input_is", "scale")
    options = {name: values[name] for name in names}
    return starts.file_starts(pathlib.Path(kind), n, **options)


def make_ask(make: Callable[..., Request], *args, **options) -> Callable[[], Request]:
    """Return what makes a request, after it was made once: it refuses here."""
    ask = functools.partial(make, *args, **options)
    ask()
    return ask
