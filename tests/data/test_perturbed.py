"""Perturbed candidates: symmetric smooth deformations, parents from the aimed bins."""

import collections

import numpy as np
import pytest
from fem_helpers import smooth_octant, strut_octant

from mmdiff.cells import distance, surface, symmetry
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.data import perturbed, store
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


def _field(seed):
    octant = threshold_to_volume(smooth_octant(N, seed), 0.35)
    return surface.from_voxels(octant)


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
    psi = _field(0)
    field = perturbed.warp(psi, np.zeros((3, N, N, N)))
    assert symmetry.is_cubic(field)
    np.testing.assert_allclose(field, psi, atol=1e-9)


def test_warp_moves_the_material():
    # Two spacings to the right everywhere but at the mirrors.
    away = 1 - abs(np.arange(N) - 5.5)
    psi = np.maximum(np.maximum(away[:, None, None], away[:, None]), away)
    profile = 2.0 * np.sin(np.pi * (np.arange(N) + 0.5) / N)
    displacement = np.zeros((3, N, N, N))
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = N
        displacement[axis] = profile.reshape(shape)
    field = perturbed.warp(psi, displacement)
    line = field[:, 0, 0]
    # The field at i is taken from i + 2: the plate appears two spacings lower.
    assert np.argmax(line) in (3, 4) and line[6] < 0 < line[3]


@pytest.mark.parametrize("seed", range(3))
def test_perturbed_cell_is_a_cubic_field_of_near_volume(seed):
    psi = _field(seed)
    rng = np.random.default_rng(seed)
    got = perturbed.perturb(rng, psi, amplitude=1.0, length=3.0, volume_jitter=0.02)
    assert symmetry.is_cubic(got)
    # Four standard deviations, and what samples miss of a volume.
    assert abs(surface.volume(got) - surface.volume(psi)) < 0.1
    assert 0.01 < 1 - ((got > 0) == (psi > 0)).mean() < 0.5
    again = perturbed.perturb(
        np.random.default_rng(seed),
        psi,
        amplitude=1.0,
        length=3.0,
        volume_jitter=0.02,
    )
    np.testing.assert_array_equal(got, again)


def test_volume_stays_inside_the_possible():
    rng = np.random.default_rng(0)
    for octant in (strut_octant(8, 3), 1 - strut_octant(8, 3)):
        psi = surface.from_voxels(octant)
        for _ in range(5):
            size = {"amplitude": 0.5, "length": 2.0, "volume_jitter": 0.5}
            got = perturbed.perturb(rng, psi, **size)
            assert got.min() < 0 < got.max()
            assert abs(got - psi).max() < surface.SHIFT + 2.5


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """One auxetic cell, one stiff one and thirty soft ones that are all alike."""
    moduli = np.array([[0.002, 0.02, 1.0], [0.4, 0.2, 1.0], *[[0.05, 0.05, 1.0]] * 30])
    fields = [
        surface.from_voxels(strut_octant(8, 4 if i == 1 else 3)) for i in range(32)
    ]
    # Every second one of the soft cells is closed.
    records = [
        {"id": i, "family": 100 + i, "trapped": 0.2 * (i > 1 and i % 2)}
        for i in range(32)
    ]
    root = tmp_path_factory.mktemp("earlier") / "data.zarr"
    store.create(root, n=8, shards=1, shard_size=32, base={}, recipe={})
    store.write_shard(
        root,
        0,
        packed=distance.pack(np.stack(fields)),
        constants=from_k_g_zener(*moduli.T),
        volume=np.array([surface.volume(psi) for psi in fields]),
        records=records,
        rejected={},
    )
    return store.read_labels(root)


def _parents(earlier, aim):
    shard = Shard(1, aim, aim, COUNT)
    fields, records = perturbed.candidates(RECIPE, 7, shard, earlier)
    assert np.shape(fields) == (COUNT, 8, 8, 8)
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
    # The stiff cell has a volume of its own, too; closed soft cells are a bin.
    assert parents[0] >= 3 and parents[1] >= 3
    assert sum(parents[i] for i in range(3, 32, 2)) >= 3


def test_same_shard_same_candidates(earlier):
    shard = Shard(1, "joint", "joint", 4)
    first, again = (perturbed.candidates(RECIPE, 3, shard, earlier) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]
    other = perturbed.candidates(RECIPE, 4, shard, earlier)
    assert not np.array_equal(first[0], other[0])
