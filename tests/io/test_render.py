"""Pictures: right colours in the right places, true silhouettes, one compilation."""

import jax
import numpy as np
import pytest

from mmdiff.io.render import BACKGROUND, prepare, render, trace

N, SIZE = 16, 64
GREY = np.round(255 * np.array(BACKGROUND)).astype(int)


def picture(cell, **options):
    return render(cell, size=SIZE, **options).astype(int)


def blue(image):
    return image[..., 2] - image[..., 0] > 40


def ochre(image):
    return image[..., 0] - image[..., 2] > 40


def window(scene):
    """Area of the picture in units of the cell."""
    corners = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, 8)
    return (2.08 * np.abs(scene.camera[:2] @ corners).max()) ** 2


def ball(radius=0.35, n=N):
    x = (np.arange(n) + 0.5) / n - 0.5
    return x**2 + (x**2)[:, None] + (x**2)[:, None, None] < radius**2


def test_an_empty_cell_shows_the_background_and_the_frame():
    image = picture(np.zeros((N, N, N)))
    assert not blue(image).any() and not ochre(image).any()
    plain = (image == GREY).all(-1)
    assert 0.7 < plain.mean() < 1.0  # the frame is thin, but there
    assert np.ptp(image, axis=-1).max() < 20  # and grey


def test_a_full_cell_is_blue_and_as_large_as_the_projected_cube():
    image = picture(np.ones((N, N, N)))
    assert not ochre(image).any()
    scene = prepare(np.ones((N, N, N), bool), 32.0, 28.0)
    # Projected area of a unit cube: the sum of the view direction's components.
    area = scene.camera[2].sum() / window(scene)
    # A pixel along the outline is 2 % of this small picture's area at most.
    assert blue(image).mean() == pytest.approx(area, abs=0.02)


def test_a_ball_inside_is_ochre_with_a_true_silhouette():
    image = picture(ball(), azimuth=20.0, elevation=40.0)
    assert not blue(image).any()
    scene = prepare(ball(), 20.0, 40.0)
    voxel_radius = (ball().sum() / N**3 * 3 / (4 * np.pi)) ** (1 / 3)
    # Smoothing by s = 1.2 voxels draws a ball of radius R in by s^2 / R at most, here
    # a quarter voxel of 5.6: 9 % of the area.
    area = np.pi * voxel_radius**2 / window(scene)
    assert ochre(image).mean() == pytest.approx(area, rel=0.09)


def test_a_field_is_drawn_as_its_surface():
    x = np.arange(8) + 0.5
    x2 = x**2 + (x**2)[:, None] + (x**2)[:, None, None]
    psi = (x2 - 5.0**2) / 10  # balls of 5 spacings around the corners, negative
    voxels = np.ones((2 * N, 2 * N, 2 * N))  # not looked at, but for their number
    image = picture(voxels, psi=-psi, azimuth=20.0, elevation=40.0)
    assert blue(image).any() and ochre(image).any()
    # Mirrored at the far end, here to a whole ball in the middle.
    middle = -psi[::-1, ::-1, ::-1]
    image = picture(voxels, psi=middle, azimuth=20.0, elevation=40.0)
    assert not blue(image).any()
    area = np.pi * (5 / 16) ** 2 / window(prepare(voxels > 0, 20.0, 40.0))
    assert ochre(image).mean() == pytest.approx(area, rel=0.03)


def test_one_voxel_walls_are_not_lost():
    cell = np.zeros((N, N, N))
    cell[:, :, 8] = 1
    image = picture(cell, azimuth=30.0, elevation=35.0)
    # Seen from above the plate shows its area times sin(elevation), over the window.
    scene = prepare(cell > 0.5, 30.0, 35.0)
    top = np.sin(np.deg2rad(35.0)) / window(scene)
    assert ochre(image).mean() == pytest.approx(top, abs=0.02)
    assert blue(image).any()


@pytest.mark.parametrize("azimuth", [-170.0, -60.0, 0.0, 45.0, 130.0])
@pytest.mark.parametrize("elevation", [-30.0, 0.0, 28.0, 80.0, 90.0])
def test_every_view_of_a_ball_is_the_same_ball(azimuth, elevation):
    image = picture(ball(), azimuth=azimuth, elevation=elevation)
    rows, columns = np.nonzero(ochre(image))
    assert not blue(image).any() and len(rows) > 100
    # In the middle of the picture, within a pixel.
    assert abs(rows.mean() - (SIZE - 1) / 2) < 1
    assert abs(columns.mean() - (SIZE - 1) / 2) < 1


def test_a_marker_appears_on_the_side_the_camera_says():
    cell = np.zeros((N, N, N))
    cell[:, :, -3:] = 1  # a slab on top
    assert np.nonzero(blue(picture(cell)))[0].mean() < 0.45 * SIZE
    cell = np.zeros((N, N, N))
    cell[:3] = 1  # low x is on the right for a viewer who stands at high y
    image = picture(cell, azimuth=90.0, elevation=20.0)
    assert np.nonzero(blue(image))[1].mean() > 0.6 * SIZE


def test_a_cutaway_opens_a_closed_box():
    cell = np.zeros((N, N, N))
    for axis in range(3):
        for side in (0, -1):
            np.moveaxis(cell, axis, 0)[side] = 1
    assert not ochre(picture(cell)).any()
    opened = picture(cell, cutaway=0.5)
    assert ochre(opened).mean() > 0.05
    assert blue(opened).sum() < blue(picture(cell)).sum()


def test_mirrored_cells_under_mirrored_views_give_mirrored_pictures():
    cell = np.random.default_rng(0).random((N, N, N)) > 0.8
    one = picture(cell, azimuth=30.0)
    two = picture(cell[:, ::-1], azimuth=-30.0)
    differing = (blue(one)[:, ::-1] != blue(two)).mean()
    # The light does not mirror: pixels near a threshold of colour may differ.
    assert differing < 0.02


def test_new_cells_and_views_do_not_recompile():
    picture(ball())
    before = trace._cache_size()
    picture(np.zeros((N, N, N)), azimuth=200.0, elevation=-10.0, cutaway=0.25)
    picture(ball(0.2).astype(np.float32))
    assert trace._cache_size() == before


def test_trace_maps_over_scenes():
    cells = [ball(), ball(0.2)]
    scenes = [prepare(cell, 32.0, 28.0) for cell in cells]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *scenes)
    images = jax.vmap(lambda scene: trace(scene, size=SIZE))(stacked)
    for image, cell in zip(np.asarray(images).astype(int), cells, strict=True):
        # Batched sums may round a value across one grey level.
        assert np.abs(image - picture(cell)).max() <= 1


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"got \(4, 4, 1\)"):
        render(np.zeros((4, 4, 1)))


def test_a_box_stands_in_the_middle_of_a_cube():
    box, cube = np.ones((4, 8, 6)), np.zeros((8, 8, 8))
    cube[2:6, :, 1:7] = 1
    np.testing.assert_array_equal(render(box, size=64), render(cube, size=64))
