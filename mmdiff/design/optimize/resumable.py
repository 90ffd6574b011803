"""From a start to a checked surface, resumable.

The design loop runs in chunks. After each one its whole state goes to a file, so that a
killed run loses one chunk at most and goes on to the same bits; a finished start leaves
a small file of its own and is never done again.
"""

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import surface
from mmdiff.design.optimize.method import RunSpec
from mmdiff.run import saved, workdir
from mmdiff.topopt import finish
from mmdiff.topopt.finish import Design
from mmdiff.topopt.optimize import COLUMNS
from mmdiff.topopt.starts import is_field
from mmdiff.typing import AnyArray, Bool, Float, Int, UInt8

SHOWN = 7  # designs on the way that are kept for pictures


class Outcome(NamedTuple):
    """Result of a start; arrays only, base E = 1.

    The field is that of the moved surface, see `topopt.finish`; it has 3 (cubic) or 9
    (orthotropic) constants, NaN where no connected part was left. `refinement` holds
    value, violation and volume of the surface as designed and after each accepted step;
    `history` a line per design step, see `optimize.COLUMNS`; both are NaN beyond.
    """

    start: Float[np.ndarray, "n n n"]  # density it began with, solid shares of a field
    density: Float[np.ndarray, "n n n"]  # physical one at the end of the loop
    psi: Float[np.ndarray, "n n n"]
    constants: Float[np.ndarray, "k"]  # of the surface
    uncertainty: Float[np.ndarray, "k"]
    volume: Float[np.ndarray, ""]  # its solid share
    residual: Float[np.ndarray, ""]  # relative one of the worst load
    converged: Bool[np.ndarray, ""]  # whether all loads met the tolerance
    printable: Bool[np.ndarray, ""]  # whether it complies with what print asks
    value: Float[np.ndarray, ""]  # objective of the constants
    refinement: Float[np.ndarray, "r 3"]
    solutions: Int[np.ndarray, ""]  # of finite elements, of the surface
    history: Float[np.ndarray, "s c"]
    snapshots: UInt8[np.ndarray, "t n n n"]  # densities on the way, 255 solid
    when: Int[np.ndarray, "t"]  # design step of each snapshot, -1 where there is none

    @property
    def found(self) -> bool:
        """Whether there is a cell."""
        return bool(np.isfinite(self.constants).all())

    @property
    def steps(self) -> int:
        """Number of design steps done."""
        return int(np.isfinite(self.history[:, 0]).sum())

    @property
    def columns(self) -> dict[str, Float[np.ndarray, "s"]]:
        """The history of the steps done by the name of the column."""
        return dict(zip(COLUMNS, self.history[: self.steps].T, strict=True))


class Progress(NamedTuple):
    """State of a run after a chunk; `snapshots` and `when` as in `Outcome`."""

    state: Any
    snapshots: Any
    when: Any


def tracked(
    start: Float[AnyArray, "n n n"],
    spec: RunSpec,
    *,
    name: str,
    label: int,
    folder: pathlib.Path | None,
    advance: Callable[..., None],
    show: Callable[[Mapping[str, float]], str],
) -> Outcome:
    """Return the outcome of `run`, its progress shown and logged in metrics.jsonl.

    States go to the folder "state" in that of the run, under the name of the start; its
    label stands in the log. `advance` moves a progress bar, see `console.progress`,
    `show` returns the text of a line of the history. No folder: nothing is written.
    """
    begun, done = time.perf_counter(), 0

    def after(step, line):
        nonlocal done
        advance(step - done, info=f"start {label}, step {step}: {show(line)}")
        done = step
        if folder is not None:
            known = {"start": label, "resolution": 2 * start.shape[0], "step": step}
            seconds = time.perf_counter() - begun
            workdir.append_metrics(folder, {**known, **line, "seconds": seconds})

    state = folder and folder / "state"
    outcome = run(start, spec, name=name, folder=state, after=after)
    advance(spec.settings.steps - done)
    return outcome


def run(
    start: Float[AnyArray, "n n n"],
    spec: RunSpec,
    *,
    name: str = "",
    folder: pathlib.Path | None = None,
    after: Callable[[int, dict], None] = lambda step, line: None,
) -> Outcome:
    """Return the outcome of a start, going on from what is stored of it in a folder.

    A start that is a field has no design steps: its surface is moved on. After each
    chunk is stored, `after` is called with the number of steps done and the last line
    of the history by column.
    """
    finished = folder and folder / f"result_{name}.npz"
    halfway = folder and folder / f"state_{name}.npz"
    start = np.asarray(start, np.float32)
    known = is_field(start)
    blank = _blank(_shares(start, spec) if known else start, spec)
    outcome = finished and saved.load_if_good(finished, blank)
    if outcome is None:
        if known:
            blank.snapshots[0], blank.when[0] = _grey(blank.start), 0
            outcome = _told(blank, finish.finish_field(start, **_finishing(spec)))
        else:
            begun = _begin(start, spec)
            now = halfway and saved.load_if_good(halfway, begun)
            now = _advanced(now or begun, spec, halfway, after)
            outcome = _closed(blank, now, spec)
        if finished:
            saved.save(finished, outcome)
    if halfway:
        halfway.unlink(missing_ok=True)
    return outcome


def _shares(psi, spec) -> Float[np.ndarray, "n n n"]:
    """Return the solid shares of the elements of a field."""
    cubic = spec.settings.symmetry == "cubic"
    shares = surface.fractions(np.asarray(psi, np.float64), len(psi), cubic=cubic)
    return shares.astype(np.float32)


def _begin(start, spec) -> Progress:
    room = 1 + -(-spec.settings.steps // spec.chunk)
    snapshots = np.zeros((room, *start.shape), np.uint8)
    when = np.full(room, -1, np.int32)
    snapshots[0], when[0] = _grey(start), 0
    return Progress(spec.loop.init(jnp.asarray(start)), snapshots, when)


def _advanced(now: Progress, spec, halfway, after) -> Progress:
    """Return the state of a loop that is run to its end, chunk by chunk."""
    state, snapshots, when = now
    while not spec.loop.done(state):
        state = spec.loop.run(state, spec.limits, spec.chunk)
        total = int(state.total)
        taken = -(-total // spec.chunk)
        snapshots[taken], when[taken] = _grey(spec.loop.density(state)), total
        if halfway:
            saved.save(halfway, Progress(state, snapshots, when))
        line = np.asarray(state.history[total - 1], float)
        after(total, dict(zip(COLUMNS, line.tolist(), strict=True)))
    return Progress(state, snapshots, when)


def _blank(start, spec) -> Outcome:
    """Return the outcome of a start that led to no cell, before its first step."""
    shape = jax.eval_shape(spec.loop.init, start).history.shape
    cubic = spec.settings.symmetry == "cubic"
    unknown = np.full(3 if cubic else 9, np.nan)
    steps = finish.most_steps(spec.refine_steps)
    return Outcome(
        start=start,
        density=start,
        psi=np.full(start.shape, -1.0),
        constants=unknown,
        uncertainty=unknown,
        volume=np.array(0.0),
        residual=np.array(np.nan),
        converged=np.array(False),
        printable=np.array(False),
        value=np.array(-np.inf),
        refinement=np.full((steps + 1, 3), np.nan),
        solutions=np.array(0, np.int32),
        history=np.full(shape, np.nan, np.float32),
        snapshots=np.zeros((SHOWN, *start.shape), np.uint8),
        when=np.full(SHOWN, -1, np.int32),
    )


def _closed(blank: Outcome, now: Progress, spec) -> Outcome:
    """Return the outcome of a finished loop: its surface, moved and checked."""
    density = np.asarray(spec.loop.density(now.state))
    design = finish.finish(density, **_finishing(spec))
    taken = np.flatnonzero(now.when >= 0)
    chosen = taken[np.linspace(0, len(taken) - 1, min(SHOWN, len(taken))).astype(int)]
    blank.snapshots[: len(chosen)] = now.snapshots[chosen]
    blank.when[: len(chosen)] = now.when[chosen]
    history = np.asarray(now.state.history)
    return _told(blank._replace(density=density, history=history), design)


def _finishing(spec) -> dict[str, Any]:
    """Return the arguments of `finish.finish` by name."""
    return {
        "problem": spec.problem,
        "limits": spec.limits,
        "evaluate": spec.evaluate,
        "symmetry": spec.settings.symmetry,
        "steps": spec.refine_steps,
        "printing": spec.printing,
        "solver": spec.solver,
    }


def _told(outcome: Outcome, design: Design) -> Outcome:
    """Return an outcome with the surface of a design."""
    outcome.refinement[: len(design.history)] = np.reshape(design.history, (-1, 3))
    result = design.estimate
    if result is None:
        return outcome
    return outcome._replace(
        psi=design.psi,
        constants=result.constants,
        uncertainty=result.uncertainty,
        volume=np.array(result.volume, np.float64),
        residual=np.array(result.residual, np.float64),
        converged=np.array(result.converged, np.bool_),
        printable=np.array(not design.flaw, np.bool_),
        value=np.array(design.value, np.float64),
        solutions=np.array(design.solves, np.int32),
    )


def _grey(density) -> UInt8[np.ndarray, "n n n"]:
    return np.round(255 * np.asarray(density)).astype(np.uint8)
