"""Data parallelism over the local devices with `jax.pmap`.

One wrapper around the pure step of `mmdiff.train.step`: the state is replicated, the
batch is split along a leading device axis, the key is shared.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmdiff.errors import InputError
from mmdiff.train.step import AXIS


def parallel_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Map step(state, key, batch) over the local devices; the state is donated."""
    return jax.pmap(step, axis_name=AXIS, in_axes=(0, None, 0), donate_argnums=0)


def shard(batch: Any, devices: int) -> Any:
    """Split the leading axis over devices: (b, ...) -> (devices, b / devices, ...).

    Raises:
      InputError: if the share of a device is not a whole, even number of examples;
        self-conditioning pairs neighbours.
    """

    def split(array):
        if array.shape[0] % (2 * devices):
            raise InputError(
                f"batch size {array.shape[0]} does not split into even shares over "
                f"{devices} devices. Use a multiple of {2 * devices}."
            )
        return array.reshape(devices, -1, *array.shape[1:])

    return jax.tree.map(split, batch)


def replicate(tree: Any, devices: int) -> Any:
    """Give every local device a copy, along a new leading axis."""
    # Through a mapped function rather than device_put: with several processes a local
    # array must not be put to a sharding that spans all of them.
    copy = jax.pmap(lambda _, tree: tree, axis_name=AXIS, in_axes=(0, None))
    return copy(np.zeros(devices), tree)


def unreplicate(tree: Any) -> Any:
    """Return the first device's copy as NumPy arrays."""
    return jax.tree.map(lambda x: np.asarray(x[0]), tree)
