"""Runs of all starts of a problem."""

import contextlib
import pathlib

from mmdiff.design.optimize import ranking, resumable
from mmdiff.design.optimize.method import Method, make_run_spec
from mmdiff.design.optimize.problem import Request
from mmdiff.design.optimize.ranking import Entry
from mmdiff.design.optimize.starts import Starts
from mmdiff.run import console
from mmdiff.topopt.optimize import FINE_STAGES, STAGES, Stage

_HIDDEN = contextlib.nullcontext(lambda steps, info="": None)  # progress of no run


def stages_of(kind: str) -> tuple[Stage, ...]:
    """Return the continuation of a kind of start; cells have a topology to be kept."""
    return STAGES if kind == "random" else FINE_STAGES


def run_starts(
    begun: Starts, request: Request, method: Method, folder: pathlib.Path | None = None
) -> list[Entry]:
    """Return the starts with their outcomes; without a folder nothing is written."""
    specs = {
        stages: make_run_spec(request.problem, request.limits, method, stages)
        for stages in {stages_of(kind) for kind, _ in begun}
    }
    total = sum(specs[stages_of(kind)].settings.steps for kind, _ in begun)
    shown = console.progress("design steps", total) if folder else _HIDDEN
    with shown as advance:
        return [
            _run(i, kind, grid, request, specs[stages_of(kind)], folder, advance)
            for i, (kind, grid) in enumerate(begun)
        ]


def _run(number, kind, grid, request, spec, folder, advance) -> Entry:
    """Return the outcome of one start."""

    def show(line):
        volume = line["volume"]
        score = request.goal.score(line["value"], volume, spec.settings.nu)
        return f"{request.goal.show(score)}, V {volume:.3f}"

    files = {"name": f"{number:03d}", "label": number, "folder": folder}
    outcome = resumable.tracked(grid, spec, **files, advance=advance, show=show)
    flaws = ranking.flaws(outcome, spec.problem, spec.limits)
    return Entry("", number, kind, outcome, flaws)
