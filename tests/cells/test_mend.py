"""Mending: what complies stays, walls and gaps reach limits, pores open, pieces go."""

import numpy as np
import pytest

import mmdiff as mm
from mmdiff.cells import mend
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic

N = 16
WIDTH = 2.2  # spacings: the limit of these tests
X, Y, Z = np.indices((N, N, N), np.float64)


def _field(distance):
    return 3 * np.tanh(distance / 3)


def _far(*centre):
    return np.sqrt(sum((x - c) ** 2 for x, c in zip((X, Y, Z), centre, strict=True)))


def _frame(thick):
    """Return struts of a simple cubic lattice along the edges of the octant."""
    pairs = [np.hypot(a + 0.5, b + 0.5) for a, b in ((X, Y), (Y, Z), (Z, X))]
    return _field(thick - np.minimum.reduce(pairs))


def _plates(thick):
    return _field(thick - np.minimum.reduce([X, Y, Z]))


def test_what_complies_stays_as_it_is():
    psi = _frame(4.0)
    for step in (
        mend.drop_pieces,
        mend.fill_specks,
        lambda psi: mend.thicken(psi, WIDTH),
        lambda psi: mend.widen(psi, WIDTH),
        lambda psi: mend.clear(psi, WIDTH, fill=True),
        lambda psi: mend.drain(psi, WIDTH)[0],
    ):
        np.testing.assert_array_equal(step(psi), psi)
    mended, report = mend.mend(psi)
    np.testing.assert_array_equal(mended, psi)
    assert (report.rounds, report.moved, report.ok) == (0, 0.0, True)
    assert report.before == report.after


def test_thin_struts_become_as_thick_as_asked():
    thin = _frame(0.8)
    thick = mend.thicken(thin, WIDTH)
    assert printability(thin).wall * 2 * N < 1.8
    assert WIDTH <= printability(thick).wall * 2 * N < WIDTH + 0.6
    assert is_cubic(thick)
    far = _far(-0.5, -0.5, -0.5) > 0  # the same but near the struts
    far &= np.minimum.reduce([np.hypot(X, Y), np.hypot(Y, Z), np.hypot(Z, X)]) > 6
    np.testing.assert_array_equal(thick[far], thin[far])


def test_thin_gaps_become_as_wide_as_asked_or_are_filled():
    slit = np.maximum(_field(abs(X - 8) - 0.7), -3)
    wide = mend.widen(slit, WIDTH)
    assert WIDTH <= printability(wide).gap * 2 * N < WIDTH + 0.6
    assert printability(mend.clear(slit, WIDTH, fill=True)).gap == np.inf
    # Under half the limit it is filled in any case.
    narrow = np.maximum(_field(abs(X - 8) - 0.4), -3)
    assert printability(narrow).gap * 2 * N < WIDTH / 2
    assert printability(mend.clear(narrow, WIDTH, fill=False)).gap == np.inf
    np.testing.assert_array_equal(mend.clear(slit, WIDTH, fill=False), wide)


@pytest.mark.parametrize("radius", [0.8, 2.5])
def test_loose_pieces_are_dropped_and_nothing_else(radius):
    frame = _frame(3.0)
    loose = np.maximum(frame, _field(radius - _far(11, 11, 11)))
    assert printability(loose).pieces > 1
    dropped = mend.drop_pieces(loose)
    assert printability(dropped).pieces == 1
    near = _far(11, 11, 11) < radius + 2.5
    np.testing.assert_array_equal(dropped[~near], loose[~near])


def test_of_pieces_that_are_all_alike_none_is_dropped():
    balls = _field(2.5 - _far(7, 7, 7))
    np.testing.assert_array_equal(mend.drop_pieces(balls), balls)


def test_specks_are_filled_and_pores_are_not():
    speck = np.minimum(_frame(7.0), _field(_far(1, 1, 1) - 1.2))
    assert printability(speck).trapped > 0
    assert printability(mend.fill_specks(speck)).void_pieces == 1
    np.testing.assert_array_equal(mend.fill_specks(speck, 1e-6), speck)


def _check_drained(psi, drilled, filled):
    assert printability(psi).trapped > 0
    drained, *counts = mend.drain(psi, WIDTH)
    assert counts == [drilled, filled]
    found = printability(drained)
    assert found.trapped == 0
    assert found.gap * 2 * N >= WIDTH
    assert is_cubic(drained)
    return found


def test_closed_cells_are_drilled_through_their_faces():
    found = _check_drained(_plates(2.0), 1, 0)
    assert found.pieces == found.void_pieces == 1


def test_pores_are_drilled_to_the_open_void_or_filled():
    solid = _frame(9.0)
    pore = np.minimum(solid, _field(_far(2, 2, 2) - 3.0))
    found = _check_drained(pore, 1, 0)
    assert found.void_pieces == 1
    # Across mirror planes: a pore in the node of the frame.
    _check_drained(np.minimum(solid, _field(_far(-0.5, -0.5, -0.5) - 5)), 1, 0)
    small = np.minimum(solid, _field(_far(2, 2, 2) - 1.2))
    assert mend.drain(small, WIDTH)[1:] == (0, 1)
    filled = printability(mend.drain(small, WIDTH)[0])
    assert filled.trapped == 0


def test_pores_inside_pores_of_an_octant_are_drilled_across_mirror_planes():
    """A pore that touches no plane reaches its images on both sides."""
    block = np.minimum(_field(_far(7.5, 7.5, 7.5) - 4), 2.9)
    _check_drained(block, 1, 0)


def test_two_networks_of_void_stay_apart():
    value = sum(np.cos(np.pi * (x + 0.5) / N) for x in (X, Y, Z))
    sheet = _field(2.5 - abs(value) * 5)
    assert mend.drain(sheet, WIDTH)[1:] == (0, 0)


def test_fields_without_cubic_symmetry_are_mended_too():
    slab = _field(np.maximum(0.7 - abs(X - 8), 2 - np.minimum(Y, Z)))
    mended, report = mend.mend(slab, wall=WIDTH / (2 * N), gap=WIDTH / (2 * N))
    assert report.ok
    assert not is_cubic(mended)


def _check_mended(psi):
    mended, report = mend.mend(psi)
    after = printability(mended)
    assert after == report.after
    assert report.ok
    assert (after.pieces, after.trapped, after.loose) == (1, 0.0, 0.0)
    assert min(after.wall, after.gap) >= mend.LIMIT
    assert is_cubic(mended)
    assert abs(mended).max() < 3
    assert report.moved < 0.06
    np.testing.assert_array_equal(mend.mend(mended)[0], mended)
    return report


def test_a_cell_of_the_dataset_is_mended():
    data = mm.load_dataset()
    closed = np.flatnonzero(~data.drainable)
    report = _check_mended(data.fields(closed[0]))
    assert report.before.trapped > 0


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.13, 0.23, 0.33, 0.62, 0.9])
def test_cells_of_the_dataset_are_mended(share):
    data = mm.load_dataset()
    _check_mended(data.fields(int(share * len(data.volume))))


def test_the_report_says_when_a_cell_cannot_be_mended():
    balls = _field(2.5 - _far(7, 7, 7))
    mended, report = mend.mend(balls, rounds=2)
    assert not report.ok
    assert report.rounds == 2
    assert report.after.pieces == 8
