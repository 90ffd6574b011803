"""From any array to a density grid: values, shapes, symmetry, resampling."""

import numpy as np
import pytest

from mmdiff.errors import InputError
from mmdiff.io.prepare import good_edge, prepare
from mmdiff.symmetry import octant_to_cell, spread

RNG = np.random.default_rng(3)


def cubic(n=8):
    values = (RNG.random(n * (n + 1) * (n + 2) // 6) > 0.5).astype(np.float32)
    return spread(values, n)


def orthotropic(n=8):
    return (RNG.random((n, n, n)) > 0.5).astype(np.float32)


def refuses(array, match, **options):
    with pytest.raises(InputError, match=match):
        prepare(array, "cell.npy", **options)


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
        r"0/255 mask pass --config.scale=255.$",
    )
    refuses(signed, r"values from -1 to 255 \(scale 255\)", scale=255.0)
    refuses(2 * cubic() - 1, "from -1 to 1; .* Shift and scale the values first.")


def test_nan_is_counted_and_located():
    cell = octant_to_cell(cubic())
    cell[1, 2, 3] = np.nan
    cell[4, 5, 6] = np.inf
    refuses(cell, r"holds 2 values that are NaN .* first at index \(1, 2, 3\)")


def test_wrong_shape_says_what_to_do():
    refuses(
        np.zeros((64, 64, 32)),
        r"^cell.npy has shape \(64, 64, 32\); a cubic cell needs three equal edges. If "
        r"this is one octant of a larger cell pass --config.input_is=octant; to pad or "
        r"resample pass --config.resize=64.$",
    )


def test_empty_and_full_name_the_threshold():
    cell = 0.31 * octant_to_cell(cubic())
    refuses(
        cell,
        r"^cell.npy has no solid voxel above 0.5 \(max 0.31\). Choose "
        r"--config.threshold.$",
    )
    refuses(1 - cell, r"no void voxel: all are above 0.5 \(min 0.69\)")
    refuses(np.ones((16, 16, 16)), "density 1 in every voxel")
    assert prepare(cell, "cell.npy", threshold=0.2).symmetry == "cubic"
    binary = prepare(cell, "cell.npy", threshold=0.2, binarize=True)
    assert set(np.unique(binary.density)) == {0, 1}


@pytest.mark.parametrize("edge", [10, 30])
def test_bad_edges_name_the_next_good_one(edge):
    cell = (RNG.random((edge,) * 3) > 0.5).astype(float)
    good = -(-edge // 4) * 4
    refuses(
        cell,
        rf"cell.npy has {edge} voxels per edge; the solver needs a multiple of 4 and "
        rf"at least 8. Pass --config.resize={good} to resample.",
    )
    assert prepare(cell, "cell.npy", resize=good).density.shape == (good,) * 3
    refuses(cell, "resize=18: .* Next good size: 20", resize=18)


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


def test_an_octant_too_odd_for_the_solver_is_solved_whole():
    cell = octant_to_cell(cubic(10))
    grid = prepare(cell, "cell.npy")
    assert grid.symmetry == "periodic" and grid.density.shape == (20, 20, 20)
    assert "--config.resize=24 would be faster" in grid.notes[0]
    refuses(
        cell,
        "has 20 voxels per edge; the solver needs a multiple of 8 and at least 16. "
        "Pass --config.resize=24",
        symmetry="cubic",
    )


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("edge", [16, 24, 48])
def test_resampling_keeps_symmetry_and_volume(method, edge):
    x = (np.indices((32, 32, 32)) + 0.5) / 32 * 2 * np.pi
    cell = (abs(np.cos(x).sum(0)) < 0.8).astype(np.float32)
    grid = prepare(cell, "cell.npy", resize=edge, method=method)
    assert grid.symmetry == "cubic" and grid.cell.shape == (edge,) * 3
    # A surface voxel more or less: walls are four voxels thick at edge 16.
    assert abs(grid.cell.mean() - cell.mean()) < 0.04


def test_periodic_resampling_wraps_round():
    cell = np.zeros((16, 16, 16))
    cell[:, :, 0] = cell[:, :4, 8:11] = 1
    grid = prepare(cell, "cell.npy", resize=32, method="linear")
    # The voxel plane at z = 0 spreads over the boundary to the last plane.
    assert grid.density[20, 20, -1] == pytest.approx(0.25)


def test_stretching_is_noted():
    cell = (RNG.random((16, 16, 12)) > 0.5).astype(float)
    grid = prepare(cell, "cell.npy", resize=16)
    assert "(16, 16, 12) is stretched to 16^3" in grid.notes[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_is": "half"}, "input_is=half is unknown. Use cell, octant"),
        ({"symmetry": "mirror"}, "symmetry=mirror is unknown"),
        ({"method": "cubic"}, "resize_method=cubic is unknown"),
        ({"scale": 0.0}, "scale=0 is not positive"),
        ({"threshold": 1.0}, "threshold=1 is not in"),
    ],
)
def test_unknown_options(options, match):
    refuses(octant_to_cell(cubic()), match, **options)


def test_good_edges():
    assert [good_edge(n) for n in (1, 8, 9, 64, 65)] == [8, 8, 12, 64, 68]
    assert [good_edge(n, 8) for n in (1, 17, 64)] == [16, 24, 64]
