"""Neighbours whose faces fit, and what their pairs keep of their stiffness."""

import numpy as np
import pytest

from mmdiff.cells import surface
from mmdiff.design.interpolate import pairs
from mmdiff.design.interpolate.family import Member


def _mean(n):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return (wave[:, None, None] + wave[:, None] + wave) / 3


def _ball(volume, n=8):
    return surface.to_volume(-_mean(n), volume)


def _frame(volume, n=8):
    return surface.to_volume(_mean(n), volume)


def test_a_cell_fits_itself_and_its_opposite_does_not():
    cell = _frame(0.4)
    assert pairs.face_agreement(cell, cell) == (1.0, 1.0)
    agreement, contact = pairs.face_agreement(cell, -cell)
    assert agreement == 0 and contact == 0
    # A void face has nothing to touch.
    empty = _ball(0.1)
    agreement, contact = pairs.face_agreement(empty, empty)
    assert agreement == 1 and np.isnan(contact)


def test_faces_fit_as_far_as_they_are_solid_together():
    # Struts along the edges, 3 and 5 of 8 spacings wide: squares of their widths.
    i = np.arange(8.0)

    def struts(width):
        near = np.minimum(width - 0.5 - i[:, None], width - 0.5 - i)
        parts = (near[:, :, None], near[:, None, :], near[None])
        return np.maximum(np.maximum(*parts[:2]), parts[2])

    agreement, contact = pairs.face_agreement(struts(3), struts(5))
    # On the face a frame of this width all round: 1 - (1 - w)^2 of it.
    thin, thick = (1 - (1 - w / 8) ** 2 for w in (3, 5))
    assert agreement == pytest.approx(1 - (thick - thin), abs=0.05)
    assert contact == pytest.approx(thin / thick, abs=0.05)


def test_the_stack_joins_the_outer_faces():
    first, second = (surface.voxels(psi, 4) for psi in (_ball(0.3, 4), _frame(0.4, 4)))
    pair = pairs.stack(first, second)
    assert pair.shape == (8, 8, 8)
    # From the middle of the first to its face, then from the second's to its middle.
    np.testing.assert_array_equal(pair[:4, :4, :4], first[::-1])
    np.testing.assert_array_equal(pair[4:, :4, :4], second)


def _of(psi):
    return Member(psi, np.ones(3), np.ones(3), surface.volume(psi), "test")


@pytest.mark.slow
def test_stacked_pairs_have_the_stiffness_of_layers():
    frame = _of(_frame(0.4))
    # A cell on itself is the same material. Energies are to the tolerance squared.
    assert pairs.pair_stiffness(frame, frame) == pytest.approx(1, abs=1e-4)
    # A frame of edges has nothing in common with a cross through the middle.
    cross = _of(_frame(0.4)[::-1, ::-1, ::-1])
    assert pairs.face_agreement(frame.psi, cross.psi)[0] < 0.6
    assert pairs.pair_stiffness(frame, cross) < 0.8
    # More of the same frame is next to in series with less of it.
    heavy = _of(_frame(0.5))
    assert 0.9 < pairs.pair_stiffness(frame, heavy) < 1


def test_the_worst_pairs_are_computed_once(tmp_path, monkeypatch):
    solved = []

    def pair_stiffness(first, second):
        solved.append((first.theta, second.theta))
        return 0.75

    monkeypatch.setattr(pairs, "pair_stiffness", pair_stiffness)
    cells = [_frame(0.4), _frame(0.45), -_frame(0.4), _frame(0.4)]
    members = [_of(cell)._replace(theta=i) for i, cell in enumerate(cells)]
    assert pairs.worst_ratios(members, 1, tmp_path) == {2: 0.75}
    assert pairs.worst_ratios(members, 2, tmp_path) == {2: 0.75, 1: 0.75}
    assert solved == [(2, 3), (1, 2)]
    assert pairs.worst_ratios(members[:1], 2, tmp_path) == {}
