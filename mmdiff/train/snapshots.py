"""Pictures of samples while a network is trained: the same targets and noise each time.

Samples are drawn as the network has them, without guidance and clean-up, so that the
pictures show what it has learned.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.diffusion import samplers
from mmdiff.diffusion.conditions import Conditions
from mmdiff.diffusion.schedule import Schedule
from mmdiff.io import plots, render
from mmdiff.models.denoiser import Apply
from mmdiff.typing import Float, UInt8


def make_snapshots(
    apply: Apply,
    folder: pathlib.Path,
    octants: UInt8[np.ndarray, "b n n n"],
    cond: Float[np.ndarray, "b k"],
    *,
    conditions: Conditions,
    schedule: Schedule,
    seed: int = 0,
    steps: int = 16,
    size: int = 256,
) -> Callable[[int, Any], None]:
    """Return `snapshot(step, params)`, which writes `samples_STEP.png`.

    The upper row shows cells, the lower one what is drawn for their conditions.

    Args:
      apply: apply(params, x, t, x0_prev, cond) -> x0.
      folder: existing directory.
      octants: the cells of the upper row.
      cond: their raw conditions, the volume fraction last.
      conditions: scaling of the raw conditions.
      schedule: noise schedule the network is trained on.
      seed: of the noise.
      steps: evaluations of the network per sample.
      size: pixels per side of each cell.
    """
    n = octants.shape[-1]
    scaled = conditions.normalize(jnp.asarray(cond))
    # Training folds step numbers into the same seed; it never gets that far.
    key = jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 2))

    @jax.jit
    def draw(params):
        denoise = functools.partial(apply, params)
        return samplers.sample(key, denoise, scaled, n, schedule=schedule, steps=steps)

    def picture(octant):
        cell = octant_to_cell(octant)
        return render.render(cell, size=size, cutaway=render.cutaway(cell))

    above = [picture(octant) for octant in np.asarray(octants)]
    asked = [f"asked V {values[-1]:.2f}" for values in cond]

    def snapshot(step: int, params: Any) -> None:
        drawn = (np.asarray(draw(params)) > 0).astype(np.uint8)
        got = [f"step {step}: V {octant.mean():.2f}" for octant in drawn]
        plots.contact_sheet(
            folder / f"samples_{step:06d}.png",
            [*above, *map(picture, drawn)],
            [*asked, *got],
            columns=len(above),
        )

    return snapshot
