"""Runs of all starts of a problem."""

import functools
import pathlib
from collections.abc import Callable

from mmdiff.design.optimize import ranking, resumable
from mmdiff.design.optimize.method import Method, make_run_spec
from mmdiff.design.optimize.problem import Request
from mmdiff.design.optimize.ranking import Entry
from mmdiff.design.optimize.starts import Starts
from mmdiff.run import console, workers
from mmdiff.topopt.optimize import FINE_STAGES, STAGES, Stage


def stages_of(kind: str) -> tuple[Stage, ...]:
    """Return the continuation of a kind of start; cells have a topology to be kept."""
    return STAGES if kind == "random" else FINE_STAGES


def run_starts(begun: Starts, request: Request, method: Method) -> list[Entry]:
    """Return the starts with their outcomes, done in turn; nothing is written."""
    unit = _make_unit(request, method, None)
    return [unit(i, *start) for i, start in enumerate(begun)]


def run_stored(
    begun: Starts,
    ask: Callable[[], Request],
    method: Method,
    folder: pathlib.Path,
    *,
    processes: int = 0,
) -> list[Entry]:
    """Return the starts with their outcomes, each kept in the folder of the run.

    Starts are units of work; 0 processes are one on every core. `ask` is importable by
    name, a `functools.partial` of `problem.request`.
    """
    kinds = [stages_of(kind) for kind, _ in begun]
    total = sum(sum(s.steps for s in method.settings(k).stages) for k in kinds)
    prepare = functools.partial(make_unit, ask, method, folder)
    units = [(i, *start) for i, start in enumerate(begun)]
    with console.progress("design steps", total) as advance:
        found = workers.run_units(prepare, units, workers=processes, on_advance=advance)
        return [entry for _, entry in sorted(found, key=lambda one: one[0])]


def make_unit(
    ask: Callable[[], Request], method: Method, folder: pathlib.Path
) -> Callable[..., Entry]:
    """Return `unit(number, kind, grid)`, the outcome of a start."""
    return _make_unit(ask(), method, folder)


def _make_unit(request, method, folder):
    @functools.lru_cache
    def spec_of(stages):
        return make_run_spec(request.problem, request.limits, method, stages)

    def unit(number, kind, grid) -> Entry:
        spec = spec_of(stages_of(kind))

        def show(line):
            volume = line["volume"]
            score = request.goal.score(line["value"], volume, spec.settings.nu)
            return f"{request.goal.show(score)}, V {volume:.3f}"

        files = {"name": f"{number:03d}", "label": number, "folder": folder}
        told = workers.advance
        outcome = resumable.tracked(grid, spec, **files, advance=told, show=show)
        flaws = ranking.flaws(outcome, spec.problem, spec.limits)
        return Entry("", number, kind, outcome, flaws)

    return unit
