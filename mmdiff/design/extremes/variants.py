"""Variants of a cell: its noise, moved a little, sampled back under its own properties.

The second half of Fig. 4 of arXiv 2401.13570: an optimum is inverted to the noise that
the deterministic sampler makes it of (`mmdiff.design.interpolate.path`), and noise
nearby gives further cells. Which of them are different enough is decided by the share
of equal voxels.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mmdiff.cells.voxels import agreement, pack, threshold_to_volume
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.typing import Float, Key, UInt8


def perturbed(
    key: Key, noise: Float[np.ndarray, "n n n"], size: float
) -> Float[np.ndarray, "n n n"]:
    """Return sqrt(1 - size^2) noise + size new: standard normal where `noise` is.

    Args:
      key: typed random key of the new noise.
      noise: symmetric noise of an octant.
      size: share of new noise, as a ratio of standard deviations, in [0, 1].
    """
    fresh = symmetric_noise(key, noise.shape[-1], noise.dtype)
    keep = np.sqrt(1 - size**2)
    return jnp.asarray(keep, noise.dtype) * noise + jnp.asarray(size, noise.dtype) * (
        fresh
    )


def coarsened(octant: UInt8[np.ndarray, "m m m"], n: int) -> UInt8[np.ndarray, "n n n"]:
    """Return an octant of n voxels a side, of the same volume; m is a multiple of n."""
    octant = np.asarray(octant)
    ratio = octant.shape[0] // n
    if ratio == 1:
        return octant
    blocks = octant.reshape(n, ratio, n, ratio, n, ratio).mean((1, 3, 5))
    return threshold_to_volume(blocks, float(octant.mean()))


def similarity(one: UInt8[np.ndarray, "n n n"], other) -> float:
    """Return the share of equal voxels; a shift by half a period counts as the same."""
    return float(agreement(one, pack(np.asarray(other)[None]), half_shift=True)[0])


def diverse(
    octants: Sequence[UInt8[np.ndarray, "n n n"]],
    reference: UInt8[np.ndarray, "n n n"],
    *,
    count: int,
    alike: float,
) -> list[int]:
    """Return the numbers of a diverse set, the most different from the reference first.

    Each next one is that whose most similar neighbour among the reference and those
    chosen is least similar to it.

    Args:
      octants: to choose from.
      reference: the octant that all are variants of.
      count: most numbers to return.
      alike: share of equal voxels from which two octants count as one.
    """
    if not octants:
        return []
    packed = pack(np.stack(octants))
    nearest = agreement(reference, packed, half_shift=True)
    chosen: list[int] = []
    while len(chosen) < min(count, len(octants)):
        i = int(np.argmin(nearest))
        if nearest[i] >= alike:
            break
        chosen.append(i)
        nearest = np.maximum(nearest, agreement(octants[i], packed, half_shift=True))
        nearest[i] = 1.0
    return chosen
