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

from mmdiff.diffusion import samplers
from mmdiff.io import plots
from mmdiff.train.denoising import Examples
from mmdiff.train.step import Diffusion

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

    The upper row shows some cells, the lower one samples for their conditions, of which
    the last is the volume. A sample takes `steps` evaluations, a picture `size` pixels.
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
        times = samplers.time_grid(steps)
        return samplers.sample(key, denoise, scaled, n, schedule=schedule, times=times)

    def snapshot(step: int, params: Any) -> None:
        drawn = (np.asarray(draw(params)) > 0).astype(np.uint8)
        captions = [f"asked V {values[-1]:.2f}" for values in cond]
        captions += [f"step {step}: V {octant.mean():.2f}" for octant in drawn]
        path, cells = folder / f"samples_{step:06d}.png", [*octants, *drawn]
        plots.cell_sheet(path, cells, captions, size=size, columns=SHOWN)

    return snapshot
