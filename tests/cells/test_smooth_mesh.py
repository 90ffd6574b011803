"""Smooth surfaces are closed, volume-true and keep every wall and piece."""

import numpy as np
import pytest
from scipy import ndimage
from voxelize import edge_uses

from mmdiff.cells.mesh import mesh_volume, voxel_surface
from mmdiff.cells.smooth_mesh import smooth_field, smooth_surface


def waves(n=32):
    x = (np.arange(n) + 0.5) * 2 * np.pi / n
    return np.meshgrid(x, x, x, indexing="ij")


def gyroid(n=32, level=0.4):
    x, y, z = waves(n)
    field = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return field > level


def schwarz(n=32):
    return sum(np.cos(w) for w in waves(n)) > 0.2


def plate(thickness, n=24, axis=0, first=5):
    cell = np.zeros((n, n, n), bool)
    cell[(slice(None),) * axis + (slice(first, first + thickness),)] = True
    return cell


def blob(seed, n=20, sigma=1.0):
    noise = np.random.default_rng(seed).normal(size=(n, n, n))
    field = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return field > np.quantile(field, 0.6)


CELLS = {
    "gyroid": gyroid(),
    "schwarz": schwarz(),
    "one voxel": plate(1),
    "one voxel at the face": plate(1, axis=2, first=0),
    "two voxels": plate(2, axis=1),
    "coarse blob": blob(0),
    "fine blob": blob(1, sigma=0.5),
    "noise": np.random.default_rng(2).random((9, 10, 11)) > 0.5,
    "full": np.ones((6, 6, 6), bool),
    "diagonal pair": np.eye(2, dtype=bool)[:, :, None] & np.ones((2, 2, 2), bool),
}


def test_empty_cells_have_empty_surfaces():
    pytest.importorskip("skimage")
    vertices, faces = smooth_surface(np.zeros((4, 4, 4)))
    assert vertices.shape == (0, 3) and faces.shape == (0, 3)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_smooth_surface_is_closed_and_keeps_the_volume(cell):
    pytest.importorskip("skimage")
    vertices, faces = smooth_surface(cell, cell_size_mm=cell.shape[0])
    forward, backward = edge_uses(faces)
    assert np.array_equal(forward, backward)
    # The promise to users: within 1 % of the voxel count.
    assert mesh_volume(vertices, faces) == pytest.approx(cell.sum(), rel=0.01)
    assert vertices.min() >= 0 and (vertices <= np.array(cell.shape)).all()


@pytest.mark.parametrize("name", ["gyroid", "schwarz", "two voxels", "coarse blob"])
def test_smooth_surface_has_the_pieces_of_the_voxels(name):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    smooth = trimesh.Trimesh(*smooth_surface(CELLS[name]), process=False)
    exact = trimesh.Trimesh(*voxel_surface(CELLS[name]), process=False)
    assert smooth.is_watertight and smooth.is_winding_consistent
    # body_count counts shells: pieces and closed cavities alike.
    assert smooth.body_count == exact.body_count


@pytest.mark.parametrize("thickness", [1, 2])
def test_smooth_walls_keep_their_thickness(thickness):
    pytest.importorskip("skimage")
    vertices, _ = smooth_surface(plate(thickness), cell_size_mm=24)
    extent = np.ptp(vertices[:, 0])
    # One level serves the whole cell: the volume search moves flat walls by less than
    # 0.2 % of the volume, and no bevel exists on a plate.
    assert extent == pytest.approx(thickness, rel=0.01)


def test_smooth_surface_is_flat_on_the_faces_so_that_copies_tile():
    pytest.importorskip("skimage")
    vertices, faces = smooth_surface(schwarz(), cell_size_mm=1.0)
    corners = vertices[faces]
    areas = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    low, high = (
        areas[(corners[:, :, 0] == side).all(axis=1)].sum() / 2 for side in (0.0, 1.0)
    )
    # Schwarz P is mirror-symmetric: both faces carry the same cross-section.
    assert low == pytest.approx(high, rel=1e-5)
    assert low == pytest.approx(schwarz()[0].mean(), rel=0.03)  # flat patch, not a dome


def test_smooth_field_keeps_every_voxel_on_its_side():
    for cell in CELLS.values():
        field = smooth_field(cell)
        assert np.array_equal(field > 0.5, cell)
        assert field.min() >= 0 and field.max() <= 1


def test_smooth_surface_is_smoother_than_the_voxels():
    pytest.importorskip("skimage")
    areas = []
    for surface in (voxel_surface, smooth_surface):
        vertices, faces = surface(gyroid(48))
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        areas.append(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
    # Stairs have up to 3/2 of the area of what they approximate on average.
    assert areas[1] < 0.85 * areas[0]
