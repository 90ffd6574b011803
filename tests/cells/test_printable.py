"""What a printer asks: bodies of known thickness, pores, overhangs and symmetry."""

import numpy as np
import pytest
from fem_helpers import random_octant
from scipy.ndimage import gaussian_filter

from mmdiff.cells import lattices, surface
from mmdiff.cells.connectivity import mirror_pieces, periodic_pieces, winding_axes
from mmdiff.cells.printable import (
    View,
    chords,
    find_surface,
    fold,
    make_grid,
    printability,
    wedge,
)
from mmdiff.cells.symmetry import octant_to_cell, symmetrize

N = 24
X, Y, Z = np.indices((N, N, N), np.float64)


def _field(distance):
    return 3 * np.tanh(np.broadcast_to(distance, (N, N, N)) / 3)


def _wall(psi):
    return printability(psi).wall * 2 * N


def _gap(psi):
    return printability(psi).gap * 2 * N


@pytest.mark.parametrize("thickness", [1.5, 2.0, 2.6, 4.3, 7.0])
def test_slabs_are_as_thick_as_they_are(thickness):
    for across in (X, (X + Y) / 2**0.5, (X + Y + Z) / 3**0.5):
        slab = _field(thickness / 2 - abs(across - 12.3))
        assert abs(_wall(slab) - thickness) < 0.15
        assert abs(_gap(-slab) - thickness) < 0.15


def test_slabs_on_mirror_planes_count_with_their_image():
    slab = _field(1.7 - X)
    assert abs(_wall(slab) - 2 * 2.2) < 0.05
    # Measured at full length, over more than a half of the cell.
    assert abs(_gap(slab) - (2 * N - 2 * 2.2)) < 0.05


@pytest.mark.parametrize("diameter", [1.5, 2.0, 3.1, 5.0])
def test_struts_and_channels_have_their_diameter(diameter):
    for away in (
        np.hypot(X - 11.3, Y - 12.8),
        np.hypot((X - Y) / 2**0.5, Z - 11.2),
        np.hypot(X + 0.5, Y + 0.5),
    ):
        strut = _field(diameter / 2 - away)
        assert abs(_wall(strut) - diameter) < 0.2
        assert abs(_gap(-strut) - diameter) < 0.2


@pytest.mark.parametrize("diameter", [1.6, 2.4, 4.0])
@pytest.mark.parametrize("widening", [0.7, 1.0])
def test_hinges_are_as_thick_as_their_necks(diameter, widening):
    """Two cones that meet in a rounded neck, on the axis of four octants."""
    radius, height = np.hypot(X + 0.5, Y + 0.5), Z - 11.7
    hinge = _field(np.hypot(diameter / 2, widening * height) - radius)
    assert abs(_wall(hinge) - diameter) < 0.2
    assert _gap(hinge) > 8  # the slit around is no gap: it opens by 90 degrees


def test_edges_and_corners_are_no_walls():
    edge = np.minimum(9.5 - X, 9.5 - Y)
    for body in (edge, np.minimum(edge, 9.5 - Z)):
        assert abs(_wall(_field(body)) - 20) < 0.1
    wedge = np.minimum(Y - 3, 0.97 * (X - 3) - 0.26 * (Y - 3))  # 75 degrees
    assert _wall(_field(np.minimum(wedge, 18 - X))) > 4


def test_a_wall_of_less_than_the_share_is_not_seen():
    slab = _field(np.maximum(3 - X, 0.8 - np.hypot(np.hypot(X - 3, Y), Z)))
    grid = make_grid(slab)
    found = chords(grid, find_surface(grid), sign=1, reach=10.0)
    assert found.least() == pytest.approx(7, abs=0.1)
    assert found.least(1.0) == np.inf


def test_areas_are_those_of_the_surface():
    for radius in (5.0, 9.0):
        ball = _field(radius - np.sqrt((X - 11) ** 2 + (Y - 12) ** 2 + (Z - 11.4) ** 2))
        found = find_surface(make_grid(ball))
        assert found.areas.sum() == pytest.approx(4 * np.pi * radius**2, rel=3e-3)
        away = found.points - np.array([11, 12, 11.4])
        np.testing.assert_allclose(found.normals, -away / radius, atol=0.03)


def test_overhangs_of_plates_cylinders_and_balls():
    assert printability(_field(7 - Z)).overhang == pytest.approx(0.5)
    assert printability(_field(7 - X)).overhang == 0
    # A plane at 45 degrees is printed; where it meets mirror planes it is rounded off.
    assert printability(_field((X + Z - 20) / 2**0.5)).overhang < 0.04
    assert printability(_field((X + 1.3 * Z - 25) / 1.64)).overhang > 0.46
    lying = printability(_field(9 - np.hypot(X - 11, Z - 11))).overhang
    assert lying == pytest.approx(0.25, abs=0.02)
    ball = 9 - np.sqrt((X - 11) ** 2 + (Y - 12) ** 2 + (Z - 11.4) ** 2)
    cap = (1 - 0.5**0.5) / 2
    assert printability(_field(ball)).overhang == pytest.approx(cap, abs=0.01)


def test_pores_are_closed_or_run_on():
    plates = _field(np.maximum(np.maximum(3 - X, 3 - Y), 3 - Z))
    found = printability(plates)
    assert (found.pieces, found.void_pieces, found.trapped) == (1, 1, 1.0)
    holes = np.minimum(plates, np.hypot(Y - 16, Z - 16) - 3)
    assert printability(holes).trapped == 0
    # Two networks of void, one on each side of a Schwarz P surface: both run on.
    value = sum(np.cos(np.pi * (x + 0.5) / N) for x in (X, Y, Z))
    sheet = printability(_field(2.5 - abs(value) * 5))
    assert (sheet.void_pieces, sheet.trapped) == (2, 0.0)


def test_loose_pieces_and_closed_pores_have_their_shares():
    def ball(radius):
        return radius - np.sqrt((X - 15) ** 2 + (Y - 15) ** 2 + (Z - 15) ** 2)

    found = printability(_field(np.maximum(4.5 - X, ball(5))))
    assert found.pieces == 9
    volumes = 5 * N**2, 4 / 3 * np.pi * 5**3
    assert found.loose == pytest.approx(volumes[1] / sum(volumes), rel=0.01)
    found = printability(_field(np.minimum(X - 4.5, -ball(5))))
    assert found.void_pieces == 9
    assert found.trapped == pytest.approx(volumes[1] / sum(volumes), rel=0.01)


def test_lengths_in_mm():
    found = printability(_field(1.5 - X))
    assert found.in_mm(24.0).wall == pytest.approx(found.wall * 24)
    assert found.in_mm(24.0).gap == pytest.approx(found.gap * 24)
    assert found.in_mm(24.0).pieces == found.pieces


def test_fields_without_a_surface():
    for value, pieces in ((2.0, (1, 0)), (-2.0, (0, 1))):
        found = printability(np.full((8, 8, 8), value))
        assert (found.pieces, found.void_pieces) == pieces
        assert found.wall == found.gap == np.inf
        assert found.overhang == 0
        assert found.loose == 0


def test_orientation_does_not_matter():
    psi = surface.from_voxels(random_octant(16))
    expected = printability(psi)
    turned = printability(np.ascontiguousarray(psi[::-1, ::-1, ::-1]))
    for name in ("wall", "gap", "trapped", "overhang"):
        value = getattr(expected, name)
        assert getattr(turned, name) == pytest.approx(value, rel=1e-9), name


def test_points_are_folded_into_the_octant():
    points = np.array([[-0.7, 3.0, 7.8], [-8.0, 16.2, 0.0]])
    expected = [[-0.3, 3.0, 7.2], [7.0, 0.2, 0.0]]
    np.testing.assert_allclose(fold(points, 8), expected, atol=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.35, 0.6])
def test_pieces_in_the_octant_are_those_of_the_cell(share):
    rng = np.random.default_rng(3)
    for _ in range(20):
        octant = rng.random((6, 6, 6)) < share
        pieces, cell = mirror_pieces(octant), octant_to_cell(octant)
        labels, count = periodic_pieces(cell)
        assert pieces.copies.sum() == count
        assert pieces.endless.any() == any(winding_axes(cell))
        sizes = np.bincount(labels.ravel())[1:]
        largest = pieces.sizes[pieces.largest - 1] * 8 // pieces.copies
        assert largest[pieces.largest - 1] == sizes.max()


def test_a_wedge_of_a_cubic_surface_stands_for_all_of_it():
    for name in ("P network", "octet struts"):
        psi = lattices.lattice(name, 0.3, N)
        grid = make_grid(psi)
        found = find_surface(grid)
        part = wedge(found)
        assert len(part.points) < len(found.points) / 4
        # Its area and that of each direction, all axes together.
        np.testing.assert_allclose(6 * part.areas.sum(), found.areas.sum(), rtol=1e-9)
        steep = (abs(found.normals) > 0.7).sum(1) @ found.areas
        again = (abs(part.normals) > 0.7).sum(1) @ part.areas
        np.testing.assert_allclose(6 * again, steep, rtol=1e-9)
        for sign in (1, -1):
            whole = chords(grid, found, sign=sign, reach=12.0).least()
            assert chords(grid, part, sign=sign, reach=12.0).least() == pytest.approx(
                whole, rel=1e-9
            )


def test_the_surface_of_a_wedge_is_found_by_itself():
    rng = np.random.default_rng(0)
    for psi in (lattices.lattice("P sheet", 0.4, N), _bumpy(rng)):
        grid = make_grid(psi)
        some, part = find_surface(grid, wedged=True), wedge(find_surface(grid))
        for own, other in zip(some, part, strict=True):
            np.testing.assert_array_equal(own, other)


def _bumpy(rng):
    return symmetrize(np.asarray(gaussian_filter(rng.normal(size=(N, N, N)), 1.5)))


def test_a_view_makes_what_it_is_asked_for_once():
    view = View(_field(2 - X))  # and its image: 5 spacings
    assert view.grid is view.grid and view.solid is view.solid
    near = view.chords(1, 2.0)
    assert view.chords(1, 3.0) is near and view.chords(-1, 3.0) is not near
    assert not np.isfinite(near.lengths).any()
    far = view.chords(1, 9.0)
    assert far is not near and view.chords(1, 2.0) is far
    np.testing.assert_allclose(far.lengths, 5.0, atol=0.01)
    assert view.printability == printability(view.psi)
