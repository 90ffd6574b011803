"""Random deformations keep the symmetry of the cell and move smoothly."""

import numpy as np
import pytest
from fem_helpers import smooth_octant, strut_octant

from mmdiff.cells import symmetry, voxels
from mmdiff.data import perturb

N = 12


def _displacement(seed=0, amplitude=1.5, length=3.0):
    rng = np.random.default_rng(seed)
    return perturb.smooth_displacement(rng, N, amplitude=amplitude, length=length)


def test_components_are_permutations_of_one_another():
    x, y, z = _displacement()
    # u_x is unchanged when y and z are swapped ...
    np.testing.assert_allclose(x, x.swapaxes(1, 2), atol=1e-12)
    # ... and swapping two axes of space swaps the two components.
    np.testing.assert_allclose(y, x.swapaxes(0, 1), atol=1e-12)
    np.testing.assert_allclose(z, x.swapaxes(0, 2), atol=1e-12)


def test_normal_component_vanishes_on_the_mirrors():
    displacement = _displacement(length=2.0)
    for axis in range(3):
        normal = np.moveaxis(displacement[axis], axis, 0)
        # Odd about the faces at -1/2 and N - 1/2: a sine series carries it alone.
        position = np.pi * (np.arange(N) + 0.5) / N
        sines = np.sin(np.outer(position, np.arange(1, N + 1)))
        coefficients = np.linalg.solve(sines, normal.reshape(N, -1))
        for face in (0.0, np.pi):
            value = np.sin(face * np.arange(1, N + 1)) @ coefficients
            np.testing.assert_allclose(value, 0, atol=1e-10)
        # The smooth series has no rough part: the field is small near the faces.
        assert abs(normal[[0, -1]]).mean() < 0.5 * abs(normal).mean()


def test_tangential_components_are_even():
    displacement = _displacement(length=2.0)
    for axis in range(3):
        for c in {0, 1, 2} - {axis}:
            tangential = np.moveaxis(displacement[c], axis, 0)
            slope = abs(np.diff(tangential, axis=0)).mean((1, 2))
            # Flat at the mirrors: the slope grows from there.
            assert slope[0] < slope[1] and slope[-1] < slope[-2]


def test_amplitude_and_length():
    for amplitude in (0.5, 2.0):
        displacement = _displacement(amplitude=amplitude)
        rms = np.sqrt(np.mean(displacement**2, axis=(1, 2, 3)))
        np.testing.assert_allclose(rms, amplitude, rtol=1e-12)
    rough, smooth = (
        np.mean(
            [np.diff(_displacement(s, length=length), axis=1).std() for s in range(5)]
        )
        for length in (1.0, 4.0)
    )
    # A gradient is about the amplitude divided by the length.
    assert smooth < 0.5 * rough


def test_no_displacement_leaves_the_cell():
    octant = strut_octant(N, 4)
    field = perturb.warp(octant, np.zeros((3, N, N, N)))
    assert symmetry.is_cubic(field) and 0 <= field.min() and field.max() <= 1
    np.testing.assert_array_equal(
        voxels.threshold_to_volume(field, octant.mean()), octant
    )


def test_warp_moves_the_material():
    # Two voxels to the right everywhere but at the mirrors.
    octant = np.zeros((N, N, N), np.uint8)
    octant[5:7] = octant[:, 5:7] = octant[:, :, 5:7] = 1
    profile = 2.0 * np.sin(np.pi * (np.arange(N) + 0.5) / N)
    displacement = np.zeros((3, N, N, N))
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = N
        displacement[axis] = profile.reshape(shape)
    field = perturb.warp(octant, displacement)
    line = field[:, 0, 0]
    # The field at i is taken from i + 2: the plate appears two voxels lower.
    assert np.argmax(line) in (3, 4) and line[6] < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_perturbed_cell_is_a_cubic_binary_of_near_volume(seed):
    octant = voxels.threshold_to_volume(smooth_octant(N, seed), 0.35)
    rng = np.random.default_rng(seed)
    got = perturb.perturb(rng, octant, amplitude=1.0, length=3.0, volume_jitter=0.02)
    assert got.dtype == np.uint8 and set(np.unique(got)) == {0, 1}
    assert symmetry.is_cubic(got)
    # Four standard deviations.
    assert abs(got.mean() - octant.mean()) < 0.08
    assert 0.01 < 1 - voxels.agreement(got, voxels.pack(octant[None]))[0] < 0.5
    again = perturb.perturb(
        np.random.default_rng(seed),
        octant,
        amplitude=1.0,
        length=3.0,
        volume_jitter=0.02,
    )
    np.testing.assert_array_equal(got, again)


def test_volume_stays_inside_the_possible():
    rng = np.random.default_rng(0)
    for octant in (np.ones((6, 6, 6), np.uint8), strut_octant(6, 1)):
        for _ in range(5):
            got = perturb.perturb(
                rng, octant, amplitude=0.5, length=2, volume_jitter=0.5
            )
            assert 0 < got.mean() < 1
