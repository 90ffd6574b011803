"""What a CPU and an accelerator want done differently; the numbers are the same.

A CPU gains nothing from running solves side by side: they fall out of its caches and
all wait for the slowest. And XLA's CPU compiler, left alone, fuses producers into every
one of their users and computes them again there: the operator of the solver then does
eight times its arithmetic. Accelerators want batches, and fuse well.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mmdiff.typing import Array, Bool

# GPUs and TPUs round the factors of a float32 product to 10 or 8 bits unless told not
# to, which could make a preconditioner indefinite.
EXACT = lax.Precision.HIGHEST


def on_cpu() -> bool:
    """Whether computations run on a CPU unless JAX is set otherwise."""
    return jax.default_backend() == "cpu"


def each(function: Callable, *batch: Any) -> Any:
    """Return `function` over the leading axis of its arguments: in turn, or vmapped."""
    if on_cpu():
        return lax.map(lambda one: function(*one), batch)
    return jax.vmap(function)(*batch)


def map_batch(function: Callable) -> Callable:
    """Return the jitted `function` over a leading batch axis of every argument."""
    return jax.jit(functools.partial(each, function))


def materialize(function: Callable, true: Bool[Array, ""], *args: Any) -> Any:
    """Return `function(*args)`, on a CPU stored in memory before anything uses it.

    The branch of a conditional is compiled on its own, which nothing else stops XLA's
    CPU compiler from undoing (it drops `optimization_barrier` before it fuses). So
    `true` is a predicate that always holds, of a form that XLA cannot foresee.
    """
    if not on_cpu():
        return function(*args)
    shapes = jax.eval_shape(function, *args)

    def never(*_):
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    return lax.cond(true, function, never, *args)


def stack(arrays: Sequence[Array]) -> Array:
    """Stack arrays of one shape along a new first axis.

    XLA's CPU compiler turns a concatenation into a loop that branches at every element;
    updates in place stay vectorized.
    """
    out = jnp.zeros((len(arrays), *arrays[0].shape), arrays[0].dtype)
    for i, array in enumerate(arrays):
        out = lax.dynamic_update_slice(out, array[None], (i,) + (0,) * array.ndim)
    return out
