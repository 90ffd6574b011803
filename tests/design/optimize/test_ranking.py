"""Flaws and ranking of optimized cells, on numbers known beforehand."""

import pytest

from mmdiff.design.optimize import ranking
from mmdiff.design.optimize.problem import Constraints, request


@pytest.fixture
def flaws(outcome):
    """Return the flaws of a cell of plates, a share of its volume being asked."""

    def found(
        share=1.0, result=None, *, objective="bulk", target="", off=0.0, **limits
    ):
        result = outcome() if result is None else result
        volume = min(share * float(outcome().volume) + off, 0.9)
        asked = request(
            objective,
            Constraints(volume, **limits),
            target=target,
            allow_infeasible=True,
        )
        return ranking.flaws(result, asked.problem, asked.limits)

    return found


def test_a_good_cell_has_no_flaws(flaws):
    assert flaws(isotropy=0.12, min_young=0.2) == ()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"share": 0.5}, "exceeds"),
        ({"share": 9, "volume_is": "equal"}, "is below 0.9"),
        ({"isotropy": 0.05}, "Zener ratio 0.900 is not within 0.952 to 1.050"),
        ({"min_young": 0.3}, "modulus 0.25 (base E = 1) is below its floor"),
    ],
)
def test_each_flaw_is_named_with_its_numbers(flaws, options, text):
    found = flaws(**options)
    assert len(found) == 1 and text in found[0]


def test_what_did_not_converge_is_no_good_cell(flaws, outcome):
    (found,) = flaws(result=outcome(converged=False))
    assert "finite elements stopped at residual 3.0e-04" in found


def test_an_empty_cell_has_one_flaw(flaws, nothing):
    found = flaws(result=nothing, isotropy=0.1)
    assert found == ("no connected part that bears load is left",)


def test_the_volume_is_met_within_the_slack(flaws):
    assert not flaws(share=1 - 0.9 * ranking.SLACK)
    assert flaws(share=1 - 1.1 * ranking.SLACK)


def test_a_target_leaves_the_volume_some_slack(flaws):
    asked = {"objective": "target", "target": "0.3,0.1,0.09"}
    assert not flaws(off=-0.01, **asked)
    assert flaws(off=-0.012, **asked)


def test_flawed_cells_rank_last_and_empty_ones_after_them(entries):
    order = ranking.ranked(entries)
    assert [e.start for e in order] == [3, 2, 4, 1, 0]
    assert ranking.failures(order) == [
        "start 1 (random) is ranked last: too heavy.",
        "start 0 (random) is ranked last: nothing left.",
    ]


def test_files_are_named_by_rank(entries):
    order = ranking.ranked(entries)
    names = [(e.start, e.name) for e in ranking.named(order, 2)]
    assert names == [(3, "cell_00"), (2, "cell_01")]
    # More than there are: never an empty cell, a flawed one only as the last.
    names = [(e.start, e.name) for e in ranking.named(order, 9)]
    assert names[2:] == [(4, "cell_02"), (1, "cell_03")]
