"""Data parallelism over devices and processes with `jax.pmap`.

The state is replicated, the batch split along a leading device axis, the key shared.
Of several processes (`mmdiff.run.distributed`) each feeds its own part of the batch;
only the averages inside the step cross from one to another.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmdiff.errors import InputError
from mmdiff.train.step import AXIS


def parallel_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Map step(state, key, batch) over the devices; the state is donated."""
    return jax.pmap(step, axis_name=AXIS, in_axes=(0, None, 0), donate_argnums=0)


def check_shares(batch_size: int, devices: int) -> None:
    """Refuse shares that are not whole and even: self-conditioning pairs neighbours."""
    if batch_size % (2 * devices):
        raise InputError(
            f"batch size {batch_size} does not split into even shares over "
            f"{devices} devices. Use a multiple of {2 * devices}."
        )


def shard(batch: Any, devices: int) -> Any:
    """Split the leading axis over devices: (b, ...) -> (devices, b / devices, ...)."""
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)


def stack(batches: list[Any]) -> Any:
    """Join k sharded batches for `step.scan_steps`: (devices, k, b / devices, ...)."""
    return jax.tree.map(lambda *arrays: np.stack(arrays, 1), *batches)


def replicate(tree: Any, devices: int) -> Any:
    """Give every local device a copy, along a new leading axis."""
    # Through a mapped function rather than device_put: with several processes a local
    # array must not be put to a sharding that spans all of them.
    copy = jax.pmap(lambda _, tree: tree, axis_name=AXIS, in_axes=(0, None))
    return copy(np.zeros(devices), tree)


def unreplicate(tree: Any) -> Any:
    """Return the first local device's copy as NumPy arrays."""
    return jax.tree.map(lambda x: np.asarray(x[0]), tree)


def largest(value: int) -> int:
    """Return the largest of the numbers of all processes; each must call this."""
    if jax.process_count() == 1:
        return value
    values = np.full(jax.local_device_count(), value, np.int32)
    return int(_largest()(values)[0])


@functools.cache
def _largest():
    return jax.pmap(lambda x: jax.lax.pmax(x, AXIS), axis_name=AXIS)
