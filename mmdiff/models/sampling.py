"""A trained network as a function from conditions to sampled fields."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.diffusion import conditions, guidance, samplers, schedule
from mmdiff.diffusion.process import Noise, symmetric_noise
from mmdiff.models.denoiser import make_denoiser, prior_of
from mmdiff.models.network import make_network
from mmdiff.programs import kept
from mmdiff.typing import AnyArray, Float, Scalar


def make_draw(
    params: Any,
    meta: Mapping[str, Any],
    *,
    num_samples: int,
    steps: int = 16,
    weight: float = 1.0,
    guide: Callable | None = None,
    denoiser: Callable = make_denoiser,
    initial: Noise = symmetric_noise,
) -> Callable[..., Float[np.ndarray, "b n n n"]]:
    """Return `draw(key, values, goal=None, first=0) -> (num_samples, n, n, n)`.

    Fields in [-1, 1], those from number `first` on of all that the key gives.

    `values` are raw conditions by name, such as {"C11": 0.1, "V": 0.3}, of all samples
    or one for each; those left out stay free. Compiles once for all of them. `goal`
    goes to `guide` as it is.

    Args:
      params: parameters of the network.
      meta: header of its weights file.
      num_samples: samples per call.
      steps: evaluations of the network per sample.
      weight: classifier-free guidance weight, 1 for none.
      guide: moves estimates, `guide(x0, t, goal) -> x0`; `goal` is a pytree.
      denoiser: `denoiser(model, schedule, prior) -> apply`, what the network was
        trained as.
      initial: draws the noise that sampling starts from, as in training.
    """
    scaling = conditions.Conditions.from_dict(meta["cond"])
    noise = schedule.schedule_from_dict(meta["schedule"])
    apply = denoiser(make_network(**meta["model"]), noise, prior_of(meta))
    n = int(meta["octant"])

    def run(key, params, cond, goal, first):
        key = jax.random.wrap_key_data(key)

        def denoise(x, t, x0_prev, cond):
            return apply(params, x, t, x0_prev, cond)

        correct = None if guide is None else (lambda x0, t: guide(x0, t, goal))
        return samplers.sample(
            samplers.numbered(key, num_samples, first),
            guidance.classifier_free_guidance(denoise, weight),
            cond,
            n,
            schedule=noise,
            times=samplers.time_grid(steps),
            sampler=functools.partial(samplers.dpm_solver, correct=correct),
            noise=initial,
        )

    network = (meta["model"], meta["schedule"], meta.get("prior"), n)
    run = kept(run, network, num_samples, steps, weight, guide, denoiser, initial)

    def draw(
        key, values: Mapping[str, Scalar | Float[AnyArray, "b"]], goal=None, first=0
    ):
        cond = scaling.from_values(**values)
        cond = jnp.broadcast_to(cond, (num_samples, cond.shape[-1]))
        data = jax.random.key_data(key)
        return np.asarray(run(data, params, cond, goal, np.int32(first)))

    return draw
