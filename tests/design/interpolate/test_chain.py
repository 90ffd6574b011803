"""Families that are grown from one cell, from volume to volume."""

import field_helpers
import numpy as np
import pytest
from design_helpers import frame, wave

from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.design.interpolate import chain
from mmdiff.design.interpolate.family import Member
from mmdiff.design.interpolate.pairs import face_agreement
from mmdiff.errors import InputError
from mmdiff.topopt.finish import Design

N = 8
ANY = Printing(0.0, 0.0, drainable=True)
GROWTH = chain.Growth(4, ANY, {})
ASKED = np.array([0.25, 0.375, 0.5, 0.625, 0.75])


def _slab(volume):
    """Field of a slab, whose mean with another is that of the mean volume."""
    height = N * volume - 0.5 - np.arange(float(N))
    return np.broadcast_to(height[:, None, None], (N, N, N)).copy()


def _height(psi):
    return round(float(psi[0, 0, 0] + 0.5) / N, 4)


@pytest.fixture
def steps(monkeypatch):
    """Steps from slab to slab that cost nothing, and what they were asked for."""
    calls, refused = [], []

    def step(psi, volume):
        calls.append((_height(psi), volume))
        if any(rule(*calls[-1]) for rule in refused):
            return []
        constants = volume * field_helpers.RATES
        return [Member(_slab(volume), constants, 0.01 * constants, volume, "chain")]

    monkeypatch.setattr(chain, "make_step", lambda n, growth: step)
    return calls, refused


def _volumes(members):
    return [member.volume for member in members]


@pytest.mark.parametrize("gap", [0.001, 0.02, 0.05, 0.3, 0.99])
def test_volumes_are_evenly_spaced_and_at_most_a_gap_apart(gap):
    found = chain.volumes(0.2, 0.5, gap)
    assert found[0] == 0.2 and found[-1] == 0.5
    width = np.diff(found)
    np.testing.assert_allclose(width, width[0], rtol=1e-9)
    # Volumes are met to OFF: two neighbours may both be off, and away from each other.
    assert width[0] + 2 * chain.OFF * (gap > 0.01) <= gap
    # No more of them than that takes.
    assert len(found) == 2 or 0.3 / (len(found) - 2) > chain.SPARE * gap


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.6, 0.2)])
def test_volumes_without_a_range_are_refused(low, high):
    words = f"low={low:g} and high={high:g} are no range of volume.* Pass `low` below"
    with pytest.raises(InputError, match=words):
        chain.volumes(low, high, 0.1)


def test_a_chain_grows_from_its_seed_both_ways(steps, tmp_path):
    calls, _ = steps
    found = chain.grow(_slab(0.5), ASKED, GROWTH, tmp_path)
    assert _volumes(found) == ASKED.tolist()  # lightest first
    # Each from the one before it.
    assert calls == [
        *((0.5, 0.5), (0.5, 0.625), (0.625, 0.75)),
        *((0.5, 0.375), (0.375, 0.25)),
    ]


def test_members_are_kept_and_not_made_again(steps, tmp_path):
    calls, refused = steps
    refused.append(lambda origin, volume: volume == 0.375)
    first = chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)
    assert _volumes(first) == [0.25, 0.5, 0.625, 0.75]
    calls.clear()
    refused.clear()
    again = chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)
    assert not calls  # nor is what failed
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.psi, other.psi)
        assert one.volume == other.volume and one.kind == other.kind
    (tmp_path / "chain_003.npz").unlink()
    chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)
    assert calls == [(0.5, 0.625)]


def test_what_fails_from_below_is_tried_from_above(steps, tmp_path, capsys):
    calls, refused = steps
    refused.append(lambda origin, volume: volume == 0.375 and origin < volume)
    found = chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)
    assert _volumes(found) == ASKED.tolist()
    # The next one starts from the last that was found.
    assert calls[1:3] == [(0.25, 0.375), (0.25, 0.5)]
    assert calls[5:] == [(0.5, 0.375)]
    said = capsys.readouterr().out
    assert "from above, V 0.375: K/K_HS" in said and "left out" not in said


def test_what_fails_from_above_too_is_tried_between_two(steps, tmp_path, capsys):
    calls, refused = steps
    refused.append(lambda origin, volume: 0.3 < volume < 0.7 and origin != volume)
    found = chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)
    assert _volumes(found) == ASKED.tolist()
    # From 0.75 in vain, and then from the mean of the nearest ones on both sides.
    assert calls[5:] == [(0.75, 0.625), *((v, v) for v in (0.375, 0.5, 0.625))]
    assert "between two, V 0.500: K/K_HS" in capsys.readouterr().out


def test_what_fails_every_way_is_left_out(steps, tmp_path, capsys):
    calls, refused = steps
    refused.append(lambda origin, volume: volume in (0.25, 0.5))
    found = chain.grow(_slab(0.5), ASKED, GROWTH, tmp_path)
    assert _volumes(found) == [0.375, 0.625, 0.75]
    assert calls[5:] == [(0.625, 0.5), (0.375, 0.25), (0.5, 0.5)]
    assert "2 of 5 volumes are left out: not printable." in capsys.readouterr().out


@pytest.mark.parametrize(("kept", "count"), [((), 0), ((0.5,), 1)])
def test_less_than_two_members_are_refused(steps, tmp_path, kept, count):
    steps[1].append(lambda origin, volume: volume not in kept)
    words = f"{count} of 5 cells of the chain from V 0.25 to 0.75 .* `seed_cell`"
    with pytest.raises(InputError, match=words):
        chain.grow(_slab(0.25), ASKED, GROWTH, tmp_path)


# Tries of a step, in their order: two numbers of steps of the field, two of the mended
# one, none at all; then with more room.
TRIES = 2 * [4, 1, 4, 1, 0]
SEED = surface.to_volume(wave(N) / 3, 0.4)


def _design(volume, *, psi=None, converged=True, off=0.0):
    psi = surface.to_volume(wave(N) / 3, volume) if psi is None else psi
    known = field_helpers.estimate(psi)
    return Design(psi, known._replace(volume=volume + off, converged=converged))


GOOD = _design(0.42, psi=1.01 * SEED)  # with its faces
FAR = _design(0.55)
FARTHER = _design(0.7)
CLOSED = frame(N)  # its pores are


@pytest.fixture
def improve(monkeypatch):
    """Run a step on designs that are given instead of made; return what is found."""
    field_helpers.patch(monkeypatch)

    def run(designs, volume, growth=GROWTH):
        left, asked = iter(designs), []

        def improve(psi, problem, limits, evaluate, *, steps, printing, solver):
            asked.append((steps, printing, solver))
            assert limits.volume == volume
            return next(left)

        monkeypatch.setattr(chain.finish, "improve", improve)
        return chain.make_step(N, growth)(SEED, volume), asked

    return run


def _same(members, design):
    (member,) = members
    np.testing.assert_array_equal(member.psi, design.psi)
    np.testing.assert_array_equal(member.constants, design.estimate.constants)
    np.testing.assert_array_equal(member.uncertainty, design.estimate.uncertainty)
    assert member.volume == design.estimate.volume and member.kind == "chain"


def test_the_first_try_that_fits_is_taken(improve):
    assert face_agreement(SEED, GOOD.psi)[0] >= chain.FIT
    found, asked = improve([GOOD], 0.42)
    _same(found, GOOD)
    assert [steps for steps, *_ in asked] == [4]


@pytest.mark.parametrize(
    "bad",
    [
        Design(),
        _design(0.42, converged=False),
        _design(0.42, off=2 * chain.OFF),
        Design(CLOSED, GOOD.estimate),
    ],
    ids=["nothing left", "unconverged", "another volume", "not printable"],
)
def test_tries_that_are_no_good_are_passed_over(improve, bad):
    found, asked = improve([bad, bad, GOOD], 0.42)
    _same(found, GOOD)
    assert [steps for steps, *_ in asked] == TRIES[:3]


def test_else_the_best_fit_is_taken(improve):
    def meant(design):  # all tell of the volume asked for
        estimate = design.estimate._replace(volume=0.42)
        return Design(design.psi, estimate)

    designs = [meant(FARTHER), meant(FAR), *8 * [meant(FARTHER)]]
    fits = [face_agreement(SEED, design.psi)[0] for design in designs[:2]]
    assert fits[0] < fits[1] < chain.FIT
    found, asked = improve(designs, 0.42)
    _same(found, designs[1])
    assert [steps for steps, *_ in asked] == TRIES


def test_where_no_try_is_good_there_is_no_member(improve):
    solver = {"tol": 1e-3}
    growth = chain.Growth(4, Printing(0.1, 0.05, drainable=True), solver)
    found, asked = improve(10 * [Design()], 0.42, growth)
    assert found == [] and [steps for steps, *_ in asked] == TRIES
    # Steps aim at a little more than the least widths, and then at more than that.
    walls = [printing.wall for _, printing, _ in asked]
    np.testing.assert_allclose(walls, np.repeat(chain.ROOM, 5) * 0.1)
    gaps = [printing.gap for _, printing, _ in asked]
    np.testing.assert_allclose(gaps, np.repeat(chain.ROOM, 5) * 0.05)
    assert all(printing.drainable and each == solver for _, printing, each in asked)
