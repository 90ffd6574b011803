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
    {"round": 0, "aim": "optimized", "coverage": 0.02, "drainable coverage": 0.01},
    {"round": 1, "aim": "everywhere", "coverage": 0.05, "drainable coverage": 0.03},
    {"round": 2, "aim": "poisson", "coverage": 0.06, "drainable coverage": 0.04},
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
    assert [bar.get_width() for bar in bars.patches] == [2, 5, 6, 1, 3, 4]
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
        "quality.png": lambda p: figures.quality(
            p, volume, volume, {"one": volume, "other": volume}
        ),
        "one.png": lambda p: figures.tensor_space(p, constants[:1], volume[:1]),
        "first.png": lambda p: figures.coverage(
            p, ROUNDS[:1], constants[:1], volume[:1]
        ),
    }


class Held(store.Labels):
    """Labels that have no dataset: a field holds the number of its cell."""

    def fields(self, index):
        return np.asarray(index)[:, None, None, None] * np.ones((4, 4, 4))


@pytest.fixture
def shown(monkeypatch):
    """Keep the numbers of the cells of sheets and their captions."""
    kept = []

    def keep(path, fields, captions, size, columns):
        kept.append(([int(psi[0, 0, 0]) for psi in fields], captions))
        return True

    monkeypatch.setattr(plots, "surface_sheet", keep)
    return kept


def _held(count):
    constants, volume = _cells(count)
    return Held(pathlib.Path(), 4, np.arange(count), [{}] * count, constants, volume)


def test_random_sheet_shows_other_kept_cells_by_seed(shown):
    labels, kept = _held(60), np.arange(60) % 2 == 0
    for seed in (0, 0, 1):
        assert figures.random_sheet("", labels, kept, seed=seed)
    (first, captions), again, (other, _) = shown
    assert (first, captions) == again and first != other
    assert len(set(first)) == figures.RANDOM and kept[first].all()
    assert captions[0].startswith(f"V {labels.volume[first[0]]:.2f}  nu ")
    figures.random_sheet("", labels, np.arange(60) == 5, seed=0)
    assert shown[-1][0] == [5]


def test_auxetic_sheet_shows_the_least_ratios_of_kept_cells(shown):
    labels = _held(24)
    nu = moduli(labels.constants)["nu"]
    kept = np.arange(24) != np.argmin(nu)
    assert figures.auxetic_sheet("", labels, kept)
    ((index, captions),) = shown
    np.testing.assert_array_equal(index, np.argsort(nu)[1 : 1 + figures.AUXETIC])
    assert captions[0].endswith(f"nu {nu[index[0]]:.2f}")


def test_quality_counts_every_cell(drawn):
    rng = np.random.default_rng(0)
    walls, gaps = rng.uniform(0.03, 0.1, (2, 50))
    off = {"one": rng.uniform(0.02, 1, 50), "other": np.full(50, 0.3)}
    assert figures.quality("", walls, gaps, off)
    thickness, uncertainty = drawn[0].axes
    for axis in (thickness, uncertainty):
        for outline in axis.patches:
            assert outline.get_xy()[:, 1].max() > 0
        names = [text.get_text() for text in axis.get_legend().get_texts()]
        assert len(names) == 2


@pytest.mark.parametrize("name", tuple(_calls()))
def test_files_are_pictures_with_something_on_them(tmp_path, name):
    from matplotlib import image

    assert _calls()[name](tmp_path / name) is True
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    pixels = image.imread(tmp_path / name)
    # Two or three panels side by side, at 144 dots per inch.
    height, width, _ = pixels.shape
    assert height > 400 and width > 2.4 * height
    assert pixels[..., :3].std() > 0.02
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    for name, call in _calls().items():
        assert call(tmp_path / name) is False
    assert not list(tmp_path.iterdir())
