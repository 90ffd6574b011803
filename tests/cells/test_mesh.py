"""Meshes are closed, outward and on the surface; the volume is that of the field."""

import numpy as np
import pytest
from voxelize import edge_uses, stl_fractions

import mmdiff as mm
from mmdiff.cells import lattices, surface
from mmdiff.cells.mesh import (
    box_surface,
    field_surface,
    mesh_volume,
    voxel_surface,
)
from mmdiff.cells.symmetry import octant_to_cell

N = 16


def distance(function, n=N):
    """Return samples of a function of the octant's voxel centres, in spacings."""
    x = np.arange(n) + 0.5
    return function(*np.meshgrid(x, x, x, indexing="ij"))


def ball(radius, n=N, centre=0.0):
    def inside(*points):
        return radius - np.sqrt(sum((x - centre) ** 2 for x in points))

    # Smooth at the centre, and equal to the distance in value and slope at the surface.
    return distance(lambda *p: (radius**2 - (radius - inside(*p)) ** 2) / 2 / radius, n)


def schwarz(level=0.2, n=N):
    """Return Schwarz P of one period, which the series of the field holds exactly."""
    return distance(lambda *p: sum(np.cos(np.pi * x / n) for x in p) - level, n) * n / 4


def octants(count=3):
    data = mm.load_dataset()
    return data.octants(np.linspace(10, len(data.volume) - 10, count, dtype=int))


FIELDS = {
    "schwarz": schwarz(),
    "schwarz, void": -schwarz(),
    "through samples": schwarz(0.0),
    "corner": ball(9.0),  # meets the faces of the cell in quarter circles
    "middle": ball(7.3, centre=N),  # meets none
    "touches": ball(float(N), centre=N),  # all six faces from inside, in a point
    "speck": ball(0.9, centre=4.5),
    "solid": np.full((N,) * 3, 2.0),
    "plate": distance(lambda x, y, z: x - 9.2 + 0 * y),
    "three axes": distance(
        lambda x, y, z: 5 - np.sqrt(x**2 + (y / 2) ** 2 + (z - 3) ** 2)
    ),
}


def areas(vertices, faces):
    a, b, c = (vertices[faces[:, i]].astype(float) for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def on_faces(vertices, size):
    return (vertices == 0) | (vertices == size)


def check_mesh(psi, vertices, faces, size):
    """Check that a mesh is the surface of a field: closed, capped, on the zero set."""
    trimesh = pytest.importorskip("trimesh")
    forward, backward = edge_uses(faces)
    assert (forward == 1).all() and (backward == 1).all()
    assert areas(vertices, faces).min() > 0
    assert len(np.unique(vertices, axis=0)) == len(vertices)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.is_volume
    # Vertices that are not of a cap alone lie on the zero set.
    cap = (on_faces(vertices, size)[faces]).all(axis=1).any(axis=1)
    free = np.unique(faces[~cap])
    n = psi.shape[-1]
    points = vertices[free].astype(np.float64) * (2 * n / size) - 0.5
    points = points[(points < n).all(axis=1)]
    value, slope = surface.at_points(psi, points)
    assert (abs(value) <= 1e-4 * np.linalg.norm(slope, axis=1) + 1e-6).all()
    # Copies tile: opposite faces have the same vertices.
    for axis in range(3):
        others = np.delete(np.arange(3), axis)
        near, far = (
            vertices[vertices[:, axis] == end][:, others] for end in (0.0, size)
        )
        np.testing.assert_array_equal(np.unique(near, axis=0), np.unique(far, axis=0))


@pytest.mark.parametrize("psi", FIELDS.values(), ids=FIELDS)
def test_a_mesh_is_closed_and_lies_on_the_zero_set(psi):
    pytest.importorskip("skimage")
    vertices, faces = field_surface(psi, cell_size_mm=8.0)
    assert vertices.dtype == np.float32 and faces.dtype == np.int32
    check_mesh(psi, vertices, faces, 8.0)


@pytest.mark.parametrize("name", ["corner", "middle"])
def test_balls_have_their_volume_and_area(name):
    pytest.importorskip("skimage")
    radius = {"corner": 9.0, "middle": 7.3}[name]
    vertices, faces = field_surface(FIELDS[name], 2.0 * N)
    # Chords of half a spacing: 1/12 of h^2 / R^2 twice, and the field is a series.
    assert mesh_volume(vertices, faces) == pytest.approx(
        4 / 3 * np.pi * radius**3, rel=3e-3
    )
    on_ball = ~on_faces(vertices, 2.0 * N)[faces].all(axis=1).any(axis=1)
    area = areas(vertices, faces)[on_ball].sum()
    assert area == pytest.approx(4 * np.pi * radius**2, rel=3e-3)


def test_the_volume_of_schwarz_p_converges_with_the_square_of_the_grid():
    pytest.importorskip("skimage")
    psi = schwarz(0.6)
    x = (np.arange(400) + 0.5) / 400 * np.pi
    # Along z the solid is where cos z > level - cos x - cos y.
    rest = 0.6 - np.cos(x) - np.cos(x)[:, None]
    exact = np.arccos(rest.clip(-1, 1)).mean() / np.pi
    errors = [
        mesh_volume(*field_surface(psi, 1.0, m)) / exact - 1 for m in (N, 2 * N, 4 * N)
    ]
    assert abs(errors[1]) < 5e-4
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(rates, 2, atol=0.3)


@pytest.mark.slow
def test_cells_of_the_dataset_are_meshed_true_to_volume():
    pytest.importorskip("skimage")
    for octant in octants():
        psi = surface.from_voxels(octant)
        vertices, faces = field_surface(psi)
        check_mesh(psi, vertices, faces, 10.0)
        volume = surface.fractions(psi, 96, cubic=False).mean()
        # Rough cells: radii of two spacings and less everywhere.
        assert mesh_volume(vertices, faces) / 1000 == pytest.approx(volume, rel=3e-3)
        assert len(faces) < 600_000


def test_the_mesh_voxelized_again_has_the_fractions_of_the_field():
    pytest.importorskip("skimage")
    psi = schwarz()
    found = stl_fractions(*field_surface(psi), 2 * N)
    wanted = octant_to_cell(surface.fractions(psi, N))
    # 4 x 4 lines in an element, and fractions by planes.
    assert abs(found - wanted).max() < 0.1
    assert abs(found - wanted).mean() < 3e-3
    assert found.mean() == pytest.approx(wanted.mean(), rel=1e-3)


def test_scan_lines_find_voxels_again():
    cell = np.random.default_rng(0).random((5, 5, 5)) > 0.5
    cell[-1, -1, -1] = True
    np.testing.assert_allclose(stl_fractions(*voxel_surface(cell), 5), cell, atol=1e-6)


VOXELS = {
    "plate": np.arange(24)[:, None, None] // 3 % 4 == 1 + np.zeros((24, 24, 24)),
    "noise": np.random.default_rng(2).random((9, 10, 11)) > 0.5,
    "full": np.ones((6, 6, 6), bool),
    "diagonal pair": np.eye(2, dtype=bool)[:, :, None] & np.ones((2, 2, 2), bool),
}
# Edges and corners where voxels only touch, closed above and below by full layers: two
# sheets through the same two vertices.
PINCHED = np.ones((4, 4, 3), bool)
PINCHED[1, 1, 1] = PINCHED[2, 2, 1] = False
VOXELS["pinched"] = PINCHED


@pytest.mark.parametrize("cell", VOXELS.values(), ids=VOXELS)
def test_voxel_surface_is_a_closed_manifold_of_exact_volume(cell):
    vertices, faces = voxel_surface(cell, cell_size_mm=cell.shape[0])
    forward, backward = edge_uses(faces)
    assert (forward == 1).all() and (backward == 1).all()
    # Vertices are small integers, so only the summation rounds.
    assert mesh_volume(vertices, faces) == pytest.approx(cell.sum(), rel=1e-9)


def test_voxel_surface_edges_stay_even_when_positions_are_merged():
    vertices, faces = voxel_surface(VOXELS["noise"])
    _, inverse = np.unique(vertices, axis=0, return_inverse=True)
    forward, backward = edge_uses(inverse.reshape(-1)[faces])
    assert np.array_equal(forward, backward)


def test_voxel_surface_of_one_voxel_is_a_cube_in_millimetres():
    vertices, faces = voxel_surface(np.ones((1, 1, 1)), cell_size_mm=2.5)
    assert len(vertices) == 8 and len(faces) == 12
    assert vertices.min() == 0 and vertices.max() == 2.5
    assert mesh_volume(vertices, faces) == pytest.approx(2.5**3, rel=1e-9)


def test_no_solid_is_an_empty_mesh():
    meshes = field_surface(np.full((4, 4, 4), -1.0)), voxel_surface(np.zeros((4, 4, 4)))
    for vertices, faces in meshes:
        assert vertices.shape == (0, 3) and faces.shape == (0, 3)


@pytest.mark.parametrize("name", ["gyroid sheet", "diamond network", "octet struts"])
def test_the_surface_of_a_box(name):
    n, counts = 16, (1, 1, 2)
    along = [np.arange(2 * n * k + 1) / (2 * n) for k in counts]
    value = lattices.parameter(name, 0.4, n)
    values = lattices.sample(name, value, lattices.make_points(*along, n))
    vertices, faces = box_surface(values, 0.5)
    forward, backward = edge_uses(faces)
    assert (forward == 1).all() and (backward == 1).all()
    size = np.array([32, 32, 64]) * 0.5
    assert vertices.min() == 0 and (vertices.max(0) == size).all()
    assert mesh_volume(vertices, faces) / size.prod() == pytest.approx(0.4, rel=0.02)


def test_a_box_without_solid_and_one_without_void():
    assert len(box_surface(np.full((4, 4, 4), -1.0), 1.0)[1]) == 0
    vertices, faces = box_surface(np.full((4, 5, 6), 2.0), 1.0)
    assert mesh_volume(vertices, faces) == pytest.approx(3 * 4 * 5)
