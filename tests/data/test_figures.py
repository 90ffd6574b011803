"""Plots of datasets: written whole, of the right things, or not at all."""

import pathlib

import numpy as np
import pytest

from mmdiff.bounds import hashin_shtrikman
from mmdiff.data import figures, space, store
from mmdiff.elasticity import moduli
from mmdiff.io import plots

pytest.importorskip("matplotlib")

LIMITS = (0.1, 0.9)
ROUNDS = (
    {"round": 0, "aim": "optimized", "coverage": 0.02},
    {"round": 1, "aim": "everywhere", "coverage": 0.05},
    {"round": 2, "aim": "poisson", "coverage": 0.06},
)


def _cells(count=60):
    """Return constants (count, 3) and volumes (count,) from all reachable bins."""
    rng = np.random.default_rng(0)
    index = rng.choice(space.reachable_bins(*LIMITS), count)
    points = space.draw_in_bins(rng, index, LIMITS)
    return points[:, :3], points[:, 3]


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figure that a function would save."""
    kept = []

    def keep(path, figure):
        kept.append(figure)
        return True

    monkeypatch.setattr(plots, "save_figure", keep)
    return kept


def _points(axis):
    """Return the (x, y) of the cells in a panel: its last scatter."""
    return np.asarray(axis.collections[-1].get_offsets())


def test_tensor_space_draws_all_cells_in_every_panel(drawn):
    constants, volume = _cells()
    c11, c12, c44 = constants.T
    assert figures.tensor_space("", constants, volume)
    whole, shears, bulk = drawn[0].axes[:3]
    assert [whole.get_xlabel(), whole.get_ylabel(), whole.get_zlabel()] == [
        "C11", "C12", "C44"
    ]  # fmt: skip
    low, high = zip(
        *(whole.get_xlim(), whole.get_ylim(), whole.get_zlim()), strict=True
    )
    assert (constants > low).all() and (constants < high).all()  # nothing is cut off
    np.testing.assert_array_equal(_points(shears).T, [(c11 - c12) / 2, c44])
    expected = [volume, moduli(constants)["K"]]
    np.testing.assert_array_equal(_points(bulk).T, expected)
    np.testing.assert_array_equal(shears.collections[-1].get_array(), volume)


def test_no_reachable_cell_is_drawn_above_a_bound(drawn):
    constants, volume = _cells(300)
    figures.tensor_space("", constants, volume)
    _, shears, bulk = drawn[0].axes[:3]
    (bound,) = bulk.lines
    line = bound.get_xdata()
    np.testing.assert_array_equal(bound.get_ydata(), hashin_shtrikman(line)[0])
    x, y = _points(bulk).T
    # The chords of a convex curve lie above it: rounding alone.
    assert (y <= np.interp(x, line, bound.get_ydata()) + 1e-12).all()
    # All but the last curve, the diagonal, are bounds for volumes 0.1, 0.3 ... 0.9.
    *bounds, diagonal = shears.lines
    for value, curve in zip((0.1, 0.3, 0.5, 0.7, 0.9), bounds, strict=True):
        faces, edges = curve.get_data()
        inside = volume <= value
        first, second = _points(shears)[inside].T
        # From the left the curve is level, sloping, and at last upright.
        assert (first <= faces.max()).all()
        heights = np.interp(first, faces[:-1], edges[:-1])
        # The 59 chords of a concave curve lie below it, by 6e-6 at most.
        assert (second <= heights + 1e-5).all()
    np.testing.assert_array_equal(*diagonal.get_data())


def test_coverage_draws_rounds_from_the_top_and_counts_every_cell(drawn):
    constants, volume = _cells()
    assert figures.coverage("", ROUNDS, constants, volume)
    bars, poisson, _, zener, _ = drawn[0].axes
    assert [bar.get_width() for bar in bars.patches] == [2.0, 5.0, 6.0]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == ["0: optimized", "1: everywhere", "2: poisson"]
    assert bars.yaxis_inverted()
    for axis in (poisson, zener):
        assert axis.get_xlabel() == "volume fraction"
        assert np.ma.filled(axis.collections[0].get_array(), 0).sum() == len(volume)
    nu = moduli(constants)["nu"]
    low, high = poisson.get_ylim()
    assert low <= nu.min() and nu.max() <= high


def _calls():
    constants, volume = _cells()
    return {
        "space.png": lambda p: figures.tensor_space(p, constants, volume),
        "coverage.png": lambda p: figures.coverage(p, ROUNDS, constants, volume),
        "one.png": lambda p: figures.tensor_space(p, constants[:1], volume[:1]),
        "first.png": lambda p: figures.coverage(
            p, ROUNDS[:1], constants[:1], volume[:1]
        ),
    }


class Held(store.Labels):
    """Labels that have no dataset: their octants are layers."""

    def octants(self, index):
        found = np.zeros((len(index), 4, 4, 4), np.uint8)
        found[:, :2] = 1
        return found


def test_sheet_shows_cells_evenly_over_poissons_ratio(tmp_path, monkeypatch):
    constants, volume = _cells(24)
    labels = Held(pathlib.Path(), np.arange(24), [{}] * 24, constants, volume)
    shown = []

    def keep(path, octants, captions, size, columns):
        shown.extend(captions)
        assert len(octants) == figures.SHEET
        return True

    monkeypatch.setattr(plots, "cell_sheet", keep)
    kept = np.arange(24) != 5
    assert figures.sheet(tmp_path / "sheet.png", labels, kept)
    ratios = [float(caption.split()[-1]) for caption in shown]
    assert ratios == sorted(ratios)
    nu = moduli(constants)["nu"][kept]
    assert ratios[0] == round(nu.min(), 2) and ratios[-1] == round(nu.max(), 2)


def test_spread_takes_the_nearest_values_once():
    values = np.array([5.0, 0.0, 10.0, 0.1, 4.9])
    assert figures.spread(values, 3).tolist() == [1, 0, 2]
    assert sorted(figures.spread(values, 9)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", tuple(_calls()))
def test_files_are_pictures_with_something_on_them(tmp_path, name):
    from matplotlib import image

    assert _calls()[name](tmp_path / name) is True
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    pixels = image.imread(tmp_path / name)
    # Three panels side by side, at 144 dots per inch.
    height, width, _ = pixels.shape
    assert height > 400 and width > 2.5 * height
    assert pixels[..., :3].std() > 0.02
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    for name, call in _calls().items():
        assert call(tmp_path / name) is False
    assert not list(tmp_path.iterdir())
