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
from mmdiff.io import plots, render
from mmdiff.train.denoising import Diffusion, Examples

SHOWN = 4  # cells


def make_snapshots(
    diffusion: Diffusion,
    folder: pathlib.Path,
    data: Examples,
    *,
    seed: int = 0,
    steps: int = 16,
    size: int = 256,
) -> Callable[[int, Any], None]:
    """Return `snapshot(step, params)`, which writes `samples_STEP.png`.

    The upper row shows some cells, the lower one samples for their conditions.

    Args:
      diffusion: the denoiser.
      folder: existing directory.
      data: cells to choose from, the volume fraction last in their conditions.
      seed: of the noise.
      steps: evaluations of the network per sample.
      size: pixels per side of each cell.
    """
    rows = np.linspace(0, len(data.octant) - 1, SHOWN).astype(int)
    octants, cond = data.octant[rows], data.cond[rows]
    n, schedule = octants.shape[-1], diffusion.schedule
    scaled = diffusion.conditions.normalize(jnp.asarray(cond))
    # Training folds step numbers into the same seed; it never gets that far.
    key = jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 2))

    @jax.jit
    def draw(params):
        denoise = functools.partial(diffusion.apply, params)
        times = samplers.time_grid(schedule, steps)
        return samplers.sample(key, denoise, scaled, n, schedule=schedule, times=times)

    def picture(octant):
        cell = octant_to_cell(octant)
        return render.render(cell, size=size, cutaway=render.cutaway(cell))

    above = [picture(octant) for octant in octants]
    targets = [f"asked V {values[-1]:.2f}" for values in cond]

    def snapshot(step: int, params: Any) -> None:
        drawn = (np.asarray(draw(params)) > 0).astype(np.uint8)
        got = [f"step {step}: V {octant.mean():.2f}" for octant in drawn]
        plots.contact_sheet(
            folder / f"samples_{step:06d}.png",
            [*above, *map(picture, drawn)],
            [*targets, *got],
            columns=len(above),
        )

    return snapshot
