"""The smallest network that is one, shared by the tests of networks and their users."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import symmetry
from mmdiff.diffusion.conditions import NAMES
from mmdiff.diffusion.process import symmetric_noise
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


# What sampling takes from the header of a weights file, beside the network.
HEADER = {
    "cond": {
        "names": [*NAMES],
        "low": [0.0] * len(NAMES),
        "high": [1.0] * len(NAMES),
        "power": 1.0,
    },
    "schedule": {"kind": "cosine"},
    "base": {"E": 1.0, "nu": 0.3},
    "training": {"labels": [[0.2, 0.08, 0.06, 0.5]], "coverage": 9.0},
}


def network_inputs(n: int = 8, b: int = 2) -> tuple:
    """Noisy fields, times, other estimates and conditions."""
    keys = jax.random.split(jax.random.key(2), b)
    x = jax.vmap(lambda key: symmetric_noise(key, n))(keys)
    return x, jnp.linspace(0.2, 0.8, b), x[::-1], jnp.full((b, 5), 0.5)


def perturbed(model):
    """The network away from its zero-initialised start, where the output is zero."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), *network_inputs())["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: rng.normal(0, 0.3, s.shape).astype(np.float32), shapes
    )
    return jax.jit(lambda *args: model.apply({"params": params}, *args))


def check_uses_every_input(model) -> None:
    """The output is cubic, and no input is without effect."""
    apply = perturbed(model)
    x, t, prev, cond = network_inputs()
    out = apply(x, t, prev, cond)
    assert out.shape == x.shape and out.dtype == jnp.float32
    assert symmetry.is_cubic(out)
    for changed in (
        (x + 0.1, t, prev, cond),
        (x, t + 0.1, prev, cond),
        (x, t, prev * 0, cond),
        (x, t, prev, cond.at[:, 2].set(-1.0)),
    ):
        assert np.abs(apply(*changed) - out).max() > 1e-4
