"""Plots of optimizations: written whole, of the right things, or not at all."""

import numpy as np
import pytest

from mmdiff.bounds import hashin_shtrikman
from mmdiff.design.optimize import figures

pytest.importorskip("matplotlib")


def _runs(count=3):
    rng = np.random.default_rng(0)
    same = {"volume": np.full(20, 0.3), "penal": np.full(20, 3.0)}
    same["beta"] = np.repeat([1.0, 2.0], 10)
    return {
        f"start {i}": {"share": np.sort(rng.uniform(size=20)), **same}
        for i in range(count)
    }


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figure that a function would save."""
    kept = []

    def keep(path, figure):
        kept.append(figure)
        return True

    monkeypatch.setattr(figures.plots, "save_figure", keep)
    return kept


def test_history_draws_every_run_with_the_best_in_front(drawn):
    runs = _runs()
    titles = {"share": "K/K_HS", "volume": "volume fraction"}
    assert figures.history("", runs, "start 1", titles)
    first, second = drawn[0].axes
    assert [axis.get_ylabel() for axis in (first, second)] == list(titles.values())
    curves = [line for line in first.lines if len(line.get_xdata()) == 20]
    assert len(curves) == 3 and curves[-1].get_label() == "start 1 (best)"
    np.testing.assert_array_equal(curves[-1].get_ydata(), runs["start 1"]["share"])
    assert curves[-1].get_linewidth() > curves[0].get_linewidth()
    # The stages are named above the first panel only.
    assert [text.get_text() for text in first.texts] == ["p = 3, $\\beta$ = 1",
                                                         "$\\beta$ = 2"]  # fmt: skip
    assert not second.texts


def test_crowded_stages_are_marked_but_not_named(drawn):
    runs = _runs(1)
    runs["start 0"]["beta"] = np.arange(1.0, 21.0)
    figures.history("", runs, "start 0", {"share": "K/K_HS"})
    (axis,) = drawn[0].axes
    assert len(axis.lines) == 1 + 19 and len(axis.texts) <= 11


def _facts(volume, bulk):
    return {"volume": volume, "K": bulk, "G": bulk / 3, "E": 0.9 * bulk, "nu": 0.2}


def test_bounds_show_curves_plates_and_cells(drawn):
    cells = [_facts(0.3, 0.11), _facts(0.301, 0.10)]
    plates = {"sc": _facts(0.3, 0.09), "octet": _facts(0.3, 0.095)}
    columns = ("K", "G", "E", "nu")
    assert figures.bounds("", cells, plates, columns=columns, nu=0.2)
    axes = drawn[0].axes
    assert len(axes) == 4
    labels = [line.get_label() for line in axes[0].lines]
    assert labels == [
        "Hashin-Shtrikman bound", "plates: sc", "plates: octet", "other cells",
        "best cell",
    ]  # fmt: skip
    curve = axes[0].lines[0]
    bulk = hashin_shtrikman(curve.get_xdata(), 0.2)[0]
    np.testing.assert_array_equal(curve.get_ydata(), bulk)
    # Poisson's ratio has no such bound.
    assert "Hashin-Shtrikman bound" not in [i.get_label() for i in axes[3].lines]
    for axis, column in zip(axes, columns, strict=True):
        best = axis.lines[-1]
        assert best.get_label() == "best cell"
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (0.3, cells[0][column])
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        for facts in [*cells, *plates.values()]:  # nothing is cut off
            assert left < facts["volume"] < right and low < facts[column] < high


def test_negative_poisson_ratios_are_inside(drawn):
    cells = [{**_facts(0.3, 0.02), "nu": -0.7}]
    plates = {"sc": _facts(0.3, 0.09)}
    figures.bounds("", cells, plates, columns=("nu",))
    low, high = drawn[0].axes[0].get_ylim()
    assert low < -0.7 and high > 0.2


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    path = tmp_path / "plot.png"
    assert not figures.history(path, _runs(), "start 0", {"share": ""})
    assert not figures.bounds(path, [_facts(0.3, 0.1)], {})
    assert not path.exists()
