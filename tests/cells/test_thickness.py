"""Thickness of walls and gaps: bodies of known size, symmetry, and printing."""

import numpy as np
import pytest

from mmdiff.cells import plates
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.cells.thickness import feature_size, wall_thickness
from mmdiff.design.bench import specimens

N = 24


def _empty():
    return np.zeros((N, N, N), bool)


def _ball(diameter, centre):
    place = np.indices((N, N, N)) + 0.5 - np.reshape(centre, (3, 1, 1, 1))
    return (place**2).sum(0) < (diameter / 2) ** 2


@pytest.mark.parametrize("start", [5, N - 2])  # inside, and through the faces
@pytest.mark.parametrize("edge", [1, 2, 3, 4, 5, 6, 7, 10])
def test_slabs_rods_and_cubes_have_their_edge(edge, start):
    line = np.isin(np.arange(N), np.arange(start, start + edge) % N)
    slab = np.broadcast_to(line[:, None, None], (N, N, N))
    rod = slab & line[:, None]
    cube = rod & line
    for body in (slab, rod, cube):
        for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            thickness = wall_thickness(body.transpose(axes), mode="wrap")
            expected = np.where(body.transpose(axes), float(edge), 0.0)
            np.testing.assert_array_equal(thickness, expected)
        # The other way round: a slit, a channel and a pore, all of one width.
        assert feature_size(~body, mode="wrap").void == (edge, edge)


@pytest.mark.parametrize("width", [(2, 3), (3, 6), (4, 9), (5, 2)])
def test_flat_rods_have_their_smaller_edge(width):
    body = _empty()
    body[3 : 3 + width[0], 4 : 4 + width[1]] = True
    assert feature_size(body, mode="wrap").solid == (min(width), min(width))


@pytest.mark.parametrize("edge", [1, 2, 3, 6])
def test_plates_on_the_mirror_planes_count_twice(edge):
    octant = _empty()
    octant[:edge] = True
    octant[:, N - edge :] = True
    # Thicker where the two plates cross, by at most the diagonal.
    thickness = wall_thickness(octant)[octant]
    assert np.quantile(thickness, 0.9) == thickness.min() == 2 * edge
    assert thickness.max() < 2**0.5 * 2 * edge + 1
    # The square channel between them, its corners included.
    gap = 2 * (N - edge)
    assert feature_size(octant).void == (gap, gap)


@pytest.mark.parametrize("centre", [(12, 12, 12), (11.5, 12.5, 12.5), (12.3, 12.1, 11)])
@pytest.mark.parametrize("diameter", [8, 10, 15, 20])
def test_balls_have_about_their_diameter(diameter, centre):
    ball = _ball(diameter, centre)
    solid = feature_size(ball, mode="wrap", share=0).solid
    # From the voxels outside that reach farthest in, up to one voxel on either side.
    assert diameter - 2.1 < solid.minimum and solid.mean <= diameter
    # One ball, so hardly more than one value.
    assert solid.mean - solid.minimum < 1


@pytest.mark.parametrize("family, step", [("bcc", 2**0.5), ("octet", 2 / 3**0.5)])
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_oblique_plates_are_within_a_voxel(family, step, layers):
    # Whole layers at 64^3 make plates of known thickness in voxels.
    thickness = (layers - (0.5 if family == "bcc" else 0)) * step
    octant = plates.plate_lattice(32, {family: (thickness - 0.01) / 64})
    got = wall_thickness(octant > 0)[octant > 0]
    # The upper half is thicker because plates meet there.
    low, high = np.quantile(got, (0.05, 0.5))
    assert thickness - 1.01 < low and high < thickness + 1


def test_thin_and_thick_walls_are_told_apart():
    cell = _empty()
    cell[2:4] = True
    cell[9:18] = True
    thickness = wall_thickness(cell, mode="wrap")
    assert (thickness[2:4] == 2).all() and (thickness[9:18] == 9).all()
    solid, void = feature_size(cell, mode="wrap")
    # By voxels: 2 of 11 layers are thin, and 5 of 13 gaps.
    assert solid == pytest.approx((2, (2 * 2 + 9 * 9) / 11), rel=1e-12)
    assert void == pytest.approx((5, (5 * 5 + 8 * 8) / 13), rel=1e-12)
    # A thin wall counts as long as it holds the share of the voxels.
    assert feature_size(cell, mode="wrap", share=0.2).solid.minimum == 9


def test_the_neck_between_two_blocks_is_found():
    cell = _empty()
    cell[2:10, 6:16, 6:16] = cell[15:23, 6:16, 6:16] = True
    cell[10:15, 9:12, 9:12] = True
    thickness = wall_thickness(cell, mode="wrap")
    assert (thickness[12, 9:12, 9:12] == 3).all()
    assert (thickness[2:9, 6:16, 6:16] >= 8).sum() == 7 * 100
    assert feature_size(cell, mode="wrap").solid.minimum == 3


@pytest.mark.parametrize("length", [1, 2, 3, 6])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_short_necks_are_no_bumps(width, length):
    cell = _empty()
    cell[1:9, 6:16, 6:16] = cell[9 + length : 17 + length, 6:16, 6:16] = True
    neck = (slice(9, 9 + length), slice(9, 9 + width), slice(9, 9 + width))
    cell[neck] = True
    thickness = wall_thickness(cell, mode="wrap")
    # The corners of its ends may count to the blocks.
    assert thickness[neck].min() == width
    # A stub of one voxel on one block is a bump.
    cell[10:] = False
    cell[9:10, 9 : 9 + width, 9 : 9 + width] = True
    thickness = wall_thickness(cell, mode="wrap")
    assert (thickness[9:10, 9 : 9 + width, 9 : 9 + width] > 6).all()


def test_the_neck_of_schwarz_p_is_found():
    # A smooth neck: no wall, no plateau, but a saddle of the distance.
    octant = specimens.schwarz_p(32) > 0
    width = 2 * octant[-1, :, 0].sum()  # across the arm, on the mirror plane
    assert 8 < width < 20
    thickness = wall_thickness(octant)
    # Round, so up to two voxels short as balls are.
    assert width - 2 <= thickness[-1, 0, 0] <= width
    assert feature_size(octant).solid.minimum == pytest.approx(width, abs=2)
    # The throat of the void lies between four arms that stand in the diagonals of the
    # face: half its diagonal is void, from the middle on.
    diagonal = (~octant)[np.arange(32), np.arange(32), 0].sum() * 2 * 2**0.5
    assert feature_size(octant).void.minimum == pytest.approx(diagonal, abs=3)


def test_bumps_and_pits_of_one_voxel_do_not_count():
    cell = _empty()
    cell[4:12] = True
    cell[12, 6, 6] = cell[12, 12, 12:15] = True  # a bump and a ridge
    cell[4, 18, 18] = False
    assert 7 <= feature_size(cell, mode="wrap", share=0).solid.minimum < 8
    thickness = wall_thickness(cell, mode="wrap")
    # Only by the pit the wall is up to one voxel thinner.
    assert (abs(thickness[cell] - 8) < 0.1).mean() > 0.99
    assert thickness[12, 6, 6] == pytest.approx(8, abs=0.1)
    assert thickness[12, 12, 13] == pytest.approx(8, abs=0.1)
    # A fin that is twice as high as thick is a wall.
    cell[12:16, 6, :] = True
    assert wall_thickness(cell, mode="wrap")[15, 6, 2] == 1


OCTANTS = {
    "schwarz_p": specimens.schwarz_p(16) > 0,
    "network": specimens.random_cell(16, 0) > 0,
    **{f: plates.by_volume(16, {f: 1.0}, 0.45) > 0 for f in plates.NORMALS},
}


@pytest.mark.parametrize("name", OCTANTS)
def test_an_octant_and_its_cell_agree(name):
    octant = OCTANTS[name]
    one = feature_size(octant)
    whole = feature_size(octant_to_cell(octant), mode="wrap")
    turned = feature_size(octant.transpose(2, 0, 1))
    # The order of equally near voxels tells copies of rough cells apart, in a tenth of
    # the voxels, but hardly in what is reported: half a voxel and a few per cent.
    for other in (whole, turned):
        for phase, expected in zip(other, one, strict=True):
            assert phase.minimum == pytest.approx(expected.minimum, abs=0.5)
            assert phase.mean == pytest.approx(expected.mean, rel=0.05)
    part = wall_thickness(octant_to_cell(octant), mode="wrap")[:16, :16, :16]
    assert (abs(wall_thickness(octant) - part) < 0.5).mean() > 0.97


@pytest.mark.parametrize("name", OCTANTS)
def test_a_shifted_cell_has_the_same_thickness(name):
    cell = octant_to_cell(OCTANTS[name])
    moved = np.roll(cell, (3, 7, 11), (0, 1, 2))
    for phase, other in ((cell, moved), (~cell, ~moved)):
        expected = np.roll(wall_thickness(phase, mode="wrap"), (3, 7, 11), (0, 1, 2))
        np.testing.assert_array_equal(wall_thickness(other, mode="wrap"), expected)


def test_a_finer_grid_shows_the_same_cell():
    coarse = feature_size(specimens.schwarz_p(16))
    fine = feature_size(specimens.schwarz_p(32))
    for low, high in zip(coarse, fine, strict=True):
        # Either is up to two of its voxels short.
        assert high.minimum == pytest.approx(2 * low.minimum, abs=4)


def test_solid_and_void_change_places():
    octant = OCTANTS["network"]
    solid, void = feature_size(octant)
    assert feature_size(~octant) == (void, solid)
    # Densities and bytes of binary cells mean the same.
    assert feature_size(octant.astype(np.uint8)) == (solid, void)
    assert feature_size(octant.astype(np.float32)) == (solid, void)


@pytest.mark.parametrize("mode", ["symmetric", "wrap"])
def test_a_phase_alone_has_no_thickness(mode):
    full = feature_size(np.ones((8, 8, 8), np.uint8), mode=mode)
    assert full.solid == (np.inf, np.inf) and np.isnan(full.void).all()
    empty = feature_size(np.zeros((8, 8, 8), np.uint8), mode=mode)
    assert empty.void == (np.inf, np.inf) and np.isnan(empty.solid).all()


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="mode='reflect' must be"):
        wall_thickness(_ball(8, (12, 12, 12)), mode="reflect")
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\) is too small"):
        feature_size(np.ones((2, 2, 2)))
