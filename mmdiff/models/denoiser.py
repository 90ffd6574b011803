"""The network as a denoiser: meaning of its output.

Without a prior a network predicts x0 itself, as in arXiv 2401.13570. With one the best
linear estimate comes first (`mmdiff.diffusion.linear`), and the network adds to it what
shapes have beyond their spectrum, in units of the error that estimate leaves:

  x0 = clip(x0_lin(x_t, t)) + std(t) F(x_t, t, x0_prev, x0_lin, cond).

Clipping to [-1, 1], where fields end, takes a tenth off the squared error and needs
single samples, which a network that sees patches does not carry. So its task has the
same size at all times, and where there is little noise the answer is right before
anything is learned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from mmdiff.diffusion.linear import Prior, make_linear
from mmdiff.diffusion.schedule import Schedule
from mmdiff.models.network import Network
from mmdiff.typing import Array, Float


def make_denoiser(
    model: Network, schedule: Schedule, prior: Prior | None = None
) -> Callable[..., Float[Array, "b n n n"]]:
    """Return `apply(params, x, t, x0_prev, cond)`, the estimate of x0 (b, n, n, n).

    The prior is that of the weights' header, for a network with `linear`, else None.
    """
    if model.linear != (prior is not None):
        raise ValueError(
            f"a network with linear={model.linear} and the prior {prior} do not fit."
        )
    if prior is None:
        return lambda params, *args: model.apply({"params": params}, *args)

    def apply(params: Any, x, t, x0_prev, cond):
        x0, std = make_linear(prior, schedule, x.shape[-1])(x, t)
        output = model.apply({"params": params}, x, t, x0_prev, cond, x0)
        return jnp.clip(x0, -1, 1) + std[:, None, None, None] * output

    return apply


def prior_of(meta: Mapping[str, Any]) -> Prior | None:
    """Return the prior in the header of a weights file, None where it has none."""
    found = meta.get("prior")
    return None if found is None else Prior.from_dict(found)
