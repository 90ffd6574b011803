"""A cubic field as tokens: one for each block of samples that is no image of another.

An octant of n^3 samples has (n / p)^3 blocks of p^3, of which one of six is kept, those
at x <= y <= z: all others are images of these under permutations of the axes. What
tokens say of samples is read where these are in order, so that fields are cubic to the
last bit. Both directions are gathers; so are their transposes, written out here, as a
CPU does XLA's scatters one entry at a time. Eight blocks make up a block of twice their
side (`merge`, `split`), of which again one of six is kept.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmdiff.cells import symmetry
from mmdiff.models.layers import space_to_depth
from mmdiff.typing import Array, Float, Int


def to_tokens(fields: Float[Array, "b n n n c"], p: int) -> Float[Array, "b t d"]:
    """Return the t blocks of cubic fields, each with its d = p^3 c numbers."""
    b, m = fields.shape[0], fields.shape[1] // p
    blocks = space_to_depth(fields, p).reshape(b, m**3, -1)
    return blocks[:, symmetry.orbit_first(m)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def to_field(tokens: Float[Array, "b t d"], n: int) -> Float[Array, "b n n n"]:
    """Return the cubic fields of t blocks of d = p^3 samples.

    In blocks on planes of symmetry those samples count that are in order.
    """
    p = round(tokens.shape[-1] ** (1 / 3))
    place, _ = _places(n, p)
    return symmetry.spread(tokens.reshape(len(tokens), -1)[:, place], n)


def _forward(tokens, n):
    return to_field(tokens, n), tokens


def _backward(n, tokens, g):
    p = round(tokens.shape[-1] ** (1 / 3))
    g = g + g.swapaxes(-1, -2)
    g = sum(g.transpose(0, *axes) for axes in ((1, 2, 3), (2, 3, 1), (3, 1, 2))) / 6
    images = symmetry.multiplicity(n).astype(np.float32)[None]
    values = symmetry.gather_independent(g) * jnp.asarray(images, g.dtype)
    values = jnp.pad(values, ((0, 0), (0, 1)))  # for what is not read
    return (values[:, _places(n, p)[1]].reshape(tokens.shape),)


to_field.defvjp(_forward, _backward)


def merge(tokens: Float[Array, "b t c"]) -> Float[Array, "b s d"]:
    """Return tokens of blocks of twice the side: d = 8 c numbers, of eight tokens.

    Of those that are not kept their image counts.
    """
    b, t, c = tokens.shape
    chosen = jnp.asarray(_children(symmetry.side(t)))
    # A product: the transpose of a gather would be a scatter.
    return jnp.einsum("st,btc->bsc", chosen, tokens).reshape(b, -1, 8 * c)


def split(tokens: Float[Array, "b s d"], t: int) -> Float[Array, "b t c"]:
    """Return for each of t tokens its c = d / 8 numbers of the one it is part of."""
    parts = tokens.reshape(len(tokens), -1, tokens.shape[-1] // 8)
    return jnp.einsum("ts,bsc->btc", jnp.asarray(_parents(symmetry.side(t))), parts)


@functools.lru_cache(maxsize=4)
def _children(m: int) -> Float[np.ndarray, "s t"]:
    """Return 1 where part s of a block of twice the side is token t, or its image."""
    x, y, z = np.unravel_index(symmetry.orbit_first(m // 2), (m // 2,) * 3)
    i, j, k = np.indices((2, 2, 2)).reshape(3, 1, 8)
    index = symmetry.orbit_index(m)
    token = index[2 * x[:, None] + i, 2 * y[:, None] + j, 2 * z[:, None] + k].ravel()
    return (token[:, None] == np.arange(symmetry.num_independent(m))).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _parents(m: int) -> Float[np.ndarray, "t s"]:
    """Return 1 where token t is part s of the block of twice its side it is in."""
    places = np.stack(np.unravel_index(symmetry.orbit_first(m), (m, m, m)))
    places = np.sort(places, axis=0)  # then those of the block are in order, too
    coarse = symmetry.orbit_index(m // 2)[tuple(places // 2)]
    part = 8 * coarse + np.ravel_multi_index(tuple(places % 2), (2, 2, 2))
    return (part[:, None] == np.arange(8 * (coarse.max() + 1))).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _places(n: int, p: int) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "s"]]:
    """Return where tokens hold the k independent samples, and which each number is.

    Numbers that are not read count as sample k.
    """
    m = n // p
    index = np.unravel_index(symmetry.orbit_first(n), (n, n, n))
    samples = np.sort(np.stack(index), axis=0)  # as orbits of blocks are told
    token = symmetry.orbit_index(m)[tuple(samples // p)]
    inner = np.ravel_multi_index(tuple(samples % p), (p, p, p))
    place = (token * p**3 + inner).astype(np.int32)
    sample = np.full(symmetry.num_independent(m) * p**3, len(place), np.int32)
    sample[place] = np.arange(len(place))
    place.setflags(write=False)
    sample.setflags(write=False)
    return place, sample
