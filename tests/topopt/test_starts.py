"""Random starts: cubic, of the asked mean, and made of low waves only."""

import functools

import jax
import numpy as np
import pytest
from scipy import fft

from mmdiff.cells import symmetry
from mmdiff.topopt import starts

_start = jax.jit(starts.random_start, static_argnames=("n", "waves", "contrast"))


@pytest.mark.parametrize("volume", [0.1, 0.3, 0.8])
def test_start_is_a_cubic_density_of_about_the_asked_mean(volume):
    for seed in range(3):
        start = np.asarray(_start(jax.random.key(seed), 8, volume))
        assert start.shape == (8, 8, 8) and start.dtype == np.float32
        assert symmetry.is_cubic(start)
        assert start.min() >= np.float32(0.01) and start.max() <= np.float32(0.99)
        # Clipping moves the mean; the optimizer restores it in its first steps.
        assert abs(start.mean() - volume) < 0.05
        assert start.std() > 0.2 * min(volume, 1 - volume)


def test_starts_differ_by_key_only():
    make = functools.partial(_start, n=8, volume=0.4)
    first, again, other = (make(jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 0.1


def test_start_holds_low_waves_only():
    start = _start(jax.random.key(3), 8, 0.5, waves=2, contrast=0.1)
    # On the octant the waves k of the cell are those of the even cosine transform.
    spectrum = fft.dctn(np.asarray(start, np.float64), norm="ortho")
    low = np.ix_(*3 * [np.arange(3)])
    rest = spectrum.copy()
    rest[low] = 0
    # Rounding of float32 sums against waves of order one.
    assert abs(rest).max() < 1e-5 and abs(spectrum[low]).max() > 0.1
    # Nothing is clipped at this contrast.
    assert start.mean() == pytest.approx(0.5, abs=1e-6)
    assert start.std() == pytest.approx(0.05, rel=1e-4)
