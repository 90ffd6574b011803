"""Strips that are graded through a family, and their files."""

import numpy as np
import pytest
from design_helpers import frame, wave
from scipy import ndimage

from mmdiff.cells import surface
from mmdiff.design.interpolate import strip
from mmdiff.design.interpolate.family import Member
from mmdiff.io import cell_files, render

N = 8


def _member(psi, volume=None):
    volume = surface.volume(psi) if volume is None else volume
    return Member(psi, np.ones(3), np.ones(3), volume, "chain")


CHAIN = [
    _member(surface.to_volume(wave(N) / 3, volume)) for volume in (0.3, 0.35, 0.45, 0.6)
]


def _pieces(solid):
    return ndimage.label(solid)[1]


@pytest.mark.parametrize("samples", [8, 16])
def test_the_volume_grows_evenly_along_the_strip(samples):
    values = strip.graded(CHAIN, 3, samples)
    across = 2 * samples
    assert values.shape == (3 * across + 1, across + 1, across + 1)
    _, voxels = cell_files.block_files("graded", values, 1.0)
    low, high = CHAIN[0].volume, CHAIN[-1].volume
    # The volume meant is linear in x; voxels are in or out, and cells differ inside.
    shares = voxels.reshape(3, across, across, across).mean((1, 2, 3))
    np.testing.assert_allclose(
        shares, low + (high - low) * np.array([1, 3, 5]) / 6, atol=0.02
    )


def test_the_strip_has_the_mirror_planes_of_its_cells():
    values = strip.graded(CHAIN, 2, N)
    np.testing.assert_array_equal(values, values[:, ::-1])
    np.testing.assert_array_equal(values, values[:, :, ::-1])
    np.testing.assert_array_equal(values, values.transpose(0, 2, 1))
    assert np.any(values != values[::-1])


def test_the_faces_at_both_ends_are_those_of_the_members():
    values = strip.graded(CHAIN, 2, N)
    for face, member in ((values[0], CHAIN[0]), (values[-1], CHAIN[-1])):
        quarter = surface.sample(member.psi, surface.corners(N, N))[0]
        np.testing.assert_allclose(face[: N + 1, : N + 1], quarter, atol=1e-5)


def test_members_are_met_where_their_volume_is_meant():
    chain = [
        member._replace(volume=v) for member, v in zip(CHAIN, (0, 1, 3, 4), strict=True)
    ]
    values = strip.graded(chain, 2, N)
    # Volumes 0 to 4 along 32 spacings: the second member is at spacing 8.
    middle = surface.sample(CHAIN[1].psi, surface.corners(N, N))[N]
    np.testing.assert_allclose(values[8, : N + 1, : N + 1], middle, atol=1e-5)


def test_specks_are_filled_and_loose_solid_is_dropped():
    psi = CHAIN[2].psi.copy()
    psi[0, 0, 0] = -3  # a pore in the middle of the solid
    psi[-1, -1, -1] = 3  # and solid in the middle of the void
    alike = [_member(psi, volume) for volume in (0.4, 0.5)]
    octant = surface.sample(psi, surface.corners(N, N))
    assert _pieces(octant > 0) > 1 and _pieces(octant <= 0) > 1
    values = strip.graded(alike, 2, N)
    assert values.dtype == np.float32
    assert _pieces(values > 0) == 1 and _pieces(values <= 0) == 1
    # What is changed is just inside or outside of the surface.
    filled, dropped = values[0, 0, 0], values[N, N, N]
    np.testing.assert_allclose([filled, dropped], [strip.LEVEL, -strip.LEVEL])


def test_closed_cells_keep_their_pores():
    psi = surface.from_voxels((frame(N) > 0).astype(np.uint8))
    values = strip.graded([_member(psi, volume) for volume in (0.4, 0.5)], 2, N)
    # One inside, between the walls of both cells, and parts of others round it.
    assert _pieces(values <= 0) == 3 * 2 * 2
    assert all(np.bincount(ndimage.label(values <= 0)[0].ravel()) >= strip.SPECK)


def test_a_block_is_written_closed_and_in_millimetres(tmp_path, monkeypatch):
    picture = np.full((8, 8, 3), 200, np.uint8)  # the real one takes seconds
    monkeypatch.setattr(render, "render", lambda cell, **_: picture)
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    values = strip.graded(CHAIN, 2, N)
    files, voxels = cell_files.block_files("graded", values, 10.0 / (2 * N))
    assert set(files) == {
        f"graded.{kind}" for kind in ("stl", "3mf", "glb", "npy", "png")
    }
    for name, make in files.items():
        make(tmp_path / name)
        assert (tmp_path / name).stat().st_size
    np.testing.assert_array_equal(np.load(tmp_path / "graded.npy"), voxels)
    assert voxels.shape == (4 * N, 2 * N, 2 * N) and set(np.unique(voxels)) == {0, 1}
    solid = trimesh.load(tmp_path / "graded.stl")
    assert solid.is_watertight and solid.is_winding_consistent
    np.testing.assert_allclose(solid.bounds, [[0, 0, 0], [20, 10, 10]], atol=1e-5)
    # Of two cells of 10 mm.
    assert solid.volume / 2000 == pytest.approx(voxels.mean(), abs=0.01)
