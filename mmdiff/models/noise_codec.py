"""Both ways between a cell and the noise that the deterministic sampler makes it of.

A clean octant is no typical state of the last time, whose states carry its noise: as it
stands, it leads to noise of a quarter of the variance that sampling starts from. It is
given that noise first. Self-conditioning is left out, since the way down would see
other estimates than the way up, and cells would not come back.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from mmdiff.diffusion import samplers
from mmdiff.diffusion.conditions import Conditions
from mmdiff.diffusion.inversion import invert
from mmdiff.diffusion.process import q_sample, symmetric_noise, without_previous
from mmdiff.diffusion.schedule import Schedule, schedule_from_dict
from mmdiff.models.denoiser import make_denoiser
from mmdiff.models.unet import UNet
from mmdiff.typing import Array, Denoiser, Float


class NoiseCodec(NamedTuple):
    """Both directions between an octant and its noise, compiled.

    Attributes:
      encode: `encode(key, x0, cond) -> noise`; x0 (n, n, n) in {-1, +1}, cond (k,).
      decode: `decode(noise, cond, wanted=None) -> x0` in [-1, 1].
    """

    encode: Callable[..., Float[Array, "n n n"]]
    decode: Callable[..., Float[Array, "n n n"]]


def make_noise_codec(
    denoise: Denoiser,
    schedule: Schedule,
    *,
    steps: int = 16,
    iterations: int = 3,
    guide: Callable | None = None,
) -> NoiseCodec:
    """Return the two directions of the deterministic sampler.

    Args:
      denoise: predicts x0.
      schedule: noise schedule of the denoiser.
      steps: DDIM steps each way.
      iterations: evaluations of the denoiser per step of the inversion.
      guide: `guide(x0, t, wanted) -> x0` for batches, on the way back only and where
        `wanted` is given; see `mmdiff.design.generate.fem_guidance`.
    """
    denoise = without_previous(denoise)
    times = samplers.time_grid(schedule, steps)

    @jax.jit
    def encode(key, x0, cond):
        noise = symmetric_noise(key, x0.shape[-1], x0.dtype)
        x = q_sample(x0, noise, schedule.gamma(times[-1]).astype(x0.dtype))
        found = invert(
            denoise, x[None], cond[None], times, schedule=schedule,
            iterations=iterations,
        )  # fmt: skip
        return found[0]

    @jax.jit
    def decode(noise, cond, wanted=None):
        correct = None
        if guide is not None and wanted is not None:

            def correct(x0, t):
                return guide(x0, t, wanted)

        return samplers.ddim(
            denoise, noise[None], cond[None], times, schedule=schedule, correct=correct
        )[1][0]

    return NoiseCodec(encode, decode)


def load_noise_codec(params, meta: dict, **settings) -> tuple[NoiseCodec, Conditions]:
    """Return the codec of a trained network, and the conditions it knows.

    Args:
      params: parameters of the network.
      meta: header of the weights file, see `mmdiff.models.weights`.
      **settings: as for `make_noise_codec`.
    """
    schedule = schedule_from_dict(meta["schedule"])
    apply = make_denoiser(UNet(**meta["model"]), schedule)

    def denoise(x, t, x0_prev, cond):
        return apply(params, x, t, x0_prev, cond)

    scaling = Conditions.from_dict(meta["cond"])
    return make_noise_codec(denoise, schedule, **settings), scaling


def spherical(first, second, theta: float):
    """Return cos(theta) first + sin(theta) second, the noise at an angle in radians.

    Of independent standard normal noises this is standard normal too; of a straight
    line between them it is not.
    """
    return np.cos(theta).astype(first.dtype) * first + (
        np.sin(theta).astype(first.dtype) * second
    )


def returned(x0, octant) -> float:
    """Return the share of voxels of a sampled field (n, n, n) that equal an octant's.

    Args:
      x0: field, solid where positive.
      octant: (n, n, n) of 0 and 1.
    """
    return float(np.mean((np.asarray(x0) > 0) == (np.asarray(octant) > 0.5)))
