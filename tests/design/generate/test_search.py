"""The search: refusal, ranking, counting, spare cells and time, on known samples."""

import dataclasses

import jax
import numpy as np
import pytest
from design_helpers import block, fields, frame, wave
from field_helpers import estimate

from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.design.generate.cell import make_cell
from mmdiff.design.generate.refine import GOAL
from mmdiff.design.generate.search import ROUNDS, Budget, in_turn, search
from mmdiff.targets.target import of_constants, parse

FAR = of_constants((0.9, 0.3, 0.3))  # not in proportion: no cell meets it
HALF = of_constants((0.6, 0.24, 0.18), 0.3)  # of the constants of volume 0.6


def _check(psi, target):
    return make_cell(psi, estimate(psi), target)


def _halved(cell, target):
    """A refinement that costs nothing."""
    errors = (*cell.history, cell.error / 2)
    return dataclasses.replace(cell, error=cell.error / 2, history=errors)


def _search(target, draw, *, apply=in_turn, **options):
    """Return cells, counts and how often was drawn; `draw(number)` gives the fields."""
    drawn = []

    def count(key, target):
        drawn.append(target)
        return draw(len(drawn))

    options = {"check": _check, "num_best": 2} | options
    for task in {"check", "refine"} & options.keys():
        options[task] = apply(options[task])
    cells, counts = search(jax.random.key(0), target, draw=count, **options)
    assert all(one is target for one in drawn)
    return cells, counts, len(drawn)


def test_cells_are_ranked_valid_and_distinct():
    batch = np.stack([frame(8, 2), block(), wave(8), frame(8, 3), wave(8)])
    cells, counts, drawn = _search(FAR, lambda _: batch, num_best=4)
    errors = [cell.error for cell in cells]
    assert errors == sorted(errors) and len(cells) == 3
    assert all(is_load_bearing(cell.octant) for cell in cells)
    # Three good fields, so it kept drawing until its rounds were used up.
    assert drawn == ROUNDS and counts["sampled"] == 5 * ROUNDS
    assert counts["not load bearing"] == ROUNDS
    # One double in the first batch, all four good ones in each later batch.
    assert counts["duplicate"] == 1 + 4 * (ROUNDS - 1)


def test_unconverged_solves_are_counted():
    def check(psi, target):
        cell = _check(psi, target)
        return cell if cell.volume > 0.6 else None

    batch = np.stack([frame(8, 1), frame(8, 3)])
    cells, counts, _ = _search(FAR, lambda _: batch, check=check, num_best=1)
    assert len(cells) == 1 and counts == {"sampled": 2, "unconverged": 1}


def test_what_cannot_be_printed_is_counted_and_replaced():
    flaws = ["thin walls", "", "thin walls", ""]
    cells, counts, drawn = _search(
        FAR,
        lambda number: fields(2, seed=number),
        refine=_halved,
        flaw=lambda cell: flaws.pop(0),
    )
    assert len(cells) == 2 and drawn == 2 and not flaws
    assert counts == {"sampled": 4, "thin walls": 2}


@pytest.mark.parametrize("spare", [0, 2])
def test_cells_do_not_depend_on_what_is_done_side_by_side(spare):
    asked = []

    def at_once(task):
        def results(items, target):
            asked.append((task.__name__, len(items)))
            return [task(item, target) for item in items]

        return results

    options = {"num_best": 2, "budget": Budget(spare=spare)}
    batch = fields(5, seed=1)
    one = _search(HALF, lambda _: batch, refine=_halved, **options)
    other = _search(HALF, lambda _: batch, apply=at_once, refine=_halved, **options)
    assert [cell.error for cell in one[0]] == [cell.error for cell in other[0]]
    assert one[1:] == other[1:]
    # Those that are wanted at once, the others one by one.
    assert asked[:2] == [("_check", 5), ("_halved", 2)]
    assert asked[2:] == [("_halved", 1)] * (len(asked) - 2)


class _Clock:
    """Time that passes with every question."""

    def __init__(self, asked):
        self.left = asked

    def __call__(self):
        self.left -= 1
        return self.left >= 0


def _within(questions, target):
    return _search(
        target,
        lambda number: fields(4, seed=number),
        refine=_halved,
        budget=Budget(time_left=_Clock(questions)),
    )


def test_a_used_up_budget_still_gives_a_refined_cell():
    cells, counts, drawn = _within(0, FAR)
    assert drawn == 1 and counts["sampled"] == 4
    assert [len(cell.history) for cell in cells] == [2]


def test_batches_are_drawn_until_the_budget_is_used():
    # A question before each cell but the first, and before the next batch.
    cells, counts, drawn = _within(7, FAR)
    assert drawn == 3 and counts["sampled"] == 12
    assert [len(cell.history) for cell in cells] == [2, 2]
    assert cells[0].error <= cells[1].error < _within(1, FAR)[0][1].error


def test_it_ends_early_when_all_cells_meet_the_target():
    cells, _, drawn = _within(10**6, parse("zener=1"))  # which all of them have
    assert drawn == 1 and all(cell.error < GOAL for cell in cells)


def test_without_cells_it_goes_on_until_the_budget_is_used():
    budget = Budget(time_left=_Clock(9))
    options = {"refine": _halved, "budget": budget}
    cells, counts, drawn = _search(FAR, lambda _: block()[None], **options)
    assert not cells and drawn == 10 > ROUNDS
    assert counts["not load bearing"] == 10


def _spared(spare, far, *, first=0.0):
    """Return cells, draws and number refined; the second to `far`th stay far."""
    refined = []

    def refine(cell, target):
        refined.append(cell)
        if len(refined) == 1:
            return dataclasses.replace(cell, error=first)
        error = 0.5 * cell.error if len(refined) <= far else 0.0
        return dataclasses.replace(cell, error=error)

    cells, counts, drawn = _search(
        FAR,
        lambda number: fields(3, seed=number),
        refine=refine,
        budget=Budget(rounds=2, spare=spare),
    )
    assert counts["sampled"] == 3 * drawn
    return cells, drawn, len(refined)


@pytest.mark.parametrize(
    ("spare", "far", "drawn", "refined", "near"),
    [
        (0, 2, 1, 2, 1),
        (2, 2, 1, 3, 2),  # one more sample is there,
        (2, 3, 2, 4, 2),  # then another batch is drawn
        (9, 99, 2, 6, 1),  # until rounds are used up
        (1, 99, 1, 3, 1),
    ],
)
def test_cells_that_stay_far_are_replaced(spare, far, drawn, refined, near):
    cells, *counted = _spared(spare, far)
    assert counted == [drawn, refined]
    assert len(cells) == 2 and sum(cell.error == 0 for cell in cells) == near


@pytest.mark.parametrize(("far", "first"), [(1, 0.0), (99, 0.1)])
def test_nothing_is_replaced_where_all_is_met_or_nothing(far, first):
    assert _spared(5, far, first=first)[1:] == (1, 2)


def test_cells_are_ordered_by_error_and_by_volume():
    outcomes = [{"error": 2e-3, "volume": 0.3}, {"error": 1e-3, "volume": 0.6}]
    cells, _, _ = _search(
        HALF,
        lambda _: fields(2),
        refine=lambda cell, target: dataclasses.replace(cell, **outcomes.pop()),
    )
    assert [cell.volume for cell in cells] == [0.3, 0.6]


def test_cells_of_another_volume_are_replaced():
    volumes = [0.3, 0.6, 0.3]
    cells, _, _ = _search(
        HALF,
        lambda _: fields(3),
        refine=lambda cell, target: dataclasses.replace(
            cell, error=0.0, volume=volumes.pop(0)
        ),
        budget=Budget(spare=1),
    )
    assert [cell.volume for cell in cells] == [0.3, 0.3]
