"""A slab of cells voxel by voxel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.cloak import resolved
from mmdiff.design.cloak.geometry import geometry
from mmdiff.elasticity import NU, voigt_to_cubic
from mmdiff.fem.element import stiffness_tensor
from mmdiff.fem.homogenize import make_solver, modulus

SOLID = voigt_to_cubic(np.asarray(stiffness_tensor(NU)))


def _frame(n, volume):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return threshold_to_volume(wave[:, None, None] + wave[:, None] + wave, volume)


def test_voxels_stand_where_their_cells_stand():
    octants = np.random.default_rng(0).integers(0, 2, (2, 2, 2, 2), np.uint8)
    label = np.array([[0, 1, -1], [1, 1, 0]])[..., None]
    solid = resolved.voxels(octants, label)
    assert solid.shape == (8, 12, 4)
    for (x, y, _), number in np.ndenumerate(label):
        block = solid[4 * x : 4 * x + 4, 4 * y : 4 * y + 4]
        want = octant_to_cell(octants[number]) if number >= 0 else np.zeros((4,) * 3)
        np.testing.assert_array_equal(block, want)


@pytest.mark.slow
def test_a_lattice_moves_as_its_tensor_says():
    """Many cells alike: the means of the voxels follow the homogenized body."""
    shape, octant = (8, 8, 1), _frame(4, 0.5)
    stiff = modulus(jnp.asarray(octant, jnp.float32), resolved.VOID)
    tensor, _ = jax.jit(make_solver(4))(stiff)
    known = np.asarray(voigt_to_cubic(tensor), np.float64)
    octants = np.stack([octant, np.ones_like(octant)])
    constants = np.stack([known, SOLID])
    where = geometry(shape, "cylinder")
    plain = np.zeros(shape, int)
    holed = np.where(where.hole, -1, 0)
    rigid = np.where(where.cloak, 1, holed)
    found = resolved.check(where, (plain, holed, rigid), octants, constants)
    assert found.converged
    # What a cell is large against what it stands for; a wrong tensor gives tens of
    # percent.
    assert max(found.difference) < 0.05
    np.testing.assert_allclose(found.resolved, found.promised, rtol=0.25)
    # A solid ring is no cloak, but no hole either.
    assert found.promised[0] != pytest.approx(found.promised[1], rel=0.1)
