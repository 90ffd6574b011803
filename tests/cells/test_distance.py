"""Distances in 8 bits: the surface stays, what is stored comes back."""

import numpy as np
import pytest
from fem_helpers import smooth_octant

from mmdiff.cells import distance, lattices, surface, symmetry, voxels
from mmdiff.errors import InputError

N = 16


@pytest.fixture(scope="module")
def psi():
    return lattices.lattice("P network", 0.4, N)


def test_levelled_distances_are_distances_near_the_surface_and_end_at_the_clip():
    away = np.linspace(-10, 10, 201)
    levelled = distance.level_off(away)
    near = abs(away) < 1.5
    np.testing.assert_allclose(levelled[near], away[near], atol=0.05)
    assert (np.diff(levelled) >= 0).all() and np.allclose(levelled, -levelled[::-1])
    assert abs(levelled).max() == pytest.approx(distance.CLIP, abs=0.01)


def test_samples_become_distances_and_the_surface_stays():
    # A ball has exact distances; the field is another function of them.
    axis = np.arange(N) + 0.5
    away = 9.0 - np.sqrt(sum(np.meshgrid(axis**2, axis**2, axis**2)))
    found = distance.redistance(symmetry.symmetrize(away * (1 + 0.05 * away)))
    want = distance.level_off(away)
    inner = away < 6  # towards the middle slopes have no meaning
    assert abs(found - want)[inner].max() < 0.06
    assert symmetry.is_cubic(found)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_slopes_do_not_matter(psi, scale):
    found = distance.redistance(scale * psi)
    assert surface.volume(found) == pytest.approx(surface.volume(psi), abs=1e-3)
    same = surface.voxels(found, 64) == surface.voxels(psi, 64)
    assert same.mean() > 0.995
    slope = np.sqrt((surface.slopes(found, surface.centres(N, N)) ** 2).sum(0))
    assert np.median(slope[abs(found) < 1]) == pytest.approx(1, abs=0.05)


def test_redistancing_twice_changes_little(psi):
    once = distance.redistance(psi)
    twice = distance.redistance(once)
    assert np.sqrt(np.mean((twice - once)[abs(once) < 1] ** 2)) < 0.03


def test_fields_without_a_surface_are_refused():
    with pytest.raises(InputError, match="all solid or all void"):
        distance.redistance(np.ones((8, 8, 8)))


def test_packed_fields_come_back_to_half_a_step(psi):
    fields = np.stack([psi, -psi]).clip(-distance.CLIP, distance.CLIP)
    packed = distance.pack(fields)
    assert packed.dtype == np.int8
    assert packed.shape == (2, symmetry.num_independent(N))
    back = distance.unpack(packed, N)
    half = distance.CLIP / distance.STEPS / 2
    assert abs(back - fields).max() <= half * (1 + 1e-9)
    assert symmetry.is_cubic(back[0])
    np.testing.assert_array_equal(distance.pack(back), packed)


def test_what_lies_beyond_is_clipped():
    packed = distance.pack(np.full((8, 8, 8), 9.0))
    assert (packed == distance.STEPS).all()


def test_agreement_is_the_share_of_equal_voxels():
    fields = [smooth_octant(8, seed) - 0.5 for seed in range(3)]
    packed = distance.pack(np.stack(fields))
    octants = np.stack([(psi > 0) for psi in distance.unpack(packed, 8)])
    want = voxels.agreement(octants[0], voxels.pack(octants))
    np.testing.assert_allclose(distance.agreement(packed[0], packed, 8), want)
