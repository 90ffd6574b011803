"""A trained network as a function from a target to sampled fields."""

import jax
import jax.numpy as jnp

from mmdiff import elasticity
from mmdiff.design.target import Target
from mmdiff.diffusion import conditions, guidance, samplers, schedule
from mmdiff.models.unet import UNet


def make_sampler(
    params, meta: dict, *, num_samples: int, steps: int = 16, weight: float = 1.0
):
    """Return `draw(key, target) -> (num_samples, n, n, n)` fields in [-1, 1].

    Compiles once for all targets.

    Args:
      params: parameters of the network.
      meta: header of the weights file, see `mmdiff.models.weights`.
      num_samples: samples per call.
      steps: evaluations of the network per sample.
      weight: classifier-free guidance weight, 1 for none.
    """
    scaling = conditions.Conditions.from_dict(meta["cond"])
    noise = schedule.schedule_from_dict(meta["schedule"])
    network = UNet(**meta["model"])
    n = int(meta["octant"])

    @jax.jit
    def run(key, params, cond):
        def denoise(x, t, x0_prev, cond):
            return network.apply({"params": params}, x, t, x0_prev, cond)

        guided = guidance.classifier_free_guidance(denoise, weight)
        return samplers.sample(key, guided, cond, n, schedule=noise, steps=steps)

    def draw(key, target: Target):
        values = dict(zip(elasticity.NAMES, target.constants, strict=True))
        if target.volume is not None:
            values["V"] = target.volume
        cond = jnp.tile(scaling.from_values(**values), (num_samples, 1))
        return run(key, params, cond)

    return draw
