"""A slab whose cells are resolved."""

import jax
import numpy as np
import pytest
from design_helpers import smooth_field

from mmdiff.cells.symmetry import gather_independent, octant_to_cell
from mmdiff.design.cloak import resolved
from mmdiff.design.cloak.geometry import geometry, gripped
from mmdiff.design.cloak.pool import BODY, SOLID, Pool
from mmdiff.elasticity import voigt_to_cubic
from mmdiff.fem import accuracy, structure


def test_shares_stand_where_their_cells_stand():
    octants = np.random.default_rng(0).random((2, 2, 2, 2))
    label = np.array([[0, 1, -1], [1, 1, 0]])[..., None]
    share = resolved.shares(octants, label)
    assert share.shape == (8, 12, 4)
    for (x, y, _), number in np.ndenumerate(label):
        block = share[4 * x : 4 * x + 4, 4 * y : 4 * y + 4]
        want = octant_to_cell(octants[number]) if number >= 0 else np.zeros((4,) * 3)
        np.testing.assert_array_equal(block, want)


@pytest.mark.slow
def test_an_eighth_moves_like_the_whole():
    shape, half = (8, 4, 2), (4, 2, 1)
    field = np.ones((*half, 3), np.float32) * np.float32([1.3, 0.5, 0.4])
    field[1, 1] *= 0.1
    whole = field
    for axis in range(3):
        whole = np.concatenate([np.flip(whole, axis), whole], axis)
    solutions = []
    for size, loads, part in (
        (shape, gripped(shape), whole),
        (half, resolved.gripped_eighth(half), field),
    ):
        solve = jax.jit(structure.make_displacement(size, loads.fixed))
        values, forces = (a.astype(np.float32) for a in (loads.values, loads.forces))
        u, info = solve(part, values, forces)
        assert info.converged.all()
        solutions.append(np.asarray(u[0]))
    np.testing.assert_allclose(solutions[0][:, 4:, 2:, 1:], solutions[1], atol=1e-4)


def test_offsets_are_linear_between_cells_and_nothing_at_the_grips():
    x = np.arange(6) + 0.5
    offset = np.zeros((6, 6, 1, 3))
    offset[..., 0], offset[..., 1] = (x * (6 - x))[:, None, None], x[:, None]
    found = resolved.at_nodes(offset, 2)
    assert found.shape == (3, 13, 13, 3)
    np.testing.assert_allclose(found[0, 1::2, 3, 0], 2 * x * (6 - x))
    assert not found[:, [0, -1]].any()
    np.testing.assert_allclose(found[1, 5, 1:-1, 1], np.arange(1, 12))


@pytest.mark.slow
def test_a_lattice_moves_as_its_tensor_says():
    """Many cells alike: the means of the cells follow the homogenized body."""
    shape, psi = (8, 8, 1), smooth_field(0.5)
    tensor, *_ = accuracy.on_grid(psi, 4, void=resolved.VOID)
    fields = np.stack([np.full_like(psi, 2.8), psi])
    solid = np.array([1.346, 0.577, 0.385])
    known = np.stack([solid, np.asarray(voigt_to_cubic(tensor), np.float64)])
    samples = gather_independent(fields).astype(np.float32)
    grids = np.stack([known, known], 1)
    pool = Pool(samples, known, grids, np.array([SOLID, BODY]), np.zeros(2, bool))
    where = geometry(shape, "cylinder", elements=2)
    holed = np.where(where.hole, -1, 1)
    rigid = np.where(where.cloak, 0, holed)
    found = resolved.check(where, (np.ones(shape, int), holed, rigid), pool, 8)
    assert found.converged
    # What a cell is large against what it stands for; a wrong tensor gives tens of
    # percent.
    assert max(found.difference) < 0.05
    np.testing.assert_allclose(found.resolved, found.promised, rtol=0.25)
    # A solid ring is no cloak, but no hole either.
    assert found.promised[0] != pytest.approx(found.promised[1], rel=0.1)
