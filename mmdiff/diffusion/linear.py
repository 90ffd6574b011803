"""The best linear estimate of a smooth field from a noisy one: a Wiener filter.

Level-set fields are smooth: in the cosine basis (DCT-II) of the octant their variance
falls by orders of magnitude with the wave number |k|, while that of the noise hardly
depends on it. With x_t = a x0 + sigma eps and a ratio s of both variances, the linear
estimate of a coefficient is a s / (a^2 s + sigma^2) times what was observed. It knows
nothing of shapes; what is left for a network is what these have beyond their spectrum.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import fft

from mmdiff.cells import symmetry
from mmdiff.cells.distance import STEPS
from mmdiff.diffusion.schedule import Schedule
from mmdiff.typing import Array, Float, Int, Int8

MOST = 2048  # fields that a spectrum is taken from


@dataclasses.dataclass(frozen=True)
class Prior:
    """Mean and spectrum of fields in [-1, 1].

    Attributes:
      mean: of all samples.
      spectrum: ratio of the variances of field and unit noise in coefficients with |k|
        of 0, 1, 2, ..., rounded.
    """

    mean: float
    spectrum: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable fields; `from_dict` is the inverse."""
        return {"mean": self.mean, "spectrum": list(self.spectrum)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Prior":
        """Rebuild from `to_dict`."""
        return cls(fields["mean"], tuple(fields["spectrum"]))


def fit_prior(packed: Int8[np.ndarray, "N m"]) -> Prior:
    """Return the prior of packed fields (`mmdiff.cells.distance`).

    At most `MOST` of them count, evenly spread. Cells shifted by half their side are as
    likely as they are: signs of odd coefficients flip, and no coefficient but the first
    is taken to have a mean.
    """
    rows = np.unique(np.linspace(0, len(packed) - 1, MOST).astype(int))
    n = symmetry.side(packed.shape[-1])
    basis = _basis(n).astype(np.float32)
    weights = symmetry.multiplicity(n) / n**3
    mean = float((packed[rows] @ weights).mean() / STEPS)
    energy = np.zeros((n, n, n))
    for part in np.array_split(rows, len(rows) // 64 + 1):
        x0 = symmetry.spread(packed[part].astype(np.float32) / STEPS, n) - mean
        series = np.einsum(
            "ax,by,cz,kxyz->kabc", basis, basis, basis, x0, optimize=True
        )
        energy += (series**2).sum(0, dtype=np.float64)
    index = wave_numbers(n).ravel()
    # A coefficient and its images are one number: orbits are counted.
    count = np.bincount(index, (1 / _multiplicity(n)).ravel(), _bins(n))
    total = np.bincount(index, energy.ravel(), _bins(n)) / len(rows) / _images(n)
    return Prior(mean, tuple((total / np.maximum(count, 1)).tolist()))


def wave_numbers(n: int) -> Int[np.ndarray, "n n n"]:
    """Return |k| of each coefficient, rounded."""
    squares = np.arange(n) ** 2
    total = squares[:, None, None] + squares[:, None] + squares
    return np.rint(np.sqrt(total)).astype(int)


def noise_variance(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the variance of symmetric unit noise in each coefficient, about.

    All images of a sample have one number (`process.symmetric_noise`), and so have
    those of a coefficient.
    """
    return _images(n) / _multiplicity(n)


def make_linear(
    prior: Prior, schedule: Schedule, n: int
) -> Callable[..., tuple[Float[Array, "b n n n"], Float[Array, "b"]]]:
    """Return `linear(x, t) -> x0, std` for fields of side n.

    x0 (b, n, n, n) is the linear estimate of noisy fields at times t (b,), std (b,) the
    root mean square of its error over the samples, see `make_std`.
    """
    basis = jnp.asarray(_basis(n), jnp.float32)
    ratio = jnp.asarray(_ratio(prior, n), jnp.float32)[None]
    std = make_std(prior, schedule, n)

    def transform(x, matrix):
        # An axis at a time, each moved to the end: three products of matrices.
        for _ in range(3):
            x = jnp.einsum("bxyz,ax->byza", x, matrix, precision="highest")
        return x

    def linear(x, t):
        gamma = schedule.gamma(t).astype(x.dtype)[:, None, None, None]
        a = jnp.sqrt(gamma)
        gain = a * ratio / (gamma * ratio + 1 - gamma)
        found = transform(gain * transform(x - a * prior.mean, basis), basis.T)
        # Sums depend on the order of the axes: one value for all of an orbit.
        found = symmetry.spread(symmetry.gather_independent(found), n)
        return found + prior.mean, std(t)

    return linear


def make_std(
    prior: Prior, schedule: Schedule, n: int
) -> Callable[[Float[Array, "b"]], Float[Array, "b"]]:
    """Return `std(t)`, the error that the linear estimate leaves at times t (b,).

    A coefficient keeps the share sigma^2 / (a^2 s + sigma^2) of its variance.
    """
    index, orbits = wave_numbers(n).ravel(), (1 / _multiplicity(n)).ravel()
    count = jnp.asarray(np.bincount(index, orbits, _bins(n)) * _images(n) / n**3)
    count = count.astype(jnp.float32)[None]
    ratio = jnp.asarray(prior.spectrum, jnp.float32)[None]

    def std(t):
        gamma = schedule.gamma(t).astype(jnp.float32)[:, None]
        left = ratio * (1 - gamma) / (gamma * ratio + 1 - gamma)
        return jnp.sqrt((count * left).sum(-1))

    return std


def make_weight(
    std: Callable[[Float[Array, "b"]], Float[Array, "b"]], *, most: float = 1e3
) -> Callable[[Float[Array, "b"]], Float[Array, "b"]]:
    """Return `weight(t)`, 1 / std(t)^2 but at most `most`: errors count alike."""
    return lambda t: 1 / jnp.maximum(std(t) ** 2, 1 / most)


def _ratio(prior, n):
    if len(prior.spectrum) != _bins(n):
        raise ValueError(
            f"a spectrum of {len(prior.spectrum)} numbers is not of octants of {n}^3 "
            f"samples, which have {_bins(n)}."
        )
    return np.asarray(prior.spectrum)[wave_numbers(n)]


def _bins(n):
    return int(np.ceil(np.sqrt(3) * (n - 1))) + 1


def _images(n):
    """Return the mean size of an orbit: 6, but for samples on planes of symmetry."""
    return n**3 / symmetry.num_independent(n)


@functools.lru_cache(maxsize=8)
def _basis(n):
    """Return the orthonormal DCT-II matrix, a coefficient a row; read-only."""
    matrix = fft.dct(np.eye(n), axis=0, norm="ortho")
    matrix.setflags(write=False)
    return matrix


@functools.lru_cache(maxsize=8)
def _multiplicity(n):
    """Return the number of images of each coefficient; read-only."""
    images = symmetry.spread(symmetry.multiplicity(n), n)
    images.setflags(write=False)
    return images
