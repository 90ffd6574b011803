"""Perturbed candidates: symmetric smooth deformations, parents from the aimed bins."""

import collections

import numpy as np
import pytest
from data_helpers import write_cells
from fem_helpers import smooth_octant, strut_octant

from mmdiff.cells import symmetry, voxels
from mmdiff.data import perturbed
from mmdiff.data.recipe import Perturbed, Recipe, Shard
from mmdiff.elasticity import from_k_g_zener

N = 12
RECIPE = Recipe(
    n=8,
    shard_size=8,
    perturbed=Perturbed(amplitude=(0.3, 0.6), length=(1.5, 3.0), times=3),
    seed=2,
)
COUNT = 40


def _displacement(seed=0, amplitude=1.5, length=3.0):
    rng = np.random.default_rng(seed)
    return perturbed.smooth_displacement(rng, N, amplitude=amplitude, length=length)


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
    field = perturbed.warp(octant, np.zeros((3, N, N, N)))
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
    field = perturbed.warp(octant, displacement)
    line = field[:, 0, 0]
    # The field at i is taken from i + 2: the plate appears two voxels lower.
    assert np.argmax(line) in (3, 4) and line[6] < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_perturbed_cell_is_a_cubic_binary_of_near_volume(seed):
    octant = voxels.threshold_to_volume(smooth_octant(N, seed), 0.35)
    rng = np.random.default_rng(seed)
    got = perturbed.perturb(rng, octant, amplitude=1.0, length=3.0, volume_jitter=0.02)
    assert got.dtype == np.uint8 and set(np.unique(got)) == {0, 1}
    assert symmetry.is_cubic(got)
    # Four standard deviations.
    assert abs(got.mean() - octant.mean()) < 0.08
    assert 0.01 < 1 - voxels.agreement(got, voxels.pack(octant[None]))[0] < 0.5
    again = perturbed.perturb(
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
            got = perturbed.perturb(
                rng, octant, amplitude=0.5, length=2, volume_jitter=0.5
            )
            assert 0 < got.mean() < 1


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """One auxetic cell, one stiff one and thirty soft ones that are all alike."""
    moduli = np.array([[0.002, 0.02, 1.0], [0.4, 0.2, 1.0], *[[0.05, 0.05, 1.0]] * 30])
    octants = np.stack([strut_octant(8, 3 if i == 1 else 2) for i in range(32)])
    records = [{"id": i, "family": 100 + i} for i in range(32)]
    root = tmp_path_factory.mktemp("earlier") / "data.zarr"
    return write_cells(root, octants, from_k_g_zener(*moduli.T), records)


def _parents(earlier, aim):
    shard = Shard(1, aim, aim, COUNT)
    octants, records = perturbed.candidates(RECIPE, 7, shard, earlier)
    assert octants.shape == (COUNT, 8, 8, 8)
    assert all(record["family"] == 100 + record["parent"] for record in records)
    assert {record["times"] for record in records} == {1, 2, 3}
    return collections.Counter(record["parent"] for record in records)


def test_everywhere_draws_all_cells_alike(earlier):
    parents = _parents(earlier, "everywhere")
    # Two of 32 cells: 2.5 expected of 40, four standard deviations above is 9.
    assert parents[0] + parents[1] < 9 and len(parents) > 15


def test_poisson_draws_its_bins_alike(earlier):
    parents = _parents(earlier, "poisson")
    # Three bins: 13.3 expected each, with a standard deviation of 3.
    assert 3 <= parents[0] <= 25 and 3 <= parents[1] <= 25


def test_joint_draws_bins_of_the_whole_space_alike(earlier):
    parents = _parents(earlier, "joint")
    # The stiff cell has a volume of its own, too.
    assert parents[0] >= 3 and parents[1] >= 3


def test_same_shard_same_candidates(earlier):
    shard = Shard(1, "joint", "joint", 4)
    first, again = (perturbed.candidates(RECIPE, 3, shard, earlier) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]
    other = perturbed.candidates(RECIPE, 4, shard, earlier)
    assert not np.array_equal(first[0], other[0])
