"""Grey arrays to fields: what is smoothed, cut off and refused."""

import numpy as np
import pytest
from design_helpers import block, frame, wave

from mmdiff.cells import surface
from mmdiff.cells.distance import CLIP, redistance
from mmdiff.cells.grey import connected, of_density, to_field, to_sample
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, symmetrize

N = 8


def _sample(volume=0.4, n=16):
    return to_sample(redistance(surface.to_volume(wave(n) / 4, volume)))


@pytest.mark.parametrize("volume", [0.35, 0.45])
def test_a_sample_is_moved_to_a_volume(volume):
    sample = _sample()
    psi, reason = to_field(sample.astype(np.float32), volume)
    assert reason == "" and is_cubic(psi)
    assert abs(surface.volume(psi) - volume) < 1e-5
    # Its surface moves everywhere alike.
    assert np.ptp(psi - CLIP * sample) < 1e-5
    kept, _ = to_field(sample, None)
    np.testing.assert_allclose(kept, CLIP * sample, rtol=1e-12)
    np.testing.assert_allclose(to_sample(kept), sample, rtol=1e-12)


def test_volumes_out_of_reach_are_approached():
    psi, _ = to_field(_sample(), 0.9)
    assert 0.5 < surface.volume(psi) < 0.9


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (block(16), "not load bearing"),
        (-np.ones((N, N, N)), "all solid or all void"),
        (np.ones((N, N, N)), "all solid or all void"),
    ],
)
def test_samples_that_carry_no_load_are_refused(sample, reason):
    assert to_field(sample, None)[1] == reason


@pytest.mark.parametrize("volume", [0.35, 0.6])
def test_a_density_becomes_a_field_of_its_volume(volume):
    psi, reason = of_density(np.clip(wave(16), -1, 1), volume)
    assert reason == "" and is_cubic(psi)
    assert abs(surface.volume(psi) - volume) < 1e-4
    as_it_is, _ = of_density(np.clip(wave(16), -1, 1), None)
    assert abs(surface.volume(as_it_is) - (wave(16) > 0).mean()) < 1e-4


def test_noise_of_a_density_is_smoothed():
    noise = symmetrize(np.random.default_rng(0).normal(size=(16, 16, 16)))
    psi, reason = of_density(np.sign(wave(16) + 0.5 * noise), 0.5)
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
def test_densities_that_carry_no_load_are_refused(sample, reason):
    found = of_density(sample, None)[1]
    assert found == reason if reason else isinstance(found, str)


def test_loose_pieces_are_cut_off():
    sample = frame(16, 4)
    sample[3:5, 3:5, 3:5] = 1  # a lump in each of the eight octants
    psi, reason = of_density(sample, None)
    assert reason == "" and printability(psi).pieces == 1
    assert (psi[3:5, 3:5, 3:5] < 0).all()
    kept, reason = connected(psi)
    assert reason == "" and kept is psi


def test_fields_need_no_equal_axes():
    sample = np.clip(wave(16), -1, 1) + 0.2 * np.cos(np.arange(16) / 5)
    psi, reason = of_density(sample, 0.4, "orthotropic")
    assert reason == "" and not is_cubic(psi)
    assert abs(surface.volume(psi) - 0.4) < 1e-4
