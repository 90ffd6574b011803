"""Plots are written where matplotlib is, and quietly left out where it is not."""

import numpy as np
import pytest

from mmdiff.bounds import hashin_shtrikman
from mmdiff.elasticity import cubic_to_voigt, from_k_g_zener
from mmdiff.io import plots


def calls(folder):
    rng = np.random.default_rng(0)
    volume = rng.uniform(0.2, 0.9, 30)
    bulk, shear, _ = hashin_shtrikman(volume)
    constants = from_k_g_zener(0.8 * bulk, 0.8 * shear, rng.uniform(0.5, 2.0, 30))
    got = np.concatenate([constants, volume[:, None]], axis=1)[:3]
    return {
        "spheres.png": lambda p: plots.modulus_spheres(p, constants[:2], ["a", "b"]),
        "tensor.png": lambda p: plots.modulus_spheres(
            p, cubic_to_voigt(constants[:1]), ["6x6"]
        ),
        "parity.png": lambda p: plots.parity(p, got[0], got),
        "slices.png": lambda p: plots.slices(p, rng.random((6, 8, 9)), 0.5, "scan: "),
        "map.png": lambda p: plots.property_scatter(p, constants, volume),
    }


NAMES = tuple(calls(None))


@pytest.mark.parametrize("name", NAMES)
def test_plots_are_pictures_with_something_on_them(tmp_path, name):
    image = pytest.importorskip("matplotlib.image")
    assert calls(tmp_path)[name](tmp_path / name) is True
    pixels = image.imread(tmp_path / name)
    assert pixels.shape[0] > 200 and pixels[..., :3].std() > 0.02


def test_plots_without_matplotlib_write_nothing(tmp_path, no_matplotlib):
    for name, call in calls(tmp_path).items():
        assert call(tmp_path / name) is False
    assert not list(tmp_path.iterdir())
    images = [np.zeros((8, 8, 3), np.uint8)] * 2
    assert plots.contact_sheet(tmp_path / "sheet.png", images, ["a", "b"]) is False
    assert (tmp_path / "sheet.png").exists()


def test_contact_sheet_tiles_the_pictures(tmp_path):
    reader = pytest.importorskip("matplotlib.image")
    images = [np.full((6, 5, 3), 40 * i, np.uint8) for i in range(5)]
    assert plots.contact_sheet(tmp_path / "a.png", images, columns=3) is True
    sheet = np.round(255 * reader.imread(tmp_path / "a.png")).astype(int)
    assert sheet.shape == (12, 15, 3)
    assert sheet[::6, ::5, 0].tolist() == [[0, 40, 80], [120, 160, 0]]


def test_captions_stand_below_the_pictures(tmp_path):
    reader = pytest.importorskip("matplotlib.image")
    images = [np.full((40, 90, 3), 200, np.uint8)] * 2
    assert plots.contact_sheet(tmp_path / "a.png", images, ["one $x", "two"]) is True
    sheet = reader.imread(tmp_path / "a.png")
    assert sheet.shape == (72, 180, 3)
    assert sheet[40:].min() < 0.4  # dark letters on the light strip


def test_surface_sheet_draws_fields_side_by_side(tmp_path):
    reader = pytest.importorskip("matplotlib.image")
    x = np.arange(8.0)
    plates = [np.broadcast_to(width - x, (8, 8, 8)) for width in (2.5, 5.5)]
    path = tmp_path / "sheet.png"
    assert plots.surface_sheet(path, plates, ["thin", "thick"], size=64, columns=2)
    sheet = reader.imread(path)[:64]
    assert sheet.shape[1] == 128
    # The thicker plate covers more of its picture.
    drawn = [(part[..., 2] < 0.95).mean() for part in (sheet[:, :64], sheet[:, 64:])]
    assert 0.05 < drawn[0] < drawn[1]


def test_slices_of_a_single_layer(tmp_path):
    pytest.importorskip("matplotlib")
    image = np.random.default_rng(0).random((8, 9, 1))
    assert plots.slices(tmp_path / "thin.png", image, 0.5)
