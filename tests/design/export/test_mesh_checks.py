"""Mesh checks, deviation and decimation of exported bodies."""

import itertools

import numpy as np
import pytest
from design_helpers import wave

from mmdiff.cells import mesh, surface
from mmdiff.design.export import check, crossings, decimate, deviation
from mmdiff.errors import InputError


@pytest.fixture(scope="module")
def cell():
    return mesh.field_surface(surface.to_volume(wave(8) / 3, 0.4), 10.0)


def _segment_hits(p, q, triangle):
    """Whether a segment passes through a triangle, by solving for the point."""
    a, b, c = triangle
    system = np.stack([b - a, c - a, p - q], 1)
    if abs(np.linalg.det(system)) < 1e-12:
        return False
    u, v, t = np.linalg.solve(system, p - a)
    return min(u, v) > 0 and u + v < 1 and 0 < t < 1


def _by_pairs(corners):
    """Count crossing pairs of triangles without a grid."""
    count = 0
    for a, b in itertools.combinations(corners, 2):
        edges = [
            (x[i], x[(i + 1) % 3], y) for x, y in ((a, b), (b, a)) for i in range(3)
        ]
        count += any(_segment_hits(*edge) for edge in edges)
    return count


@pytest.mark.parametrize("seed", range(3))
def test_crossings_of_random_triangles_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(size=(60, 1, 3)) + rng.normal(scale=0.2, size=(60, 3, 3))
    corners[:5] *= 4  # sizes differ
    expected = _by_pairs(corners)
    found = crossings.count_crossings(
        corners.reshape(-1, 3), np.arange(180).reshape(60, 3)
    )
    assert expected > 20 and found == expected


def test_chunks_of_pairs_change_nothing(monkeypatch):
    rng = np.random.default_rng(7)
    points, faces = rng.uniform(size=(90, 3)), np.arange(90).reshape(30, 3)
    found = crossings.count_crossings(points, faces)
    monkeypatch.setattr(crossings, "CHUNK", 7)
    assert found == crossings.count_crossings(points, faces) > 0


@pytest.mark.parametrize(
    "second, count",
    [
        ([[4, 0, 0], [0, 4, 0], [4, 4, 0]], 0),  # neighbours along an edge
        ([[4, 0, 0], [0, 4, 0], [1, 1, 0]], 1),  # folded over
        ([[1, 1, 0], [9, 1, 0], [9, 2, 0]], 1),  # in one plane, overlapping
        ([[0, 0, 0], [1, 1, 1], [1, 1, 2]], 0),  # share a corner
        ([[0, 0, 0], [1, 2, 1], [2, 1, -1]], 1),  # share a corner and cross
        ([[1, 1, 0], [1, 1, 1], [2, 1, 1]], 0),  # touches with a corner
        ([[0, 0, 0], [4, 0, 0], [0, 4, 0]], 1),  # the same once more
    ],
)
def test_touching_is_not_crossing(second, count):
    first = [[0, 0, 0], [4, 0, 0], [0, 4, 0]]
    points = np.array(first + second, float)
    faces = np.arange(6).reshape(2, 3)
    for turn in range(3):  # whichever axis the plane is seen along
        assert crossings.count_crossings(np.roll(points, turn, 1), faces) == count


def test_a_cell_is_sound_and_two_that_overlap_are_not(cell):
    vertices, faces = cell
    found = check.check_mesh(vertices, faces)
    assert found.is_sound and found.triangles == len(faces)
    assert found.volume_mm3 == pytest.approx(400, rel=0.01)
    both = np.concatenate([vertices, vertices + np.float32([0.37, 0.21, 0.13])])
    found = check.check_mesh(both, np.concatenate([faces, faces + len(vertices)]))
    assert found.closed and found.oriented and found.self_intersections > 100


def test_what_is_wrong_is_counted(cell):
    vertices, faces = cell
    opened = check.check_mesh(vertices, faces[1:])
    assert (opened.open_edges, opened.closed) == (3, False)
    turned = faces.copy()
    turned[0] = turned[0, ::-1]
    found = check.check_mesh(vertices, turned)
    assert (found.closed, found.oriented, found.flipped_edges) == (True, False, 3)
    assert not check.check_mesh(vertices, faces[:, ::-1]).oriented  # inside out
    crowded = check.check_mesh(vertices, np.concatenate([faces, faces[:1]]))
    assert (crowded.crowded_edges, crowded.closed) == (3, False)
    flat = np.concatenate([faces, [[faces[0, 0], faces[0, 1], faces[0, 1]]]])
    assert check.check_mesh(vertices, flat).degenerate == 1


def test_the_deviation_of_a_known_change(cell):
    vertices, faces = cell
    assert deviation.deviation(cell, cell, 0.3).largest < 1e-12
    moved = vertices.astype(float)
    moved[np.argmin(((moved - 5) ** 2).sum(1))] += [0, 0, 0.2]
    found = deviation.deviation(cell, (moved, faces), 0.3)
    assert 0.02 < found.there <= 0.2 and 0.05 < found.back <= 0.2
    # A piece that only one of them has counts one way.
    some = vertices[faces].mean(1)[:, 0] < 9
    found = deviation.deviation(cell, (vertices, faces[some]), 0.3)
    assert found.there > 0.5 and found.back < 1e-12


def test_distances_are_those_of_dense_points():
    rng = np.random.default_rng(1)
    corners, points = rng.normal(size=(50, 3, 3)), rng.normal(size=(50, 3))
    i, j = (part.ravel() / 200 for part in np.mgrid[:201, :201])
    weights = np.stack([i, j, 1 - i - j], 1)[i + j <= 1]
    dense = np.einsum("kc,fci->fki", weights, corners)
    nearest = np.linalg.norm(dense - points[:, None], axis=2).min(1)
    found = deviation.distances(points, corners)
    assert (found <= nearest + 1e-12).all()
    np.testing.assert_allclose(found, nearest, atol=0.02)  # the points' spacing


def test_fewer_triangles_lie_within_what_is_stated(cell):
    pytest.importorskip("fast_simplification")
    vertices, faces = cell
    found = decimate.decimate(vertices, faces, len(faces) // 4, 0.3)
    assert 0 < len(found.faces) <= len(faces) // 4
    assert 0 < found.deviation.largest <= 0.3
    checked = check.check_mesh(found.vertices, found.faces)
    assert checked.closed and checked.oriented
    # The stated deviation is of the meshes that are written.
    again = deviation.deviation(cell, (found.vertices, found.faces), 0.05)
    assert again.largest == pytest.approx(found.deviation.largest, rel=0.2)


def test_a_budget_that_cannot_be_met_is_refused(cell):
    pytest.importorskip("fast_simplification")
    with pytest.raises(InputError, match=r"above max_deviation_mm=0.0001.*Set `max_tr"):
        decimate.decimate(*cell, 1000, 1e-4)
    with pytest.raises(InputError, match=r"max_triangles=4 (is not closed|lies)"):
        decimate.decimate(*cell, 4, 1e-2)


def test_without_the_library_it_says_what_to_install(cell, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fast_simplification", None)
    with pytest.raises(InputError, match=r"mmdiff\[simplify\]"):
        decimate.decimate(*cell, 1000, 1.0)
