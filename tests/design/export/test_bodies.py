"""Bodies for export: what files hold, copies of cells, graded blocks, reports."""

import numpy as np
import pytest
from design_helpers import wave

from mmdiff import memory
from mmdiff.cells import mesh, surface
from mmdiff.cells.prepare import Options
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.export import block, check, graded, report, source
from mmdiff.design.export.source import Reading
from mmdiff.design.interpolate import family
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError, MemoryLimitError

N = 8
PSI = surface.to_volume(wave(N) / 3, 0.4)
READING = Reading(resolution=32)


def _member(volume, kind="chain"):
    psi = surface.to_volume(wave(N) / 3, volume)
    return Member(psi, np.array([1, 0.4, 0.3]) * volume, np.ones(3), volume, kind)


CHAIN = [_member(volume) for volume in (0.3, 0.4, 0.5)]


def _saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_fields_of_archives_are_taken_as_surfaces(tmp_path):
    path = _saved(tmp_path / "cells.npz", psi=np.stack([PSI, -PSI]), cells=np.ones(3))
    found = source.read_source(path, Reading(resolution=32, index="1"))
    assert found.name == "cells.npz[1]" and found.voxels.shape == (32, 32, 32)
    np.testing.assert_array_equal(found.psi, -PSI)
    for index in ("", "all"):
        with pytest.raises(InputError, match="holds 2 cells and one is exported"):
            source.read_source(path, Reading(index=index))


def test_voxels_are_meshed_as_asked(tmp_path):
    octant = surface.voxels(PSI, N)
    np.save(tmp_path / "octant.npy", 255 * octant)
    options = Options(input_is="octant", scale=255)
    found = {
        kind: source.read_source(
            tmp_path / "octant.npy", Reading(options=options, surface=kind)
        )
        for kind in source.SURFACES
    }
    for one in found.values():
        np.testing.assert_array_equal(one.voxels, octant_to_cell(octant))
    assert found["field"].psi is not None and found["auto"].psi is None
    assert found["voxels"].exact and not found["smooth"].exact
    with pytest.raises(InputError, match="surface=round is unknown"):
        Reading(surface="round")


def test_fields_that_are_none_are_refused(tmp_path):
    bad = {"nan": np.full((N, N, N), np.nan), "void": np.full((N, N, N), -1.0)}
    for name, word in (("nan", "NaN or infinite"), ("void", "has no solid")):
        path = _saved(tmp_path / f"{name}.npz", psi=bad[name])
        with pytest.raises(InputError, match=word):
            source.read_source(path, READING)
    dot = np.full((9, 9, 9), -1.0)
    dot[4, 4, 4] = 0.01  # the middles of the voxels around it are void
    path = _saved(tmp_path / "dot.npz", box=dot)
    with pytest.raises(InputError, match="none of 8 x 8 x 8 voxels is solid"):
        source.read_source(path, READING)
    path = _saved(tmp_path / "long.npz", psi=np.ones((4, 4, 8)))
    with pytest.raises(InputError, match="three equal edges"):
        source.read_source(path, READING)


def test_copies_of_a_surface_are_one_closed_body(tmp_path):
    path = _saved(tmp_path / "cell.npz", psi=PSI)
    cell = source.read_source(path, READING)
    one = check.check_mesh(*mesh.field_surface(PSI, 5.0))
    body = block.make_block(cell, (2, 1, 3), 5.0)
    found = check.check_mesh(body.vertices, body.faces)
    assert found.is_sound and body.size == (10, 5, 15)
    # Volumes add up, and the walls between cells are gone.
    assert found.volume_mm3 == pytest.approx(6 * one.volume_mm3, rel=1e-5)
    assert found.triangles < 6 * one.triangles and found.area_mm2 < 6 * one.area_mm2
    np.testing.assert_allclose(np.ptp(body.vertices, axis=0), body.size, rtol=1e-6)
    np.testing.assert_array_equal(body.voxels[32:, :, 64:], body.voxels[:32, :, :32])


@pytest.mark.parametrize("kind", ["smooth", "voxels"])
def test_copies_of_voxels_are_one_closed_body(tmp_path, kind):
    np.save(tmp_path / "cell.npy", octant_to_cell(surface.voxels(PSI, N)))
    reading = Reading(surface=kind)
    cell = source.read_source(tmp_path / "cell.npy", reading)
    body = block.make_block(cell, (2, 2, 1), 8.0)
    found = check.check_mesh(body.vertices, body.faces)
    solid = body.voxels.sum() * body.spacing**3
    assert found.is_sound and found.volume_mm3 == pytest.approx(solid, rel=0.01)


def test_a_periodic_box_is_tiled(tmp_path):
    x = np.linspace(0, 2 * np.pi, 17)
    box = np.cos(x)[:, None, None] + np.cos(x)[:, None] + np.cos(x + 1)
    path = _saved(tmp_path / "surface.npz", box=box)
    cell = source.read_source(path, READING)
    body = block.make_block(cell, (1, 2, 2), 5.0)
    found = check.check_mesh(body.vertices, body.faces)
    assert found.closed and found.oriented and body.voxels.shape == (16, 32, 32)
    solid = body.voxels.sum() * body.spacing**3
    assert found.volume_mm3 == pytest.approx(solid, rel=0.03)


def test_blocks_that_are_too_large_are_refused():
    with pytest.raises(InputError, match=r"tiles=\(99, 99, 99\) of 64 x 64 x 64"):
        block.check_size((64, 64, 64), (99, 99, 99))


def test_meshes_that_no_memory_holds_are_refused(tmp_path, monkeypatch):
    # Enough for the voxels: the mesh of a field may have many triangles for each.
    monkeypatch.setattr(memory, "available", lambda: 200 * block.BYTES * 16**3)
    cell = source.read_source(
        _saved(tmp_path / "cell.npz", psi=PSI), Reading(resolution=16)
    )
    assert len(block.make_block(cell, (2, 1, 1), 5.0).faces)
    with pytest.raises(MemoryLimitError, match=r"a mesh of 9 x 9 x 2 cells of \d+ tri"):
        block.make_block(cell, (9, 9, 2), 5.0)


@pytest.mark.parametrize("axis", "xyz")
def test_a_block_is_graded_along_any_axis(axis):
    tiles = tuple(3 if name == axis else 2 for name in "xyz")
    options = {"tiles": tiles, "size_mm": 5.0, "axis": axis, "samples": N}
    body, layers, used = graded.make_graded(CHAIN, "family", **options)
    found = check.check_mesh(body.vertices, body.faces)
    assert found.closed and found.oriented and len(used) == 3
    assert body.size == tuple(5.0 * count for count in tiles)
    along = np.moveaxis(body.voxels, "xyz".index(axis), 0)
    shares = along.reshape(3, -1).mean(1)
    expected = [one.volume for one in layers]
    np.testing.assert_allclose(expected, 0.3 + 0.2 * np.array([1, 3, 5]) / 6)
    np.testing.assert_allclose(shares, expected, atol=0.02)  # voxels are in or out
    # Constants of the members here are linear in volume.
    for one in layers:
        np.testing.assert_allclose(one.constants, np.array([1, 0.4, 0.3]) * one.volume)


def test_a_grade_may_fall_and_take_a_part_of_the_family():
    options = {"tiles": (2, 1, 1), "size_mm": 5.0, "samples": N}
    body, layers, used = graded.make_graded(
        CHAIN, "family", ends=(0.38, 0.32), **options
    )
    shares = body.voxels.reshape(2, -1).mean(1)
    np.testing.assert_allclose(shares, [0.365, 0.335], atol=0.02)
    assert [one.volume for one in used] == [0.3, 0.4]
    for ends, word in (((0.2, 0.4), "leaves the volumes"), ((0.4, 0.4), "one volume")):
        with pytest.raises(InputError, match=word):
            graded.make_graded(CHAIN, "family", ends=ends, **options)
    with pytest.raises(InputError, match="axis=w is unknown"):
        graded.make_graded(CHAIN, "family", axis="w", **options)


def test_neighbours_that_do_not_fit_are_told():
    other = Member(
        surface.to_volume(-wave(N) / 3, 0.4), np.ones(3), np.ones(3), 0.4, "chain"
    )
    options = {"tiles": (2, 1, 1), "size_mm": 5.0, "samples": N}
    body, *_ = graded.make_graded([CHAIN[0], other], "family", **options)
    assert any("faces of neighbours agree in" in note for note in body.notes)
    near = [CHAIN[0], _member(0.32)]
    body, *_ = graded.make_graded(near, "family", **options)
    assert not body.notes


def test_a_family_is_its_chain_by_volume(tmp_path):
    members = [CHAIN[2], _member(0.7, "path"), CHAIN[0]]
    np.savez(tmp_path / "family.npz", **family.arrays(members))
    for place in (tmp_path, tmp_path / "family.npz"):
        assert [m.volume for m in source.read_family(place)] == [0.3, 0.5]
    np.savez(tmp_path / "one.npz", **family.arrays(CHAIN[:1]))
    np.savez(tmp_path / "none.npz", psi=PSI)
    for name, word in (
        ("one.npz", "grading needs two volumes"),
        ("none.npz", "is no family of cells"),
        ("gone.npz", "no family at"),
    ):
        with pytest.raises(InputError, match=word):
            source.read_family(tmp_path / name)


def test_what_falls_off_and_what_is_trapped_is_counted():
    voxels = np.zeros((20, 10, 10), np.uint8)
    voxels[:8] = 1
    voxels[2:4, 4:6, 4:6] = 0  # closed in
    voxels[12:14] = 1  # apart
    mesh_of = mesh.voxel_surface(voxels, 20.0)
    body = block.Block("body", voxels, 1.0, *mesh_of, ())
    found = report.of_block(body)
    assert (found["pieces"], found["closed_pores"]) == (2, 1)
    assert found["trapped"] == pytest.approx(8 / 1008)
    checked = check.check_mesh(*mesh_of)
    printed = {"wall_mm": 0.1, "gap_mm": 2.0, "trapped": 0.0}
    values = report.make_values(body, checked, printed, density=2.0, reduced=None)
    assert values["mass_g"] == pytest.approx(2e-3 * (800 - 8 + 200))
    said = " ".join(report.remarks(values, 0.4))
    for word in ("wall is 0.1 mm", "2 separate pieces", "1 closed pores"):
        assert word in said


def test_formats_are_checked():
    assert report.parse_formats("vti, stl,vti") == ("vti", "stl")
    with pytest.raises(InputError, match="formats=stl,step: 'step' is unknown"):
        report.parse_formats("stl,step")
