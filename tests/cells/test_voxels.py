"""Thresholds and agreement of binary cells."""

import numpy as np
import pytest
from fem_helpers import random_octant

from mmdiff.cells import symmetry, voxels


@pytest.mark.parametrize("volume", [0.0, 0.13, 0.5, 0.88, 1.0])
def test_threshold_switches_the_highest_orbits(volume):
    field = random_octant(6)
    octant = voxels.threshold_to_volume(field, volume)
    assert octant.dtype == np.uint8 and set(np.unique(octant)) <= {0, 1}
    assert symmetry.is_cubic(octant)
    if 0 < volume < 1:
        assert field[octant == 1].min() > field[octant == 0].max()
    # The largest orbit has 6 voxels: the nearest sum is at most 3 away.
    assert abs(octant.mean() - volume) <= 3 / 6**3


@pytest.mark.parametrize("solid", [0, 1])
def test_features_of_one_voxel_are_thin(solid):
    octant = np.full((8, 8, 8), 1 - solid, np.uint8)
    octant[:, 2:4, :] = solid  # two voxels thick
    octant[0] = solid  # and two with its mirror image
    assert voxels.thin_share(octant) == 0
    octant[:, 6, 3:5] = solid  # a beam of one by two voxels
    assert voxels.thin_share(octant) == pytest.approx(7 * 2 / 8**3)


@pytest.mark.parametrize("n", [4, 5])  # 125 voxels fill no whole number of bytes
def test_agreement_is_the_share_of_equal_voxels(n):
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 2, (2, n, n, n), np.uint8)
    c = a.copy()
    c[0, 0, 0] ^= 1
    known = voxels.pack(np.stack([a, 1 - a, b, c]))
    expected = [1, 0, (a == b).mean(), 1 - 1 / n**3]
    np.testing.assert_array_equal(voxels.agreement(a, known), expected)
    assert voxels.agreement(a, known[:0]).shape == (0,)


def test_a_shift_by_half_a_period_can_be_let_count():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 8, 8, 8), np.uint8)
    shifted = a[::-1, ::-1, ::-1]
    known = voxels.pack(np.stack([a, b, 1 - a]))
    got = voxels.agreement(shifted, known, half_shift=True)
    other = max((a == b).mean(), (shifted == b).mean())
    np.testing.assert_array_equal(got, [1, other, (shifted == 1 - a).mean()])
    assert voxels.agreement(shifted, known)[0] == (shifted == a).mean() < 1
