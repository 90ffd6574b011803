"""Variants: noise keeps its variance, sets are diverse, coarse octants keep volume."""

import jax
import numpy as np
import pytest

from mmdiff.cells.symmetry import is_cubic
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import variants
from mmdiff.diffusion.process import symmetric_noise

N = 16


def test_perturbed_noise_is_as_large_and_as_near_as_told():
    noise = symmetric_noise(jax.random.key(0), N)
    moved = np.asarray(variants.perturbed(jax.random.key(1), noise, 0.3))
    assert is_cubic(moved) and moved.dtype == np.float32
    # Orbits of six voxels: 816 of them, so one standard deviation is 2.5 to 3.5 %.
    assert np.std(moved) == pytest.approx(1, abs=0.1)
    correlation = np.corrcoef(moved.ravel(), np.asarray(noise).ravel())[0, 1]
    assert correlation == pytest.approx(np.sqrt(1 - 0.3**2), abs=0.05)
    same = variants.perturbed(jax.random.key(1), noise, 0.0)
    np.testing.assert_array_equal(same, noise)
    other = variants.perturbed(jax.random.key(2), noise, 0.3)
    assert not np.array_equal(moved, other)


def test_coarse_octants_keep_volume_and_symmetry():
    fine = threshold_to_volume(np.asarray(symmetric_noise(jax.random.key(3), N)), 0.4)
    coarse = variants.coarsened(fine, N // 2)
    assert coarse.shape == (N // 2,) * 3 and is_cubic(coarse)
    # To half an orbit of six voxels.
    assert coarse.mean() == pytest.approx(fine.mean(), abs=3.1 / (N // 2) ** 3)
    blocks = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(variants.coarsened(blocks, N // 2), coarse)
    assert variants.coarsened(fine, N) is fine


def _octants(*shares):
    """Octants of which the first so many voxels differ from the void."""
    found = np.zeros((len(shares), 1000), np.uint8)
    for row, share in zip(found, shares, strict=True):
        row[: round(1000 * share)] = 1
    return list(found.reshape(-1, 10, 10, 10))


def test_a_diverse_set_begins_with_what_is_most_different():
    near, mid, far, twin = _octants(0.02, 0.2, 0.4, 0.39)
    (reference,) = _octants(0.0)
    chosen = variants.diverse([near, mid, far, twin], reference, count=4, alike=0.95)
    # The near one is the reference and the twin the far one, to 95 %.
    assert chosen == [2, 1]
    assert variants.diverse([near, far], reference, count=1, alike=1.0) == [1]
    assert variants.diverse([], reference, count=4, alike=0.9) == []


def test_similarity_does_not_mind_half_a_period():
    octant = _octants(0.3)[0]
    assert variants.similarity(octant, octant[::-1, ::-1, ::-1]) == 1.0
    assert variants.similarity(octant, 1 - octant) < 1.0
