"""Neighbours whose faces fit, and what their pairs keep of their stiffness."""

import numpy as np
import pytest

from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.interpolate import pairs
from mmdiff.design.interpolate.family import Member
from mmdiff.fem import homogenize


def _wave(n):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return wave[:, None, None] + wave[:, None] + wave


def _ball(volume, n=8):
    return threshold_to_volume(-_wave(n), volume)


def _frame(volume, n=8):
    return threshold_to_volume(_wave(n), volume)


def test_a_cell_fits_itself_and_its_opposite_does_not():
    cell = _frame(0.4)
    assert pairs.face_agreement(cell, cell) == (1.0, 1.0)
    agreement, contact = pairs.face_agreement(cell, 1 - cell)
    assert agreement == 0 and contact == 0
    # A void face has nothing to touch.
    empty = np.zeros_like(cell)
    agreement, contact = pairs.face_agreement(empty, empty)
    assert agreement == 1 and np.isnan(contact)


def test_the_stack_joins_the_outer_faces():
    first, second = _ball(0.3, 4), _frame(0.4, 4)
    pair = pairs.stack(first, second)
    assert pair.shape == (8, 8, 8)
    # From the middle of the first to its face, then from the second's to its middle.
    np.testing.assert_array_equal(pair[:4, :4, :4], first[::-1])
    np.testing.assert_array_equal(pair[4:, :4, :4], second)
    touching = pair[3, :4, :4] == pair[4, :4, :4]
    assert touching.mean() == pairs.face_agreement(first, second)[0]


def _homogenized(octant):
    """The tensor on the whole cell, whose mirror planes make it an octant too."""
    density = octant_to_cell(np.asarray(octant, np.float32))
    tensor, _ = homogenize.homogenize(density, symmetry="orthotropic", tol=1e-3)
    constants = np.array([tensor[0, 0], tensor[0, 1], tensor[3, 3]])
    return Member(np.asarray(octant), constants, "test")


def test_stacked_pairs_have_the_stiffness_of_layers():
    frame = _homogenized(_frame(0.4, 4))
    # A cell on itself is the same material. Energies are to the tolerance squared.
    assert pairs.pair_stiffness(frame, frame) == pytest.approx(1, abs=1e-4)
    # Layers of homogeneous materials are exactly in series, however different.
    solid, soft = (_homogenized(np.full((4, 4, 4), d)) for d in (1.0, 0.5))
    assert solid.constants[0] > 7 * soft.constants[0]
    assert pairs.pair_stiffness(solid, soft) == pytest.approx(1, abs=1e-4)
    # A frame of edges has nothing in common with a cross through the middle.
    cross = _homogenized(threshold_to_volume(-_wave(4), 0.4))
    assert pairs.face_agreement(frame.octant, cross.octant)[0] < 0.6
    assert pairs.pair_stiffness(frame, cross) < 0.8


def test_the_worst_pairs_are_computed_once(tmp_path, monkeypatch):
    solved = []

    def pair_stiffness(first, second):
        solved.append((first.theta, second.theta))
        return 0.75

    monkeypatch.setattr(pairs, "pair_stiffness", pair_stiffness)
    cells = [_frame(0.4), _frame(0.45), 1 - _frame(0.4), _frame(0.4)]
    members = [Member(cell, np.ones(3), "", i) for i, cell in enumerate(cells)]
    assert pairs.worst_ratios(members, 1, tmp_path) == {2: 0.75}
    assert pairs.worst_ratios(members, 2, tmp_path) == {2: 0.75, 1: 0.75}
    assert solved == [(2, 3), (1, 2)]
    assert pairs.worst_ratios(members[:1], 2, tmp_path) == {}
