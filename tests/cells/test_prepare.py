"""From any array to a density grid: values, shapes, symmetry, resampling."""

import numpy as np
import pytest

from mmdiff.cells import prepare as preparing
from mmdiff.cells.symmetry import octant_to_cell, spread
from mmdiff.cells.voxels import good_edge, to_cubes
from mmdiff.errors import InputError, MemoryLimitError

RNG = np.random.default_rng(3)


def cubic(n=8):
    values = (RNG.random(n * (n + 1) * (n + 2) // 6) > 0.5).astype(np.float32)
    return spread(values, n)


def orthotropic(n=8):
    return (RNG.random((n, n, n)) > 0.5).astype(np.float32)


def prepare(array, name="cell.npy", **options):
    return preparing.prepare(array, name, preparing.Options(**options))


def refuses(array, match, **options):
    with pytest.raises(InputError, match=match):
        prepare(array, **options)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">u2", np.float64])
def test_masks_of_any_type_become_densities(dtype):
    octant = cubic()
    cell = octant_to_cell(octant)
    grid = prepare(cell.astype(dtype), "cell.npy")
    assert grid.density.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_array_equal(grid.density, octant)
    np.testing.assert_array_equal(grid.cell, cell)


def test_a_mask_of_255_needs_the_scale():
    cell = octant_to_cell(cubic()).astype(np.uint8) * 255
    refuses(cell, r"values from 0 to 255; density must lie in \[0, 1\]. For a 0/255 ")
    assert set(np.unique(prepare(cell, "cell.npy", scale=255.0).density)) == {0, 1}
    signed = cell.astype(np.int16)
    signed[0, 0, 0] = -1
    refuses(
        signed,
        r"^cell.npy holds values from -1 to 255; density must lie in \[0, 1\]. For a "
        r"0/255 mask pass `scale=255`.$",
    )
    refuses(signed, r"values from -1 to 255 \(scale 255\)", scale=255.0)
    refuses(2 * cubic() - 1, "from -1 to 1; .* Shift and scale the values first.")


def test_nan_is_counted_and_located():
    cell = octant_to_cell(cubic())
    cell[1, 2, 3] = np.nan
    cell[4, 5, 6] = np.inf
    refuses(cell, r"holds 2 values that are NaN .* first at index \(1, 2, 3\)")


def test_label_images_are_told_from_masks():
    refuses(orthotropic() + 1, "from 1 to 2; .* For labels 1 and 2 save array == 2.$")


def test_wrong_shape_says_what_to_do():
    refuses(
        np.ones((8, 3, 8)),
        r"^cell.npy has shape \(8, 3, 8\); the solver needs 4 voxels or more along "
        r"each axis. Pass `resize=16` `resize_method=nearest` to divide its voxels.$",
    )
    refuses(np.ones((8, 8)), r"shape \(8, 8\); a cell has three axes")
    assert prepare(np.ones((3, 3, 3)), resize=8).density.shape == (8, 8, 8)


def test_boxes_are_cells():
    box = RNG.random((5, 7, 4))
    grid = prepare(box, threshold=0.0)
    assert grid.symmetry == "periodic" and grid.edges == (1, 1, 1)
    np.testing.assert_array_equal(grid.density, box)
    octant = RNG.random((4, 6, 5))
    grid = prepare(octant_to_cell(octant), threshold=0.0, voxel=(2, 1, 1))
    assert grid.symmetry == "orthotropic" and grid.edges == (1, 0.5, 0.5)
    np.testing.assert_array_equal(grid.density, octant)
    np.testing.assert_array_equal(grid.cell, octant_to_cell(octant))


def test_a_cube_of_other_voxels_has_no_equal_axes():
    cell = octant_to_cell(cubic())
    assert prepare(cell, voxel=(1, 1, 2)).symmetry == "orthotropic"
    refuses(cell, "not cubic: it is orthotropic", voxel=(1, 1, 2), symmetry="cubic")


def test_windows_are_solved_as_they_are():
    box = RNG.random((8, 8, 8))
    for boundary in ("kinematic", "mixed"):
        grid = prepare(box, threshold=0.0, boundary=boundary)
        assert grid.symmetry == boundary and grid.is_window and len(grid.notes) == 2
        np.testing.assert_array_equal(grid.cell, box)
    grid = prepare(box, threshold=0.0, boundary="mirrored")
    assert grid.symmetry == "orthotropic" and not grid.is_window
    np.testing.assert_array_equal(grid.cell, octant_to_cell(box))
    refuses(box, "for windows of a material", boundary="mixed", input_is="octant")


def test_labels_have_materials():
    labels = RNG.integers(0, 3, (6, 5, 4)) * 2 - 1  # -1, 1 and 3
    text = "-1:void;1:210,0.3;3:70,0.33"
    grid = prepare(labels, phases=text)
    np.testing.assert_array_equal(grid.labels, labels)
    np.testing.assert_array_equal(grid.density, labels > 0)
    octant = RNG.integers(0, 2, (4, 5, 6))
    grid = prepare(octant_to_cell(octant), phases="0:1,0;1:2,0.4")
    assert grid.symmetry == "orthotropic" and grid.density.all()
    np.testing.assert_array_equal(grid.labels, octant)
    refuses(labels, "holds the label 3, which `phases` does not", phases=text[:-9])
    refuses(labels, "nor averaged nor", phases=text, binarize=True)
    refuses(0 * labels, "has no solid voxel", phases="0:void;1:1,0.3")


def test_images_of_grays_are_no_masks():
    gray = RNG.integers(30, 193, (8, 8, 8)).astype(np.uint8)
    gray[0, 0, :2] = 30, 192
    refuses(
        gray, r"image of grays. `scale=192` `threshold=0.\d+` `binarize=true` takes"
    )
    assert "% of the voxels are gray" in prepare(gray, scale=255).notes[0]
    assert not prepare(gray, scale=255, binarize=True).notes


def test_labels_are_told_from_masks():
    labels = RNG.integers(0, 3, (8, 8, 8))
    refuses(labels, 'the labels 0, 1, 2: give .*`phases="0:void;1:1,0.3;2:1,0.3"`')


def test_an_octant_without_mirrors_is_noted():
    assert "pass `input_is=octant`" in prepare(cubic()).notes[0]


def test_cells_without_solid_name_the_threshold():
    cell = 0.31 * octant_to_cell(cubic())
    refuses(
        cell,
        r"^cell.npy has no solid voxel above 0.5 \(max 0.31\). Choose "
        r"`threshold`.$",
    )
    refuses(np.zeros((16, 16, 16)), r"above 0.5 \(max 0\). It is empty: choose another")
    refuses(cell, r"\(max 0.00122\). Check `scale=255`, or", scale=255.0)
    assert prepare(cell, "cell.npy", threshold=0.2).symmetry == "cubic"
    binary = prepare(cell, "cell.npy", threshold=0.2, binarize=True)
    assert set(np.unique(binary.density)) == {0, 1}


@pytest.mark.parametrize("value", [1.0, 0.6])
def test_uniform_cells_are_cells(value):
    grid = prepare(np.full((16, 16, 16), value), "cell.npy")
    assert grid.symmetry == "cubic" and not grid.notes
    np.testing.assert_array_equal(grid.density, value)


def test_symmetry_is_found():
    for octant, kind in ((cubic(), "cubic"), (orthotropic(), "orthotropic")):
        grid = prepare(octant_to_cell(octant), "cell.npy")
        assert grid.symmetry == kind and not grid.notes
        np.testing.assert_array_equal(grid.density, octant)
        grid = prepare(octant, "cell.npy", input_is="octant")
        assert grid.symmetry == kind
        np.testing.assert_array_equal(grid.cell, octant_to_cell(octant))
    cell = orthotropic(16)
    grid = prepare(cell, "cell.npy")
    assert grid.symmetry == "periodic"
    np.testing.assert_array_equal(grid.cell, cell)


def test_symmetry_survives_single_precision():
    octant = 0.9 * cubic() + 0.05
    cell = octant_to_cell(octant) + RNG.uniform(-3e-7, 3e-7, (16, 16, 16))
    assert prepare(cell.astype(np.float32), "cell.npy").symmetry == "cubic"


def test_symmetry_can_be_lowered_but_not_raised():
    cell = octant_to_cell(cubic())
    assert prepare(cell, "c", symmetry="orthotropic").density.shape == (8, 8, 8)
    grid = prepare(cell, "c", symmetry="periodic")
    np.testing.assert_array_equal(grid.density, cell)
    assert grid.symmetry == "periodic" and not grid.notes
    grid = prepare(cubic(), "c", symmetry="periodic", input_is="octant")
    assert grid.density.shape == (16, 16, 16)
    refuses(
        octant_to_cell(orthotropic()),
        "cell.npy is not cubic: it is orthotropic",
        symmetry="cubic",
    )
    refuses(orthotropic(16), "not orthotropic: it is periodic", symmetry="orthotropic")


def test_octants_may_have_any_edge():
    grid = prepare(octant_to_cell(cubic(5)), "cell.npy")
    assert grid.symmetry == "cubic" and grid.density.shape == (5, 5, 5)
    small = octant_to_cell(cubic(3))
    assert prepare(small, "cell.npy").symmetry == "periodic"


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("edge", [16, 24, 48])
def test_resampling_keeps_symmetry_and_volume(method, edge):
    x = (np.indices((32, 32, 32)) + 0.5) / 32 * 2 * np.pi
    cell = (abs(np.cos(x).sum(0)) < 0.8).astype(np.float32)
    grid = prepare(cell, "cell.npy", resize=edge, resize_method=method)
    assert grid.symmetry == "cubic" and grid.cell.shape == (edge,) * 3
    # A surface voxel more or less: walls are four voxels thick at edge 16.
    assert abs(grid.cell.mean() - cell.mean()) < 0.04


def test_periodic_resampling_wraps_round():
    cell = np.zeros((16, 16, 16))
    cell[:, :, 0] = cell[:, :4, 8:11] = 1
    grid = prepare(cell, "cell.npy", resize=32, resize_method="linear")
    # The voxel plane at z = 0 spreads over the boundary to the last plane.
    assert grid.density[20, 20, -1] == pytest.approx(0.25)


def test_tiling_repeats_the_box():
    box = (RNG.random((8, 8, 4)) > 0.5).astype(float)
    grid = prepare(box, "c", resize=16, resize_method="tile")
    np.testing.assert_array_equal(grid.density, np.tile(box, (2, 2, 4)))
    assert grid.notes[:1] == ("c: repeated 2 x 2 x 4 times to 16^3 voxels.",)
    octant = orthotropic()
    grid = prepare(octant, "c", resize=16, resize_method="tile", input_is="octant")
    np.testing.assert_array_equal(grid.density, octant_to_cell(octant))
    np.testing.assert_array_equal(grid.cell, np.tile(octant_to_cell(octant), (2,) * 3))
    refuses(
        np.ones((10, 10, 10)),
        r"does not fill resize=16 with whole copies. Pass `resize=20`",
        resize=16,
        resize_method="tile",
    )


def test_padding_adds_void_around_the_cell():
    box = 1 + RNG.random((8, 7, 4)) / 10 - 0.1
    grid = prepare(box, "c", resize=12, resize_method="pad")
    np.testing.assert_array_equal(grid.density[2:10, 2:9, 4:8], box.clip(0, 1))
    assert grid.density.sum() == pytest.approx(box.sum())
    assert grid.notes[1] == "c: shape (8, 7, 4) padded with void to 12^3 voxels."
    octant = orthotropic()
    grid = prepare(octant, "c", resize=12, resize_method="pad", input_is="octant")
    np.testing.assert_array_equal(grid.cell[4:20, 4:20, 4:20], octant_to_cell(octant))
    refuses(
        np.ones((10, 10, 10)),
        r"shape \(10, 10, 10\), more than resize=8: padding only adds voxels. Pass "
        "`resize=10`",
        resize=8,
        resize_method="pad",
    )


def test_resampling_tells_what_it_changed():
    cell = (RNG.random((16, 16, 12)) > 0.5).astype(float)
    grid = prepare(cell, "cell.npy", resize=24)
    assert grid.edges == pytest.approx((1, 1, 0.75))
    assert "resampled from 16 x 16 x 12 to 24^3 voxels: volume 0." in grid.notes[0]


def test_voxels_become_cubes():
    cell = RNG.random((4, 5, 6)) > 0.5
    assert to_cubes(cell, (1, 1, 1)) is cell
    finer = to_cubes(cell, (1, 2, 0.5))
    assert finer.shape == (8, 20, 6)
    np.testing.assert_array_equal(finer[::2, ::4], cell)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_is": "half"}, "input_is=half is unknown. Use cell, octant"),
        ({"symmetry": "mirror"}, "symmetry=mirror is unknown"),
        (
            {"resize_method": "cubic"},
            "resize_method=cubic is unknown. Use nearest, linear, p",
        ),
        ({"resize_method": "tile"}, "resize_method=tile needs the edge to reach"),
        ({"resize": 3}, "resize=3 is too small. Set `resize` to 4 or more"),
        ({"boundary": "open"}, "boundary=open is unknown. Use periodic, mirrored, m"),
        ({"voxel": (1, 0, 1)}, "voxel=.* is not three positive numbers"),
        ({"scale": 0.0}, "scale=0.0 is too small. Set `scale` to more than 0"),
        ({"scale": np.nan}, "scale=nan is not a finite number"),
        (
            {"threshold": 1.0},
            "threshold=1.0 is too large. Set `threshold` to less than 1",
        ),
        ({"threshold": np.nan}, "threshold=nan is not a finite number"),
    ],
)
def test_unknown_options(options, match):
    refuses(octant_to_cell(cubic()), match, **options)


def test_good_edges():
    assert [good_edge(n) for n in (1, 8, 9, 64, 65)] == [8, 8, 12, 64, 68]
    assert [good_edge(n, 8) for n in (1, 17, 64)] == [16, 24, 64]


def test_labels_are_filled_up_with_void():
    labels = np.full((6, 6, 6), 2)
    text = "1:210,0.3;2:70,0.3"
    refuses(labels, "no void", phases=text, resize=8, resize_method="pad")
    options = {"resize": 8, "resize_method": "pad", "input_is": "octant"}
    grid = prepare(labels, phases=f"{text};3:void", **options)
    assert (grid.labels == 3).sum() == 8**3 - 6**3 and grid.density.sum() == 6**3
    nearest = prepare(labels[:3], phases=text, resize=8)
    assert (nearest.labels == 2).all() and "volume" not in nearest.notes[0]
    refuses(labels, "neither scaled nor", phases=text, scale=255)
    refuses(labels + 0.5, "no whole numbers", phases=text)
    refuses(labels * np.nan, "no whole numbers", phases=text)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((0, 4, 4)), "a cell has three axes"),
        (np.full((4, 4, 4), "a"), "not real numbers"),
        (np.full((4, 4, 4), None), "not real numbers"),
        (np.ones((4, 4, 4), complex), "not real numbers"),
    ],
)
def test_what_is_no_array_of_voxels(array, match):
    refuses(array, match)


def test_rounding_of_edges_is_no_difference():
    cell = octant_to_cell(cubic())
    grid = prepare(cell, voxel=(1 / 30, 0.0333334, 0.0333333))
    assert grid.symmetry == "cubic" and grid.edges == (1, 1, 1)
    for voxel in ((1, 1, np.inf), (1, -1, 1), (0, 0, 0)):
        refuses(cell, "is not three positive numbers", voxel=voxel)


def test_more_voxels_than_the_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(preparing.memory, "available", lambda: 50_000)
    options = preparing.Options(resize=16)
    with pytest.raises(
        MemoryLimitError, match="a with 16 x 16 x 16 voxels needs about"
    ):
        preparing.prepare(np.ones((8, 8, 8)), "a", options)
    with pytest.raises(MemoryLimitError, match="with 20 x 20 x 20 voxels .* `resize`"):
        preparing.prepare(np.ones((20, 20, 20)), "a")
    assert preparing.prepare(np.ones((8, 8, 8)), "a").density.shape == (4, 4, 4)
