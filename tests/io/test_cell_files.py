"""The files of one cell hold that cell, also where a package is missing."""

import types

import numpy as np
import pytest

from mmdiff.cells import mesh
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

    monkeypatch.setattr(mesh, "smooth_surface", missing)
    assert write_cell(tmp_path, "bar", cell, image=PICTURE) == [cell_files.NO_MESHER]
    # Four sides of 4 x 8 faces and two ends of 4 x 4, two triangles each.
    faces = 2 * (4 * 4 * 8 + 2 * 4 * 4)
    assert len((tmp_path / "bar.stl").read_bytes()) == 84 + 50 * faces


def test_the_picture_is_drawn_once_and_cut_open_where_walls_are_closed(
    cell, monkeypatch, tmp_path
):
    drawn = []
    monkeypatch.setattr(
        render, "render", lambda voxels, *, cutaway: drawn.append(cutaway) or PICTURE
    )
    entry = CellEntry(name="bar", label="a bar", voxels=cell)
    assert entry.image is entry.image and drawn == [0.0]
    write_cell(tmp_path, "box", np.ones((8, 8, 8)))
    assert drawn == [0.0, 0.5]
    assert entry.files == ["bar.npy", "bar.stl", "bar.3mf", "bar.vti", "bar.png"]
