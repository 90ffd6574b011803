"""Samples to fields: what is cleaned, refused and told of a cell."""

import numpy as np
import pytest
from design_helpers import block, frame, smooth_field, wave
from field_helpers import estimate

from mmdiff import elasticity
from mmdiff.cells import surface
from mmdiff.cells.grey import connected, to_field
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.design.generate.cell import make_cell
from mmdiff.targets.target import of_constants

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


def test_a_cell_tells_its_numbers():
    psi = smooth_field(0.45)
    result = estimate(psi)
    goal = np.array([0.4, 0.2, 0.1])
    cell = make_cell(psi, result, of_constants(goal, 0.5))
    assert cell.volume == pytest.approx(0.45, abs=1e-4)
    np.testing.assert_array_equal(cell.constants, result.constants)
    error = np.mean(abs(cell.constants - goal) / [1.330768, 0.667355, 0.383357])
    np.testing.assert_allclose(cell.error, error, rtol=1e-12)
    assert cell.history == (cell.error,) and cell.volumes == (cell.volume,)
    assert cell.voxels.shape == (128,) * 3 and cell.voxels.dtype == np.uint8
    assert abs(cell.voxels.mean() - 0.45) < 5e-3
    part = cell.voxels[64:, 64:, 64:]
    np.testing.assert_array_equal(part[::-1, ::-1, ::-1], surface.voxels(psi, 64))
    np.testing.assert_array_equal(cell.octant, surface.voxels(psi, N))
    got = elasticity.voigt_to_cubic(cell.tensor)
    np.testing.assert_array_equal(got, cell.constants)
    assert cell.printability == printability(psi)
    c, d = cell.constants[0], cell.uncertainty[0]
    assert repr(cell).startswith(f"Cell(volume 0.450, C11 {c:.4f}({d:.4f}), C12 ")
    assert repr(cell).endswith(f" {100 * error:.3f} % from the target)")
    assert np.isnan(cell.as_voxels).all()
