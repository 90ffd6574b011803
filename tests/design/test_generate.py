"""Candidates to cells: refusal, ranking, counting, on fields that are known."""

import jax
import numpy as np
import pytest

from mmdiff import specimens
from mmdiff.design import generate, properties
from mmdiff.design.target import of_constants
from mmdiff.symmetry import octant_to_cell, symmetrize
from mmdiff.topopt import interface
from mmdiff.voxels import is_load_bearing, periodic_pieces

N = 8


def _block(n=N):
    """A solid cube in the middle of the cell that touches no face."""
    field = -np.ones((n, n, n))
    field[n // 2 :, n // 2 :, n // 2 :] = 1
    return field


def _frame(n=N, width=2):
    """Three plates in the middle planes: connected, closed, cubic."""
    i = np.arange(n) >= n - width
    return np.where(i[:, None, None] | i[:, None] | i, 1.0, -1.0)


def test_binarize_keeps_good_fields():
    octant, reason, pieces = generate.binarize(_frame(), None)
    assert reason == "" and pieces == 1
    assert octant.dtype == np.uint8 and set(np.unique(octant)) == {0, 1}


def test_binarize_meets_the_volume():
    n = 16
    field = specimens.graded(n)
    octant, reason, _ = generate.binarize(field, 0.35)
    # The largest orbit holds 6 of n^3 voxels, so half of that is the rounding.
    assert reason == ""
    assert abs(octant.mean() - 0.35) <= 3 / n**3 + 1e-12


def test_binarize_refuses_what_carries_no_load():
    assert generate.binarize(_block(), None)[1] == "not load bearing"
    assert generate.binarize(-np.ones((N, N, N)), None)[1] == "disconnected"


def test_loose_pieces_are_removed_and_counted():
    field = _frame(16, 3)
    field[4, 4, 4] = 1  # a speck in each of the eight octants
    octant, reason, pieces = generate.binarize(field, None)
    assert reason == "" and pieces == 9
    assert periodic_pieces(octant_to_cell(octant))[1] == 1
    assert octant[4, 4, 4] == 0


@pytest.fixture(scope="module")
def made():
    with jax.numpy_rank_promotion("allow"):
        fields = np.stack(
            [_frame(N, 1), _block(), _frame(N, 2), _frame(N, 3), _frame(N, 2)]
        )
        goal = of_constants((0.25, 0.08, 0.06))
        calls = []

        def draw(key, target):
            calls.append(target)
            return fields

        cells, counts = generate.generate(
            jax.random.key(0),
            goal,
            draw=draw,
            evaluate=interface.make_evaluate(N),
            num_best=4,
        )
    return goal, cells, counts, calls


def test_cells_are_ranked_valid_and_distinct(made):
    goal, cells, counts, calls = made
    errors = [cell.error for cell in cells]
    assert errors == sorted(errors) and len(cells) == 3
    assert all(is_load_bearing(cell.octant) and cell.pieces == 1 for cell in cells)
    # Three good fields, so it kept drawing until its rounds were used up.
    assert calls == [goal] * generate.ROUNDS
    assert counts["sampled"] == 5 * generate.ROUNDS
    assert counts["not load bearing"] == generate.ROUNDS
    # One double in the first batch, all four good ones in each later batch.
    assert counts["duplicate"] == 1 + 4 * (generate.ROUNDS - 1)


def test_errors_are_those_of_the_definition(made):
    goal, cells, _, _ = made
    for cell in cells:
        d = abs(cell.constants - np.array(goal.constants))
        expected = np.mean(d / [1.330768, 0.667355, 0.383357])
        np.testing.assert_allclose(cell.error, expected, rtol=1e-12)
        assert cell.volume == cell.octant.mean()


def test_report_and_table_hold_the_numbers_of_the_cells(made):
    goal, cells, counts, _ = made
    report = properties.report(goal, cells, {"base_E": 2.0, "counts": counts})
    first = report["cells"][0]
    keys = "C K G E nu Zener volume pieces error residual".split()
    assert set(keys) <= set(first)
    c11, c12, c44 = 2 * cells[0].constants
    np.testing.assert_allclose(first["C"][0][:3], [c11, c12, c12], rtol=1e-12)
    np.testing.assert_allclose(first["C"][3][3], c44, rtol=1e-12)
    np.testing.assert_allclose(first["K"], (c11 + 2 * c12) / 3, rtol=1e-12)
    assert report["resolution"] == 2 * N and first["pieces"] == 1
    rows = properties.table(goal, cells)
    assert len(rows) == 1 + len(cells)
    assert all(len(row) == len(properties.header(goal)) for row in rows)
    assert rows[1][1] == f"{cells[0].constants[0]:.4f}"


def test_missing_volume_thickens_walls_instead_of_adding_dust():
    noise = symmetrize(np.random.default_rng(0).normal(size=(16, 16, 16)))
    field = np.tanh(4 * _frame(16, 2) + 0.5 * noise)
    octant, reason, pieces = generate.binarize(field, 0.45)
    # The sample itself holds 33 %.
    assert reason == "" and pieces == 1
    assert abs(octant.mean() - 0.45) < 1e-2
