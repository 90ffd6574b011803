"""Pictures of samples while a network is trained: the same targets and noise each time.

Surfaces are drawn as the network has them, without guidance and clean-up, so that the
pictures show what it has learned.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import surface
from mmdiff.cells.distance import CLIP
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.diffusion import samplers
from mmdiff.io import plots, render
from mmdiff.train.denoising import Examples
from mmdiff.train.step import Diffusion, to_x0

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

    The upper row shows some cells, the lower one samples for their conditions. A sample
    takes `steps` evaluations, a picture `size` pixels.
    """
    rows = np.linspace(0, len(data.packed) - 1, SHOWN).astype(int)
    known, cond = np.asarray(to_x0(data.packed[rows])), data.cond[rows]
    asked = cond[:, diffusion.conditions.names.index("V")]
    n, schedule = known.shape[-1], diffusion.schedule
    scaled = diffusion.conditions.normalize(jnp.asarray(cond))
    # Training folds step numbers into the same seed; it never gets that far.
    key = jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 2))

    @jax.jit
    def draw(params):
        denoise = functools.partial(diffusion.apply, params)
        times = samplers.time_grid(steps)
        return samplers.sample(key, denoise, scaled, n, schedule=schedule, times=times)

    def snapshot(step: int, params: Any) -> None:
        drawn = np.asarray(draw(params))
        captions = [f"asked V {value:.2f}" for value in asked]
        captions += [f"step {step}: V {surface.volume(x0):.2f}" for x0 in drawn]
        images = [_picture(x0, size) for x0 in (*known, *drawn)]
        path = folder / f"samples_{step:06d}.png"
        plots.contact_sheet(path, images, captions, columns=SHOWN)

    return snapshot


def _picture(x0, size):
    """Return a picture of the surface of a field."""
    psi = CLIP * x0
    voxels = octant_to_cell(surface.voxels(psi, 2 * psi.shape[-1]))
    return render.render(voxels, psi=psi, size=size, cutaway=render.cutaway(voxels))
