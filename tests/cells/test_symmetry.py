"""Mirrors, permutations and orbits of octants."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells import symmetry


def _random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("xp", [np, jnp])
def test_cell_is_the_octant_and_its_mirrors(xp):
    octant = xp.asarray(_random(2, 4, 4, 4))
    cell = symmetry.octant_to_cell(octant)
    assert cell.shape == (2, 8, 8, 8) and isinstance(cell, xp.ndarray)
    for axis in (-3, -2, -1):
        np.testing.assert_array_equal(cell, np.flip(cell, axis))
    np.testing.assert_array_equal(symmetry.cell_to_octant(cell), octant)


@pytest.mark.parametrize("xp", [np, jnp])
def test_symmetrize_is_the_mean_over_permutations(xp):
    octant = _random(3, 5, 5, 5)
    got = symmetry.symmetrize(xp.asarray(octant))
    want = np.mean(
        [octant.transpose(0, *p) for p in itertools.permutations((1, 2, 3))], axis=0
    )
    # A sum of six float32 numbers in another order.
    np.testing.assert_allclose(got, want, atol=1e-6)
    # Symmetric to the last bit, or `homogenize` would refuse the octant.
    assert symmetry.is_cubic(got)
    again = symmetry.symmetrize(got)
    np.testing.assert_allclose(again, got, atol=1e-6)


def test_symmetrize_is_bitwise_symmetric_under_jit_and_vmap():
    octants = jnp.asarray(_random(4, 6, 6, 6))
    assert symmetry.is_cubic(jax.jit(jax.vmap(symmetry.symmetrize))(octants))


def test_is_cubic_sees_one_wrong_voxel():
    octant = symmetry.spread(_random(10), 3)
    assert symmetry.is_cubic(octant)
    for voxel in ((0, 1, 2), (2, 0, 0), (1, 1, 0)):
        wrong = octant.copy()
        wrong[voxel] += 1
        assert not symmetry.is_cubic(wrong)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_orbits(n):
    index = symmetry.orbit_index(n)
    assert index.dtype == np.int32
    assert symmetry.is_cubic(index)
    number = symmetry.num_independent(n)
    assert set(index.ravel()) == set(range(number))
    multiplicity = symmetry.multiplicity(n)
    assert multiplicity.sum() == n**3 and set(multiplicity) <= {1, 3, 6}
    # Voxels of one orbit are permutations of one another.
    for i, j, k in itertools.product(range(n), repeat=3):
        assert index[i, j, k] == index[tuple(sorted((i, j, k)))]


@pytest.mark.parametrize("xp", [np, jnp])
def test_spread_and_gather_are_inverse(xp):
    values = xp.asarray(_random(2, symmetry.num_independent(4)))
    octants = symmetry.spread(values, 4)
    assert octants.shape == (2, 4, 4, 4) and symmetry.is_cubic(octants)
    np.testing.assert_array_equal(symmetry.gather_independent(octants), values)
