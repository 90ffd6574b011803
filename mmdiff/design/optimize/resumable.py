"""One start developed into a checked binary cell, in steps that survive a kill.

The design loop runs in chunks. After each one its whole state goes to a file, so that a
killed run loses one chunk at most and goes on to the same bits; a finished start leaves
a small file of its own and is never done again. Files that cannot be read are done anew
with a note: everything follows from the settings.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.errors import DataError
from mmdiff.run import console, saved
from mmdiff.topopt import binary
from mmdiff.topopt.binary import Design
from mmdiff.topopt.interface import Evaluation
from mmdiff.topopt.optimize import COLUMNS, Loop, Settings
from mmdiff.topopt.problem import Limits, Problem
from mmdiff.typing import Bool, Float, Int, UInt8

SHOWN = 7  # designs on the way that are kept for pictures


class Outcome(NamedTuple):
    """What became of a start; arrays only, base E = 1.

    Attributes:
      start: density it began with.
      density: physical density at the end of the loop.
      octant: refined binary octant, all void where no connected part was left.
      constants: 3 (cubic) or 9 (orthotropic) of the octant; NaN if it is void.
      residual: relative residual of its worst load.
      converged: whether all loads met the tolerance.
      value: objective of the octant.
      pieces_found: periodic pieces before the clean-up.
      refinement: (value, violation, volume) after each accepted step of the binary
        refinement, the design before it first; NaN beyond.
      history: one line per design step, see `optimize.COLUMNS`; NaN beyond.
      snapshots: densities on the way, 255 solid; those beyond `when` are empty.
      when: design step of each snapshot, -1 where there is none.
    """

    start: Float[np.ndarray, "n n n"]
    density: Float[np.ndarray, "n n n"]
    octant: UInt8[np.ndarray, "n n n"]
    constants: Float[np.ndarray, "k"]
    residual: Float[np.ndarray, ""]
    converged: Bool[np.ndarray, ""]
    value: Float[np.ndarray, ""]
    pieces_found: Int[np.ndarray, ""]
    refinement: Float[np.ndarray, "r 3"]
    history: Float[np.ndarray, "s c"]
    snapshots: UInt8[np.ndarray, "t n n n"]
    when: Int[np.ndarray, "t"]

    @property
    def steps(self) -> int:
        """Number of design steps done."""
        return int(np.isfinite(self.history[:, 0]).sum())


class Progress(NamedTuple):
    """What is stored after each chunk; `snapshots` and `when` as in `Outcome`."""

    state: Any
    snapshots: Any
    when: Any


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What every start of one grid is developed with.

    Attributes:
      loop: the design loop with its functions jitted.
      limits: numbers of the problem.
      finish: `density -> binary.Design`.
      steps: most design steps of the loop.
      refine_steps: most steps of `finish`.
      num_constants: 3 or 9, see `Outcome.constants`.
      chunk: design steps between two stored states.
    """

    loop: Loop
    limits: Limits
    finish: Callable[[np.ndarray], Design]
    steps: int
    refine_steps: int
    num_constants: int
    chunk: int


def jitted(loop: Loop) -> Loop:
    """Return the loop with each of its functions compiled."""
    return Loop(*map(jax.jit, loop))


def make_workshop(
    loop: Loop,
    problem: Problem,
    limits: Limits,
    settings: Settings,
    evaluate: Callable[..., Evaluation],
    *,
    refine_steps: int,
    chunk: int,
) -> Workshop:
    """Return the workshop of a problem.

    Args:
      loop: of the problem and the settings, `jitted`; its limits may be others.
      problem: what is asked.
      limits: its numbers.
      settings: of the loop.
      evaluate: finite elements on a binary octant of the same size.
      refine_steps: most steps of the binary refinement.
      chunk: design steps between two stored states.
    """

    def finish(density):
        return binary.finish(
            density,
            problem,
            limits,
            evaluate,
            symmetry=settings.symmetry,
            steps=refine_steps,
        )

    return Workshop(
        loop=loop,
        limits=limits,
        finish=finish,
        steps=settings.steps,
        refine_steps=refine_steps,
        num_constants=3 if settings.symmetry == "cubic" else 9,
        chunk=chunk,
    )


def develop(
    start: Float[np.ndarray, "n n n"],
    name: str,
    folder: pathlib.Path,
    shop: Workshop,
    after: Callable[[int, dict], None] = lambda step, line: None,
) -> Outcome:
    """Return the outcome of a start, going on from what is stored of it.

    Args:
      start: density in [0, 1].
      name: names the files of this start.
      folder: existing directory for them.
      shop: loop and settings.
      after: called after each chunk is stored, with the number of steps done and the
        last line of the history by column.
    """
    finished = folder / f"result_{name}.npz"
    halfway = folder / f"state_{name}.npz"
    outcome = _load(finished, _outcome_like(start, shop), name)
    if outcome is not None:
        halfway.unlink(missing_ok=True)
        return outcome
    start = np.asarray(start, np.float32)
    progress = _load(halfway, _progress_like(start, shop), name)
    if progress is None:
        progress = _begin(start, shop)
    state, snapshots, when = progress
    while not shop.loop.done(state):
        state = shop.loop.run(state, shop.limits, shop.chunk)
        total = int(state.total)
        taken = -(-total // shop.chunk)
        snapshots[taken] = _grey(shop.loop.density(state))
        when[taken] = total
        saved.save(halfway, Progress(state, snapshots, when))
        line = np.asarray(state.history[total - 1], float)
        after(total, dict(zip(COLUMNS, line.tolist(), strict=True)))
    outcome = _close(start, Progress(state, snapshots, when), shop)
    saved.save(finished, outcome)
    halfway.unlink(missing_ok=True)
    return outcome


def _begin(start, shop) -> Progress:
    room = 1 + -(-shop.steps // shop.chunk)
    snapshots = np.zeros((room, *start.shape), np.uint8)
    snapshots[0] = _grey(start)
    when = np.full(room, -1, np.int32)
    when[0] = 0
    return Progress(shop.loop.init(jnp.asarray(start)), snapshots, when)


def _close(start, progress, shop) -> Outcome:
    """Return the outcome of a finished loop: its binary cell, refined."""
    state, snapshots, when = progress
    density = np.asarray(shop.loop.density(state))
    design = shop.finish(density)
    constants = np.full(shop.num_constants, np.nan)
    residual, converged = np.nan, False
    if design.evaluation is not None:
        constants = np.asarray(design.evaluation.constants, np.float64)
        residual = design.evaluation.residual
        converged = design.evaluation.converged
    refinement = np.full((shop.refine_steps + 1, 3), np.nan)
    refinement[: len(design.history)] = np.reshape(design.history, (-1, 3))
    taken = np.flatnonzero(when >= 0)
    chosen = taken[np.linspace(0, len(taken) - 1, min(SHOWN, len(taken))).astype(int)]
    kept = np.zeros((SHOWN, *start.shape), np.uint8)
    kept[: len(chosen)] = snapshots[chosen]
    steps = np.full(SHOWN, -1, np.int32)
    steps[: len(chosen)] = when[chosen]
    return Outcome(
        start,
        density,
        np.asarray(design.octant, np.uint8),
        constants,
        np.float64(residual),
        np.bool_(converged),
        np.float64(design.value),
        np.int32(design.pieces_found),
        refinement,
        np.asarray(state.history),
        kept,
        steps,
    )


def _grey(density) -> np.ndarray:
    return np.round(255 * np.asarray(density)).astype(np.uint8)


def _progress_like(start, shop) -> Progress:
    state = jax.eval_shape(shop.loop.init, start)
    room = 1 + -(-shop.steps // shop.chunk)
    snapshots = jax.ShapeDtypeStruct((room, *start.shape), np.uint8)
    return Progress(state, snapshots, jax.ShapeDtypeStruct((room,), np.int32))


def _outcome_like(start, shop) -> Outcome:
    state = jax.eval_shape(shop.loop.init, jnp.float32(start))
    grid = start.shape

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype)

    return Outcome(
        start=array(grid, np.float32),
        density=array(grid, np.float32),
        octant=array(grid, np.uint8),
        constants=array((shop.num_constants,), np.float64),
        residual=array((), np.float64),
        converged=array((), np.bool_),
        value=array((), np.float64),
        pieces_found=array((), np.int32),
        refinement=array((shop.refine_steps + 1, 3), np.float64),
        history=array(state.history.shape, np.float32),
        snapshots=array((SHOWN, *grid), np.uint8),
        when=array((SHOWN,), np.int32),
    )


def _load(path, like, name):
    """Return what a file holds, or None where it is missing or cannot be used."""
    if not path.exists():
        return None
    try:
        return saved.load(path, like)
    except DataError as error:
        console.note(f"{error} Start {name} is done again from its beginning.")
        return None
