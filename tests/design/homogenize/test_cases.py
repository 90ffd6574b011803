"""Files that people bring from other tools: what each is, and its numbers."""

from pathlib import Path

import numpy as np
import pytest

from mmdiff.design.homogenize import batch, geometry, solution
from mmdiff.design.homogenize.characterize import characterize
from mmdiff.errors import InputError

STORED = np.load(Path(__file__).parent / "cases.npz")
ONCE = {"refine": "never"}


def stored(name, *shape):
    return np.unpackbits(STORED[name], count=np.prod(shape)).reshape(shape)


def cubic(found):
    return [found[name] for name in ("C11", "C12", "C44")]


@pytest.mark.slow
def test_a_window_taken_for_a_period_is_told():
    """It has no path through faces of voxels along x, and yet it is not singular."""
    found = characterize(stored("span", 24, 24, 24), **ONCE)
    assert found["engineering"]["E_11"] == pytest.approx(0.0196, rel=0.02)
    assert not found["spans"]["x"] and found["load_bearing"]
    assert not found["singular_loads"]
    (note,) = found["notes"]
    assert "along x the solid meets its copy by edges and corners of voxels" in note


@pytest.mark.slow
def test_windows_are_bounded_from_above():
    window = stored("span", 24, 24, 24)[:12, :12, :12]
    whole = characterize(window, boundary="kinematic", **ONCE)
    mixed = characterize(window, boundary="mixed", **ONCE)
    difference = np.array(whole["C"]) - np.array(mixed["C"])
    assert np.linalg.eigvalsh(difference).min() > -1e-5
    assert "its tensor is an upper bound" in whole["notes"][0]
    assert whole["symmetry"] == "kinematic" and mixed["symmetry"] == "mixed"


@pytest.mark.slow
def test_a_stiff_sphere_in_a_soft_matrix():
    sphere = stored("sphere", 32, 32, 32)
    found = characterize(sphere, base_E=400.0, base_nu=0.2, void=0.1875, **ONCE)
    np.testing.assert_allclose(cubic(found), [98.401, 23.986, 36.327], rtol=2e-5)
    assert found["load_bearing"] and not found["notes"]
    assert 0.8 < found["HS"]["K/K_HS"] <= 1


@pytest.mark.slow
def test_phases_of_different_poissons_ratio():
    sphere = stored("sphere", 32, 32, 32)
    alike = characterize(sphere, phases="0:75,0.2;1:400,0.2", **ONCE)
    np.testing.assert_allclose(cubic(alike), [98.401, 23.986, 36.327], rtol=2e-5)
    other = characterize(sphere, phases="0:75,0.35;1:400,0.2", **ONCE)
    assert other["nu"] > alike["nu"] + 0.1 and other["HS"]["K/K_HS"] <= 1
    assert [phase["E"] for phase in other["phases"]] == [75, 400]


@pytest.mark.slow
def test_labels_are_phases():
    labels = STORED["labels"]
    with pytest.raises(InputError, match='labels 0, 1, 2: give .*`phases="0:void;'):
        characterize(labels)
    text = "0:void,1:{:g},0.3;2:{:g},0.33"
    found = characterize(labels, phases=text.format(210, 70), **ONCE)
    one, two = (phase["share"] for phase in found["phases"][1:])
    assert found["volume"] == pytest.approx(one + two, abs=1e-6)
    voigt = characterize(labels, phases=text.format(210, 210), **ONCE)
    assert cubic(found)[0] < 0.95 * cubic(voigt)[0]
    scaled = characterize(labels, phases=text.format(2.1, 0.7), **ONCE)
    np.testing.assert_allclose(100 * np.array(scaled["C"]), found["C"], atol=1e-3)


def test_a_gray_image_is_no_mask():
    rng = np.random.default_rng(0)
    gray = rng.normal(60, 15, (40, 40, 40))
    gray[10:30] = rng.normal(150, 15, (20, 40, 40))
    gray = gray.clip(30, 192).astype(np.uint8)
    with pytest.raises(InputError) as error:
        characterize(gray)
    text = str(error.value)
    assert "It is an image of grays. `scale=192` `threshold=0.5" in text
    assert "(Otsu's threshold), 50 % of the voxels." in text and "mask" not in text


@pytest.mark.slow
def test_any_edge_is_solved_as_it_is():
    gyroid = stored("gyroid", 50, 50, 50)
    found = characterize(gyroid, **ONCE)
    assert found["volume"] == pytest.approx(0.2022, abs=5e-5)
    assert found["resolution"] == 50 and not found["notes"]
    changed = characterize(gyroid, resize=52, **ONCE)
    assert "volume 0.2022 -> 0.1983 (-2.0 %)" in changed["notes"][0]
    assert changed["E"] / found["E"] - 1 == pytest.approx(-0.042, abs=0.002)


def read(path, folder, **raw):
    settings = batch.Settings(raw=raw, geometry=geometry.Geometry(**ONCE))
    return batch.homogenize(path, folder, settings)[0][0]


def test_packed_octants_are_hinted_at_and_read(tmp_path):
    octant = np.zeros((16, 16, 16), np.uint8)
    for axis in range(3):
        np.moveaxis(octant, axis, 0)[:, :5, :4] = 1
        np.moveaxis(octant, axis, 0)[:, :4, :5] = 1
    packed = np.packbits(octant.ravel("F"), bitorder="little")
    path = tmp_path / "octant"
    packed.tofile(path)
    with pytest.raises(InputError, match="A file without a header needs `shape=64"):
        read(path, tmp_path / "a")
    shape = {"shape": (16, 16, 16), "order": "F", "dtype": "uint8"}
    with pytest.raises(InputError, match="Eight voxels a byte are read with `bits="):
        read(path, tmp_path / "a", **shape)
    found = read(path, tmp_path / "a", **shape, bits=True)
    assert found["symmetry"] == "cubic" and found["resolution"] == 32
    assert found["volume"] == pytest.approx(octant.mean())
    assert "octant: taken as one octant of its cell." in found["notes"]


@pytest.mark.slow
def test_the_packed_octant_of_another_project(tmp_path):
    path = tmp_path / "packed.raw"
    STORED["packed"].tofile(path)
    shape = {"shape": (64, 64, 64), "order": "F", "dtype": "uint8"}
    found = read(path, tmp_path / "a", **shape, bits=True)
    assert found["symmetry"] == "cubic" and found["resolution"] == 128
    assert found["volume"] == pytest.approx(0.3, abs=1e-4) and found["load_bearing"]


def test_boxes_are_solved_as_they_are():
    box = stored("cuboid", 32, 32, 48)
    found = characterize(box, **ONCE)
    assert found["shape"] == [32, 32, 48] and found["symmetry"] == "orthotropic"
    assert not found["notes"]
    # Half of the box along z, with voxels twice as long: the same object on a grid that
    # is coarser along z.
    coarse = characterize(box[:, :, ::2], voxel=(1, 1, 2), **ONCE)
    assert coarse["volume"] == pytest.approx(found["volume"], rel=0.05)
    assert coarse["E"] == pytest.approx(found["E"], rel=0.1)


def test_void_without_stiffness_is_excluded():
    with pytest.raises(InputError, match="void=0 is excluded: .* Set `void` to 1e-6"):
        solution.Material(void=0.0)


def test_other_formats_are_told_how_to_convert(tmp_path):
    path = tmp_path / "a.vdb"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="has an unknown format.*[.] Copy the grid"):
        read(path, tmp_path / "a")
