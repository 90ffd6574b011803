"""The smallest network that is one, shared by the tests of networks and their users."""

import functools

import jax

from mmdiff.models.unet import UNet
from mmdiff.models.weights import init_params

FIELDS = {
    "patch": 2,
    "width": 4,
    "multipliers": (1,),
    "blocks": 1,
    "middle": 0,
    "attention": (),
    "groups": 2,
    "embedding": 4,
    "conditions": 5,
}


@functools.cache
def fresh_params() -> dict:
    """Fresh parameters of `UNet(**FIELDS)`; compiled once, whatever the octant."""
    with jax.numpy_dtype_promotion("standard"):
        return init_params(UNet(**FIELDS), jax.random.key(0), 4)
