"""Stacks of images, HDF5 files and closed surfaces."""

import io
import sys

import numpy as np
import pytest

from mmdiff.errors import InputError, MemoryLimitError
from mmdiff.io import read_meshes, read_volumes
from mmdiff.io.read import read

CELL = np.random.default_rng(2).integers(0, 255, (5, 6, 7)).astype(np.uint8)


def test_slices_of_a_stack_are_along_z(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, CELL.transpose(2, 1, 0), photometric="minisblack")
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert info["format"] == "tif" and info["shape"] == [5, 6, 7]
    tifffile.imwrite(path, CELL[0], photometric="minisblack")
    with pytest.raises(InputError, match="with axes YX; a stack of gray images"):
        read(path)


def test_datasets_are_chosen_by_path(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["image/data"] = CELL
        file["image/edge"] = 3.0
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert info["array"] == "image/data"
    with h5py.File(path, "a") as file:
        turned = file.create_dataset("other", data=CELL.transpose(2, 1, 0))
        turned.attrs["permute_order"] = "zyx"
    with pytest.raises(InputError, match=r"2 datasets .* image/data \(5, 6, 7\)"):
        read(path)
    np.testing.assert_array_equal(read(path, key="/other")[0], CELL)
    with pytest.raises(InputError, match="no dataset 'none' of numbers"):
        read(path, key="none")


def test_damaged_files_are_told(tmp_path):
    for suffix in (".tif", ".h5", ".stl", ".ply"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=rf"a{suffix} (is not|holds no|is no)"):
            read(path)


@pytest.mark.parametrize(
    ("library", "suffix"), [("tifffile", ".tif"), ("h5py", ".h5"), ("trimesh", ".stl")]
)
def test_libraries_that_are_missing_are_named(tmp_path, monkeypatch, library, suffix):
    monkeypatch.setitem(sys.modules, library, None)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=rf"need {library}.*pip install 'mmdiff\[form"):
        read(path)


def test_a_surface_is_filled(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "ball.stl"
    trimesh.creation.icosphere(subdivisions=4, radius=2.5).export(path)
    array, info = read(path, voxels=40)
    assert array.shape == (40, 40, 40) and "box of 5 x 5 x 5" in info["notes"][0]
    place = (np.indices(array.shape) + 0.5) / 8 - 2.5
    ball = np.linalg.norm(place, axis=0) < 2.5
    assert (array != ball).mean() < 3e-3
    assert array.mean() == pytest.approx(np.pi / 6, rel=5e-3)


def test_boxes_with_faces_on_voxels_are_exact(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "box.ply"
    outer = trimesh.creation.box(extents=(4, 2, 3))
    inner = trimesh.creation.box(extents=(2, 1, 1))
    inner.invert()
    trimesh.util.concatenate([outer, inner]).export(path)
    array, info = read(path, voxels=16)
    expected = np.ones((16, 8, 12), np.uint8)
    expected[4:12, 2:6, 4:8] = 0
    np.testing.assert_array_equal(array, expected)
    assert info["spacing"] == [0.25, 0.25, 0.25]


def test_open_surfaces_are_refused(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "open.stl"
    box = trimesh.creation.box()
    box.update_faces(np.arange(len(box.faces)) > 0)
    box.export(path)
    with pytest.raises(InputError, match="is no closed surface"):
        read(path)


def test_lines_through_corners_count_once():
    corners = np.array([[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8]], float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    for shift in (0.0, 0.25, 1.0):
        inside = read_meshes.fill(corners + shift, faces, (12, 12, 12))
        x = (np.indices(inside.shape) + 0.5 - shift).reshape(3, -1)
        expected = (x > 0).all(0) & (x.sum(0) < 8)
        np.testing.assert_array_equal(inside.ravel(), expected)


def test_bodies_may_overlap(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "two.stl"
    one, other = trimesh.creation.box(), trimesh.creation.box()
    other.apply_translation([0.5, 0, 0])
    trimesh.util.concatenate([one, other]).export(path)
    assert read(path, voxels=24)[0].all()


def test_edges_of_voxels_that_imagej_wrote(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    options = {"imagej": True, "resolution": (2, 4), "metadata": {"spacing": 2.5}}
    tifffile.imwrite(path, CELL.transpose(2, 1, 0), **options)
    array, info = read(path)
    np.testing.assert_array_equal(array, CELL)
    assert info["spacing"] == [0.5, 0.25, 2.5]
    assert "its voxels measure 0.5 x 0.25 x 2.5." in info["notes"][0]


def test_colours_are_no_slices(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="with axes YXS; a stack of gray images"):
        read(path)


def test_datasets_of_other_orders(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=CELL.transpose(1, 2, 0))
        file["a"].attrs["permute_order"] = "yzx"
    np.testing.assert_array_equal(read(path)[0], CELL)
    with h5py.File(path, "a") as file:
        file["a"].attrs["permute_order"] = "rtz"
    with pytest.raises(InputError, match="has the permute_order 'rtz'"):
        read(path)
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(5)
    with pytest.raises(InputError, match="0 datasets .* Save one cell as one array"):
        read(path)


def test_datasets_stay_in_their_file_and_in_memory(tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "other"
    secret.write_bytes(bytes(8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        where = [(str(secret), 0, 8)]
        file.create_dataset("a", (2, 2, 2), "u1", external=where)
    with pytest.raises(InputError, match="holds 0 datasets of numbers"):
        read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:  # nothing of it is written
        file.create_dataset("a", (2**20, 2**20, 64), "u1", chunks=(64, 64, 64))
    assert (tmp_path / "b.h5").stat().st_size < 10_000
    with pytest.raises(MemoryLimitError, match="b.h5 holds 1048576 x 1048576 x 64 val"):
        read(tmp_path / "b.h5")


def test_files_that_a_surface_names_are_not_opened(tmp_path, monkeypatch):
    trimesh = pytest.importorskip("trimesh")
    text = trimesh.creation.box().export(file_type="obj")
    path, secret = tmp_path / "a.obj", tmp_path / "secret.mtl"
    secret.write_text("newmtl m\nmap_Kd secret.png\n")
    body = [line for line in text.splitlines() if not line.startswith("mtllib")]
    path.write_text("\n".join(["mtllib secret.mtl", "usemtl m", *body]))
    opened, real = [], io.open

    def noting(file, *arguments, **options):
        opened.append(str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", noting)
    monkeypatch.setattr(io, "open", noting)
    (points, faces), _ = read_volumes.load_surface(str(path))
    assert len(points) == 8 and len(faces) == 12
    assert str(path) in opened and str(secret) not in opened
