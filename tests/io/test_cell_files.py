"""The files of one cell hold that cell, also where a package is missing."""

import types

import numpy as np
import pytest

from mmdiff.cells import mesh, smooth_mesh, surface
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.io import cell_files, render
from mmdiff.io.cell_files import KINDS, CellEntry, write_cell
from mmdiff.io.read_vti import read_vti

PICTURE = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture
def cell():
    cell = np.zeros((8, 8, 8), np.uint8)
    cell[2:6, 2:6] = 1
    return cell


def test_all_kinds_hold_the_cell(tmp_path, cell):
    pytest.importorskip("skimage")
    folder = tmp_path / "new" / "out"
    options = {"cell_size_mm": 4, "conventions": "x y z", "image": PICTURE}
    # Designs have their cell as `voxels`.
    design = types.SimpleNamespace(voxels=cell)
    assert write_cell(folder, "bar", design, **options) == []
    assert {path.name for path in folder.iterdir()} == {f"bar.{k}" for k in KINDS}
    np.testing.assert_array_equal(np.load(folder / "bar.npy"), cell)
    np.testing.assert_array_equal(read_vti(folder / "bar.vti")[0], cell)
    text = (folder / "bar.vti").read_bytes()
    assert b'Spacing="0.5 0.5 0.5"' in text
    assert " ".join(str(code) for code in b"x y z\0").encode() in text


def test_without_a_mesher_the_voxels_are_the_surface(tmp_path, cell, monkeypatch):
    def missing(*_):
        raise ImportError("skimage")

    monkeypatch.setattr(smooth_mesh, "smooth_surface", missing)
    monkeypatch.setattr(mesh, "field_surface", missing)
    assert write_cell(tmp_path, "bar", cell, image=PICTURE) == [cell_files.NO_MESHER]
    options = {"psi": np.ones((4, 4, 4)), "image": PICTURE}
    assert write_cell(tmp_path, "two", cell, **options) == [cell_files.NO_MESHER]
    # Four sides of 4 x 8 faces and two ends of 4 x 4, two triangles each.
    faces = 2 * (4 * 4 * 8 + 2 * 4 * 4)
    for name in ("bar", "two"):
        assert len((tmp_path / f"{name}.stl").read_bytes()) == 84 + 50 * faces


def test_meshes_and_picture_of_a_cell_with_a_field_show_its_surface(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    psi = 4 * np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    psi = psi + psi[:, None] + psi[:, None, None] - 1.2
    design = types.SimpleNamespace(
        voxels=octant_to_cell(surface.voxels(psi, 16)), psi=psi
    )
    assert write_cell(tmp_path, "p", design, cell_size_mm=3.0) == []
    vertices, faces = mesh.field_surface(psi, 3.0)
    for kind, unit in (("stl", 1.0), ("glb", 1e-3)):
        read = trimesh.load_mesh(tmp_path / f"p.{kind}")
        assert len(read.faces) == len(faces) and read.is_watertight
        volume = mesh.mesh_volume(vertices, faces) * unit**3
        assert read.volume == pytest.approx(volume, rel=1e-5)
    reader = pytest.importorskip("matplotlib.image")
    picture = reader.imread(tmp_path / "p.png")[..., :3]
    drawn = render.render(design.voxels, psi=psi)
    np.testing.assert_array_equal(np.round(255 * picture), drawn)
    assert (drawn != render.render(design.voxels)).any()


def test_the_picture_is_drawn_once_and_cut_open_where_walls_are_closed(
    cell, monkeypatch, tmp_path
):
    drawn = []
    monkeypatch.setattr(
        render,
        "render",
        lambda voxels, *, psi, cutaway: drawn.append(cutaway) or PICTURE,
    )
    entry = CellEntry(name="bar", label="a bar", voxels=cell)
    assert entry.image is entry.image and drawn == [0.0]
    write_cell(tmp_path, "box", np.ones((8, 8, 8)))
    assert drawn == [0.0, 0.5]
    assert entry.files == [f"bar.{kind}" for kind in KINDS]
