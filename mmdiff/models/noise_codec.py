"""A field encoded as the noise that the deterministic sampler makes it of, and back.

A clean field is no typical state of the last time, whose states carry its noise: as it
stands, it leads to noise of a quarter of the variance that sampling starts from. It is
given that noise first. Self-conditioning is left out, since decoding would see other
estimates than encoding, and cells would not come back.
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
from mmdiff.models.denoiser import make_denoiser, prior_of
from mmdiff.models.network import make_network
from mmdiff.typing import Array, Denoiser, Float


class NoiseCodec(NamedTuple):
    """Both directions between a field and its noise, compiled.

    `encode(key, x0, cond) -> noise` takes x0 (n, n, n) in [-1, 1] and cond (k,);
    `decode(noise, cond, target_values=None) -> x0` gives x0 in [-1, 1].
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
      schedule: its noise schedule.
      steps: DDIM steps each way.
      iterations: evaluations of the denoiser per step of the inversion.
      guide: `guide(x0, t, target_values) -> x0` for batches; acts when decoding, where
        target values are given. See `mmdiff.design.generate.fem_guidance`.
    """
    denoise = without_previous(denoise)
    times = samplers.time_grid(steps)

    @jax.jit
    def encode(key, x0, cond):
        noise = symmetric_noise(key, x0.shape[-1], x0.dtype)
        x = q_sample(x0, noise, schedule.gamma(times[-1]).astype(x0.dtype))
        options = {"schedule": schedule, "iterations": iterations}
        return invert(denoise, x[None], cond[None], times, **options)[0]

    @jax.jit
    def decode(noise, cond, target_values=None):
        guided = guide is not None and target_values is not None
        correct = (lambda x0, t: guide(x0, t, target_values)) if guided else None
        return samplers.ddim(
            denoise, noise[None], cond[None], times, schedule=schedule, correct=correct
        )[1][0]

    return NoiseCodec(encode, decode)


def load_noise_codec(params, meta: dict, **settings) -> tuple[NoiseCodec, Conditions]:
    """Return the codec of a trained network, and its conditions.

    The arguments are those of `weights.Model` and the settings of `make_noise_codec`.
    """
    schedule = schedule_from_dict(meta["schedule"])
    apply = make_denoiser(make_network(**meta["model"]), schedule, prior_of(meta))

    def denoise(x, t, x0_prev, cond):
        return apply(params, x, t, x0_prev, cond)

    scaling = Conditions.from_dict(meta["cond"])
    return make_noise_codec(denoise, schedule, **settings), scaling


def spherical(
    first: Float[Array | np.ndarray, "n n n"],
    second: Float[Array | np.ndarray, "n n n"],
    theta: float | np.floating,
) -> Float[Array | np.ndarray, "n n n"]:
    """Return cos(theta) first + sin(theta) second, the noise at an angle in radians.

    Of independent standard normal noises this is standard normal too; of a straight
    line between them it is not.
    """
    cosine, sine = (f(theta).astype(first.dtype) for f in (np.cos, np.sin))
    return cosine * first + sine * second


def returned(
    x0: Float[Array | np.ndarray, "n n n"], known: Float[Array | np.ndarray, "n n n"]
) -> float:
    """Return the share of samples in which a decoded field has the sign of another."""
    return float(np.mean((np.asarray(x0) > 0) == (np.asarray(known) > 0)))
