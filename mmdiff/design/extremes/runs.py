"""What starts of a quest become: optimized, doubled, or varied through their noise.

Every result is kept in a file of its own below the state of the run, with the number of
finite-element solutions that it took.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff import elasticity
from mmdiff.design.extremes import quest as extreme
from mmdiff.design.extremes import variants
from mmdiff.design.extremes.quest import PROBLEM, Extreme, Quest, Shape
from mmdiff.design.extremes.starts import Evaluate, shape_of
from mmdiff.design.generate import fem_guidance
from mmdiff.design.generate.cell import binarize
from mmdiff.design.optimize import resumable
from mmdiff.models import noise_codec
from mmdiff.run import saved, workdir
from mmdiff.targets.target import of_constants
from mmdiff.topopt import binary
from mmdiff.topopt.optimize import Loop, Settings
from mmdiff.typing import Key


class Counted:
    """Finite elements that count their solutions in `count`."""

    def __init__(self, evaluate: Evaluate):
        """Wrap `evaluate`, see `interface.make_evaluate`."""
        self.evaluate, self.count = evaluate, 0

    def __call__(self, octant, fields=None):
        """Return the evaluation of an octant."""
        self.count += 1
        return self.evaluate(octant, fields)


def optimized(
    quest: Quest,
    begun: Extreme,
    grid: np.ndarray,
    folder: pathlib.Path,
    tools: tuple[Loop, Settings, Evaluate],
    *,
    refine_steps: int,
    chunk: int,
    advance: Callable[..., None] = lambda steps, info="": None,
) -> Extreme:
    """Return a start with what became of it in the design loop.

    Args:
      quest: what is asked.
      begun: the start.
      grid: (n, n, n) its density.
      folder: of the run; states go to its folder "state".
      tools: the jitted loop of `extreme.PROBLEM`, its settings, and finite elements on
        binary octants of n voxels a side.
      refine_steps: most steps of the binary refinement.
      chunk: design steps between two stored states.
      advance: told of each chunk's steps.
    """
    loop, settings, evaluate = tools
    evaluate = Counted(evaluate)
    shop = resumable.make_workshop(
        loop, PROBLEM, quest.limits, settings, evaluate,
        refine_steps=refine_steps, chunk=chunk,
    )  # fmt: skip
    state = folder / "state"
    file = state / f"count_{begun.name}.npz"
    if saved.load_if_good(file) is None:  # a result without it is made again
        (state / f"result_{begun.name}.npz").unlink(missing_ok=True)

    def finish(grey):
        # Before the result: what is there without it is counted again.
        design = shop.finish(grey)
        saved.save(file, {"solutions": np.array(evaluate.count)})
        return design

    start, done = time.perf_counter(), 0

    def after(step, line):
        nonlocal done
        advance(step - done, info=f"{begun.name}, step {step}: {line['value']:.4f}")
        done = step
        known = {"start": begun.name, "resolution": 2 * grid.shape[0], "step": step}
        seconds = time.perf_counter() - start
        workdir.append_metrics(folder, {**known, **line, "seconds": seconds})

    outcome = resumable.develop(
        grid,
        begun.name,
        state,
        dataclasses.replace(shop, finish=finish),
        after,
    )
    advance(settings.steps - done)
    shape = _solved(outcome.octant, outcome)
    return dataclasses.replace(
        begun,
        after=shape,
        flaws=extreme.flaws(quest, shape),
        steps=outcome.steps,
        solutions=outcome.steps + int(saved.load(file)["solutions"]),
    )


def _solved(octant, result) -> Shape:
    """Return an octant with the constants of a result, NaN if it did not converge."""
    constants = np.asarray(result.constants, np.float64)
    return Shape(octant, np.where(result.converged, constants, np.nan))


def varied(
    quest: Quest,
    best: Extreme,
    key: Key,
    state: pathlib.Path,
    make_bridge: Callable[[], tuple],
    evaluate: Evaluate,
    *,
    n: int,
    sizes: Sequence[float],
    spent: int,
    steps: int,
    keep: int,
    alike: float,
    loss: float,
) -> tuple[list[Extreme], float]:
    """Return variants of a cell through its noise, and how much of it comes back.

    Args:
      quest: what is asked.
      best: the cell; one of more than n voxels a side is coarsened first.
      key: of the noise.
      state: folder of what is kept.
      make_bridge: returns `path.Bridge` and the conditions; called where it is needed.
      evaluate: finite elements on octants of n voxels a side.
      n: voxels per side of the model's octants.
      sizes: share of new noise of each variant.
      spent: finite-element solutions that the bridge's guidance takes per variant; 0 to
        decode without it.
      steps: most steps of the binary refinement.
      keep: most variants in the diverse set.
      alike: share of equal voxels from which two count as one.
      loss: share of the cell's value that those in the set may lack.

    Returns:
      the variants that bear load, and the share of the cell's voxels that come back
      from its unchanged noise; none and NaN for a cell that falls apart when coarsened.
    """
    octant = variants.coarsened(best.after.octant, n)
    known = best.after
    if octant is not known.octant:
        known = shape_of(octant, evaluate)
        if not np.isfinite(known.constants).all():
            return [], np.nan
    file = state / f"noise_{quest.name}.npz"
    held = saved.load_if_good(file)
    if held is None:
        held = _decoded(known, key, make_bridge, sizes, bool(spent))
        saved.save(file, held)
    found = []
    for i, (made, refused) in enumerate(
        zip(held["octant"], held["refused"], strict=True)
    ):
        if not refused:
            begun = Extreme(
                quest.name,
                "variant",
                i,
                f"{best.name}, {sizes[i]:g} of new noise",
                Shape(made, np.full(3, np.nan)),
                spent=spent,
            )
            found.append(_refined(quest, begun, known, state, evaluate, steps))
    top = quest.merit(extreme.score(quest, known))
    good = [
        i
        for i, record in enumerate(found)
        if record.is_good
        and quest.merit(extreme.score(quest, record.after)) >= top - loss * abs(top)
    ]
    chosen = variants.diverse(
        [found[i].after.octant for i in good], octant, count=keep, alike=alike
    )
    for i in chosen:
        found[good[i]] = dataclasses.replace(found[good[i]], kept=True)
    return found, float(held["returned"])


def _decoded(known, key, make_bridge, sizes, guided) -> dict[str, np.ndarray]:
    """Return the octants that noise near a cell's own leads to, of the same volume."""
    bridge, scaling = make_bridge()
    values = map(float, [*known.constants, known.volume])
    names = (*elasticity.NAMES, "V")
    cond = scaling.from_values(**dict(zip(names, values, strict=True)))
    x0 = jnp.asarray(2.0 * known.octant - 1, jnp.float32)
    wanted = None
    if guided:
        target = of_constants(known.constants, known.volume)
        wanted = jnp.asarray(fem_guidance.target_values(target))
    noise = bridge.encode(jax.random.fold_in(key, 0), x0, cond)
    back = bridge.decode(noise, cond)
    octants, refused = [], []
    for i, size in enumerate(sizes):
        moved = variants.perturbed(jax.random.fold_in(key, 1 + i), noise, size)
        field = np.asarray(bridge.decode(moved, cond, wanted))
        octant, reason, _ = binarize(field, known.volume)
        octants.append(octant)
        refused.append(bool(reason))
    return {
        "returned": np.array(noise_codec.returned(back, known.octant)),
        "octant": np.stack(octants),
        "refused": np.array(refused),
    }


def _refined(quest, begun, optimum: Shape, state, evaluate, steps) -> Extreme:
    """Return a decoded variant after the binary refinement."""
    file = state / f"{begun.name}.npz"
    held = saved.load_if_good(file)
    if held is None:
        evaluate = Counted(evaluate)
        before = shape_of(begun.before.octant, evaluate)
        design = binary.refine(
            begun.before.octant, PROBLEM, quest.limits, evaluate, steps=steps
        )
        held = {
            "before": before.constants,
            "octant": design.octant,
            "constants": _solved(design.octant, design.evaluation).constants,
            "solutions": np.array(evaluate.count),
        }
        saved.save(file, held)
    after = Shape(held["octant"], held["constants"])
    return dataclasses.replace(
        begun,
        before=Shape(begun.before.octant, held["before"]),
        after=after,
        flaws=extreme.flaws(quest, after),
        solutions=int(held["solutions"]),
        similarity=variants.similarity(after.octant, optimum.octant),
    )
