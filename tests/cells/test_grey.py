"""Grey arrays to fields: what is smoothed, cut off and refused."""

import numpy as np
import pytest
from design_helpers import block, frame, wave

from mmdiff.cells import surface
from mmdiff.cells.grey import connected, to_field
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, symmetrize

N = 8


@pytest.mark.parametrize("volume", [0.35, 0.6])
def test_a_sample_becomes_a_field_of_its_volume(volume):
    psi, reason = to_field(np.clip(wave(16), -1, 1), volume)
    assert reason == "" and is_cubic(psi)
    assert abs(surface.volume(psi) - volume) < 1e-4
    as_it_is, _ = to_field(np.clip(wave(16), -1, 1), None)
    assert abs(surface.volume(as_it_is) - (wave(16) > 0).mean()) < 1e-4


def test_noise_of_a_sample_is_smoothed():
    noise = symmetrize(np.random.default_rng(0).normal(size=(16, 16, 16)))
    psi, reason = to_field(np.sign(wave(16) + 0.5 * noise), 0.5)
    assert reason == ""
    # Slopes of a distance are about 1 beside the surface.
    steep = np.linalg.norm(surface.slopes(psi, surface.centres(16, 16)), axis=0)
    assert np.median(steep[abs(psi) < 0.5]) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (block(16), "not load bearing"),
        (-np.ones((N, N, N)), "all solid or all void"),
        (np.ones((N, N, N)), "all solid or all void"),
        (np.where(abs(frame(16, 3)[::-1, ::-1, ::-1]) + block(16) > 1, 1.0, -1.0), ""),
    ],
)
def test_samples_that_carry_no_load_are_refused(sample, reason):
    found = to_field(sample, None)[1]
    assert found == reason if reason else isinstance(found, str)


def test_loose_pieces_are_cut_off():
    sample = frame(16, 4)
    sample[3:5, 3:5, 3:5] = 1  # a lump in each of the eight octants
    psi, reason = to_field(sample, None)
    assert reason == "" and printability(psi).pieces == 1
    assert (psi[3:5, 3:5, 3:5] < 0).all()
    kept, reason = connected(psi)
    assert reason == "" and kept is psi


def test_fields_need_no_equal_axes():
    sample = np.clip(wave(16), -1, 1) + 0.2 * np.cos(np.arange(16) / 5)
    psi, reason = to_field(sample, 0.4, "orthotropic")
    assert reason == "" and not is_cubic(psi)
    assert abs(surface.volume(psi) - 0.4) < 1e-4
