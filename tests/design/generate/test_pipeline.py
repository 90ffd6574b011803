"""Candidates to cells: refusal, ranking, counting, on fields that are known."""

import dataclasses

import jax
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.cells import specimens
from mmdiff.cells.connectivity import is_load_bearing, periodic_pieces
from mmdiff.cells.symmetry import octant_to_cell, symmetrize
from mmdiff.design.generate import pipeline, properties
from mmdiff.design.generate.cell import binarize, make_cell
from mmdiff.design.generate.refine import GOAL, make_refine
from mmdiff.targets.target import of_constants, parse
from mmdiff.topopt import interface

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
    octant, reason, pieces = binarize(_frame(), None)
    assert reason == "" and pieces == 1
    assert octant.dtype == np.uint8 and set(np.unique(octant)) == {0, 1}


def test_binarize_meets_the_volume():
    n = 16
    field = specimens.graded(n)
    octant, reason, _ = binarize(field, 0.35)
    # The largest orbit holds 6 of n^3 voxels, so half of that is the rounding.
    assert reason == ""
    assert abs(octant.mean() - 0.35) <= 3 / n**3 + 1e-12


def test_binarize_refuses_what_carries_no_load():
    assert binarize(_block(), None)[1] == "not load bearing"
    assert binarize(-np.ones((N, N, N)), None)[1] == "disconnected"


def test_loose_pieces_are_removed_and_counted():
    field = _frame(16, 3)
    field[4, 4, 4] = 1  # a speck in each of the eight octants
    octant, reason, pieces = binarize(field, None)
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

        cells, counts = pipeline.generate(
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
    assert calls == [goal] * pipeline.ROUNDS
    assert counts["sampled"] == 5 * pipeline.ROUNDS
    assert counts["not load bearing"] == pipeline.ROUNDS
    # One double in the first batch, all four good ones in each later batch.
    assert counts["duplicate"] == 1 + 4 * (pipeline.ROUNDS - 1)


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
    octant, reason, pieces = binarize(field, 0.45)
    # The sample itself holds 33 %.
    assert reason == "" and pieces == 1
    assert abs(octant.mean() - 0.45) < 1e-2


def _fields(count, seed=0):
    """Fields of connected cells, each another one."""
    wave = np.cos(np.pi * (np.arange(N) + 0.5) / N)
    smooth = wave[:, None, None] + wave[:, None] + wave
    rng = np.random.default_rng(seed)
    noise = np.stack([symmetrize(rng.normal(size=(N, N, N))) for _ in range(count)])
    return np.round(smooth + 0.3 * noise, 9)


def _evaluate(octant, fields=None):
    """Stiffness in proportion to the volume: no finite elements."""
    constants = octant.mean() * np.array([1.0, 0.4, 0.3])
    slope = np.ones(octant.shape) / octant.size
    sensitivity = np.stack([slope, 0.4 * slope, 0.3 * slope]).astype(np.float32)
    return interface.Evaluation(constants, sensitivity, 0.0, True, None)


class _Clock:
    """Time that passes with every question."""

    def __init__(self, asked):
        self.left = asked

    def __call__(self):
        self.left -= 1
        return self.left >= 0


def _within(clock, target, **options):
    drawn = []

    def draw(key, target):
        drawn.append(key)
        return _fields(4, seed=len(drawn))

    cells, counts = pipeline.generate(
        jax.random.key(0),
        target,
        draw=draw,
        evaluate=_evaluate,
        num_best=2,
        time_left=clock,
        **options,
    )
    return cells, counts, len(drawn)


FAR = of_constants((0.9, 0.3, 0.3))  # not in proportion: no cell meets it


def test_a_used_up_budget_still_gives_verified_cells():
    cells, counts, drawn = _within(
        _Clock(0), FAR, refine=make_refine(_evaluate, steps=3)
    )
    assert drawn == 1 and counts["sampled"] == 4
    assert len(cells) == 2 and all(cell.pieces == 1 for cell in cells)
    # As sampled: there was no time to polish.
    assert all(len(cell.history) == 1 for cell in cells)
    assert [cell.error for cell in cells] == sorted(cell.error for cell in cells)


def test_batches_are_drawn_until_the_budget_is_used():
    one = _within(_Clock(0), FAR, refine=make_refine(_evaluate, steps=3))
    # Of each batch two questions before polishing, one before the next batch.
    many = _within(_Clock(8), FAR, refine=make_refine(_evaluate, steps=3))
    assert many[2] == 3 and many[1]["sampled"] == 12
    assert all(len(cell.history) > 1 for cell in many[0])
    assert many[0][0].error < one[0][0].error


def test_time_that_runs_out_between_cells_leaves_the_others_as_sampled():
    cells, _, drawn = _within(_Clock(1), FAR, refine=make_refine(_evaluate, steps=3))
    assert drawn == 1
    assert sorted(len(cell.history) > 1 for cell in cells) == [False, True]


def test_it_ends_early_when_all_cells_meet_the_target():
    goal = parse("zener=1")  # which all of them have
    cells, _, drawn = _within(
        _Clock(10**6), goal, refine=make_refine(_evaluate, steps=3)
    )
    assert drawn == 1 and all(cell.error < GOAL for cell in cells)


def _spared(spare, far, *, first=0.0, count=3, rounds=2, num_best=2):
    """Return cells, draws and number refined; the second to `far`th stay far."""
    drawn, refined = [], []

    def draw(key, target):
        drawn.append(key)
        return _fields(count, seed=len(drawn))

    def refine(cell, target):
        refined.append(cell)
        if len(refined) == 1:
            return dataclasses.replace(cell, error=first)
        error = 0.5 * cell.error if len(refined) <= far else 0.0
        return dataclasses.replace(cell, error=error)

    cells, counts = pipeline.generate(
        jax.random.key(0),
        FAR,
        draw=draw,
        evaluate=_evaluate,
        num_best=num_best,
        refine=refine,
        rounds=rounds,
        spare=spare,
    )
    assert counts["sampled"] == count * len(drawn)
    return cells, len(drawn), len(refined)


def test_cells_that_stay_far_are_replaced():
    cells, drawn, refined = _spared(0, 2)
    assert (drawn, refined) == (1, 2) and sum(c.error > 0 for c in cells) == 1
    # One more sample is there, then another batch is drawn.
    cells, drawn, refined = _spared(2, 2)
    assert (drawn, refined) == (1, 3) and all(c.error == 0 for c in cells)
    cells, drawn, refined = _spared(2, 3)
    assert (drawn, refined) == (2, 4) and all(c.error == 0 for c in cells)
    cells, drawn, refined = _spared(9, 99)
    assert (drawn, refined) == (2, 6)  # rounds are used up
    cells, drawn, refined = _spared(1, 99)
    assert (drawn, refined) == (1, 3) and len(cells) == 2


@pytest.mark.parametrize(("price", "first"), [(0.0, 0.6), (0.1, 0.3)])
def test_cells_are_ordered_by_error_and_by_volume(price, first):
    outcomes = [{"error": 2e-3, "volume": 0.3}, {"error": 1e-3, "volume": 0.6}]
    cells, _ = pipeline.generate(
        jax.random.key(0),
        of_constants((0.6, 0.24, 0.18), 0.3),
        draw=lambda key, target: _fields(2),
        evaluate=_evaluate,
        num_best=2,
        refine=lambda cell, target: dataclasses.replace(cell, **outcomes.pop()),
        price=price,
    )
    assert [cell.volume for cell in cells] == sorted((0.3, 0.6), key=first.__ne__)


@pytest.mark.parametrize(("price", "expected"), [(0.0, (0.3, 0.6)), (0.1, (0.3, 0.3))])
def test_cells_of_another_volume_are_replaced_as_far_as_it_counts(price, expected):
    volumes = [0.3, 0.6, 0.3]
    cells, _ = pipeline.generate(
        jax.random.key(0),
        of_constants((0.6, 0.24, 0.18), 0.3),
        draw=lambda key, target: _fields(3),
        evaluate=_evaluate,
        num_best=2,
        refine=lambda cell, target: dataclasses.replace(
            cell, error=0.0, volume=volumes.pop(0)
        ),
        spare=1,
        price=price,
    )
    assert tuple(cell.volume for cell in cells) == expected


def test_nothing_is_replaced_where_all_is_met_or_nothing():
    assert _spared(5, 1)[1:] == (1, 2)
    assert _spared(5, 99, first=0.1)[1:] == (1, 2)


def test_without_cells_it_goes_on_until_the_budget_is_used():
    drawn = []

    def draw(key, target):
        drawn.append(key)
        return _block()[None]

    cells, counts = pipeline.generate(
        jax.random.key(0),
        FAR,
        draw=draw,
        evaluate=_evaluate,
        num_best=2,
        refine=make_refine(_evaluate, steps=1),
        time_left=_Clock(9),
    )
    assert not cells and len(drawn) == 10 > pipeline.ROUNDS
    assert counts["not load bearing"] == 10


def _octant():
    return (_fields(1)[0] > 0).astype(np.uint8)


def test_the_history_of_polishing_is_reported():
    goal = parse("K=0.2,nu=0.1", volume=0.3)
    cell = make_cell(_octant(), _evaluate(_octant()), goal, 1, (0.2, 0.1), (0.5, 0.4))
    report = properties.report(goal, [cell], {"base_E": 10.0})
    history = report["cells"][0]["history"]
    assert history == {"error": [0.2, 0.1], "volume": [0.5, 0.4]}
    assert report["target"] == {
        "asked": {"K": 2.0, "nu": 0.1},
        "C11": pytest.approx(10 * 0.6 * 0.9 / 1.1),  # s = 3 K / (1 + nu), s (1 - nu)
        "C12": pytest.approx(10 * 0.6 * 0.1 / 1.1),
        "C44": None,
        "volume": 0.3,
    }


def test_the_table_leaves_free_what_is_free():
    goal = parse("E=0.1,nu=0.25", volume=None)
    cell = make_cell(_octant(), _evaluate(_octant()), goal, 1)
    assert properties.header(goal)[:7] == ["", "C11", "C12", "C44", "E", "nu", "V"]
    asked, got = properties.table(goal, [cell])
    # E = 0.1 and nu = 1/4: s = 0.1 / (1 / 2) / (5 / 4) = 0.16.
    assert asked == ["asked", "0.1200", "0.0400", "", "0.1000", "0.250", "free"] + (
        4 * [""] + [""]
    )
    assert len(got) == len(asked) and "" not in got
    young = elasticity.moduli(cell.constants)["E"]
    assert got[4] == f"{young:.4f}"
    zener = parse("zener=2,C44=0.03")
    asked, _ = properties.table(zener, [cell], 10.0)
    assert asked[1:4] == ["", "", "0.3"] and asked[-1] == "2.000"
