"""All that is known of one array: voxels, finer mesh, surface, printability."""

import json
import types

import numpy as np
import pytest
from homogenize_helpers import schwarz

from mmdiff import elasticity
from mmdiff.cells import printable, surface
from mmdiff.cells.symmetry import cell_to_octant, octant_to_cell
from mmdiff.design.homogenize.characterize import characterize
from mmdiff.errors import InputError
from mmdiff.fem import accuracy, homogenize

NAMES = elasticity.NAMES


def test_characterize_solves_and_describes_an_array():
    cell = schwarz()
    found = characterize(types.SimpleNamespace(voxels=cell), base_E=2000)
    octant = cell_to_octant(cell).astype(np.float32)
    tensor = np.asarray(homogenize.homogenize(octant)[0], np.float64)
    np.testing.assert_array_equal(found["C"], 2000 * tensor)
    assert found["symmetry"] == "cubic" and found["resolution"] == 16
    assert found["volume"] == pytest.approx(cell.mean())
    assert found["pieces"] == 1 and found["load_bearing"] and found["converged"]
    assert found["E_along"]["[100]"] == pytest.approx(found["E"])
    extremes = sorted([found["E_along"]["[100]"], found["E_along"]["[111]"]])
    assert [found["E_min"]["value"], found["E_max"]["value"]] == pytest.approx(extremes)
    # A shell lattice stays below the bound, and not by much.
    assert 0.7 < found["HS"]["K/K_HS"] < 1
    # A sheet of two to three voxels, oblique nearly everywhere.
    assert 1.5 < found["wall_voxels"]["minimum"] <= found["wall_voxels"]["mean"] < 4
    assert found["gap_voxels"]["minimum"] > 2 and found["notes"] == []
    json.dumps(found, allow_nan=False)


def test_a_solid_cell_has_the_tensor_of_the_base_material():
    found = characterize(np.ones((16, 16, 16), bool))
    expected = elasticity.cubic_to_voigt(elasticity.isotropic())
    # A few roundings of float32.
    np.testing.assert_allclose(found["C"], expected, atol=1e-6)
    assert found["HS"]["K/K_HS"] == pytest.approx(1, abs=1e-6)
    assert found["load_bearing"] and found["singular_loads"] == []
    # A uniform cell is exact on any mesh.
    assert max(map(abs, found["refined"]["mesh_error"].values())) < 1e-5
    assert found["printability"]["measured_on"] == "voxels"
    assert found["gap_voxels"]["minimum"] is None
    assert "cell is solid everywhere" in found["notes"][0]


def test_grey_cells_are_homogenized_as_they_are():
    found = characterize(np.full((16, 16, 16), 0.6))
    # E = void + 0.6^3 (1 - void); a few roundings of float32.
    assert found["E"] == pytest.approx(1e-6 + 0.216 * (1 - 1e-6), abs=1e-6)


def test_the_finer_mesh_tells_what_one_element_per_voxel_is_off():
    octant = np.zeros((8, 8, 8))
    octant[:2] = octant[:, :2] = octant[:, :, :2] = 1
    cell = octant_to_cell(octant)
    found = characterize(cell)
    fine = octant.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    tensor, _ = homogenize.homogenize(fine)
    for name, value in zip(NAMES, elasticity.voigt_to_cubic(tensor), strict=True):
        assert found["refined"][name] == pytest.approx(float(value), rel=1e-5)
        # Elements that displace less freely are stiffer.
        off = found[name] / found["refined"][name] - 1
        assert found["refined"]["mesh_error"][name] == pytest.approx(off) and off > 0
    assert found["C_voxels"] == {name: found[name] for name in NAMES}
    assert characterize(cell, refine="never")["refined"] is None


def test_the_surface_is_that_of_the_field_with_its_uncertainty():
    cell = schwarz()
    found = characterize(cell, base_E=10.0, geometry="surface", refine="never")
    psi = surface.from_voxels(cell_to_octant(cell))
    known = accuracy.estimate(psi)
    got = [found[name] for name in NAMES]
    # Of float32 solves to 1e-5.
    np.testing.assert_allclose(got, 10 * known.constants, rtol=1e-5)
    doubt = [found["uncertainty"][name] for name in NAMES]
    np.testing.assert_allclose(doubt, 10 * known.uncertainty, rtol=1e-3)
    np.testing.assert_allclose(np.diag(found["C_uncertainty"])[[0, 3]], doubt[::2])
    assert found["volume"] == pytest.approx(cell.mean(), abs=2e-3)
    voxels = characterize(cell, base_E=10.0, refine="never")
    assert found["C_voxels"] == voxels["C_voxels"] and voxels["uncertainty"] is None
    printed = printable.printability(psi)
    assert found["printability"]["wall"] == pytest.approx(10 * printed.wall)
    assert found["printability"]["wall_voxels"] == pytest.approx(16 * printed.wall)
    # What brings its field is not smoothed again.
    same = types.SimpleNamespace(voxels=cell, psi=psi + 0.2)
    thicker = characterize(same, geometry="surface", refine="never")
    assert thicker["volume"] > found["volume"] + 0.02


@pytest.mark.slow
def test_mirror_symmetric_cells_with_unlike_axes_have_a_surface():
    octant = cell_to_octant(schwarz()).copy()
    octant[:3, :3] = 1  # a column along z
    cell = octant_to_cell(octant)
    found = characterize(cell, geometry="surface", refine="never")
    assert found["symmetry"] == "orthotropic" and found["uncertainty"]["C11"] > 0
    tensor, doubt = np.array(found["C"]), np.array(found["C_uncertainty"])
    assert tensor[2, 2] > 1.2 * tensor[0, 0] and found["E_max"]["value"] > found["E"]
    assert (np.diag(doubt) < 0.05 * np.diag(tensor)).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda c: np.roll(c, 3, 0),
            "cell is no cube that is mirror-symmetric",
        ),
        (lambda c: 0.4 * c + 0.5, "holds densities between .* Pass `binarize=true`"),
        (
            lambda c: c | 1,
            "is solid everywhere, so it has no surface here. Pass a cell",
        ),
    ],
)
def test_what_has_no_surface_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        characterize(change(schwarz()), geometry="surface")


def test_unknown_words_are_refused():
    for option in ({"geometry": "mesh"}, {"refine": "yes"}):
        with pytest.raises(InputError, match="is unknown. Use "):
            characterize(schwarz(), **option)
    with pytest.raises(InputError, match="Set `cell_size_mm` to more than 0 mm"):
        characterize(schwarz(), cell_size_mm=0.0)


def test_closed_pores_are_told():
    cell = np.ones((16, 16, 16))
    cell[5:11, 5:11, 5:11] = 0
    found = characterize(cell, refine="never", cell_size_mm=8.0)
    printed = found["printability"]
    assert printed["trapped"] == 1 and printed["void_pieces"] == 1
    assert printed["measured_on"] == "surface"
    # Between a pore and its image: 10 voxels, 8.6 if it became a ball.
    assert 8.5 < printed["wall_voxels"] < 10.1
    assert printed["wall"] == pytest.approx(printed["wall_voxels"] / 2)
    assert "cell encloses 100 % of its void in closed pores" in found["notes"][0]


def test_what_smoothing_would_break_is_measured_on_the_voxels():
    # Blocks that hang on struts of one voxel, away from their images.
    octant = np.zeros((8, 8, 8))
    octant[4:, 4:, 4:] = 1
    octant[:, 6, 6] = octant[6, :, 6] = octant[6, 6, :] = 1
    found = characterize(octant_to_cell(octant), refine="never")
    assert found["printability"]["measured_on"] == "voxels" and found["load_bearing"]
    smooth = characterize(octant_to_cell(octant), refine="never", geometry="surface")
    assert smooth["notes"][0].startswith("cell: smoothing changes the pieces of solid")
    assert not smooth["load_bearing"] and smooth["C11"] < 0.01 * found["C11"]
