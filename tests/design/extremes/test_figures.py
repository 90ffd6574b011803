"""The picture of extreme cells: every start is in it, more is always up."""

import numpy as np
import pytest

from mmdiff.bounds import hashin_shtrikman
from mmdiff.design.extremes import figures
from mmdiff.design.extremes.figures import Panel

pytest.importorskip("matplotlib")


def _panel(**options):
    usual = {
        "title": "bulk",
        "label": "K",
        "volume": 0.5,
        "known": np.array([[0.1, 0.02], [0.5, 0.2], [0.9, 0.6]]),
        "before": {"generated": np.array([[0.48, 0.15], [0.52, np.nan]])},
        "after": {
            "generated": np.array([[0.5, 0.22], [0.5, 0.21]]),
            "doubled": np.array([[0.5, 0.225]]),
        },
        "bound": lambda volume: hashin_shtrikman(volume)[0],
    }
    return Panel(**(usual | options))


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figure instead of saving it."""
    kept = []

    def keep(path, figure):
        kept.append(figure)
        return True

    monkeypatch.setattr(figures, "save_figure", keep)
    return kept


def test_every_start_and_the_bound_are_inside(drawn):
    assert figures.bounds("bounds.png", [_panel()])
    (axis,) = drawn[0].axes
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    assert left < 0.48 and right > 0.5
    assert low < 0.15 and high > hashin_shtrikman(0.5)[0] > 0.225
    # The dataset is drawn where it falls into the panel, and does not widen it.
    assert left > 0.1 and right < 0.9
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    np.testing.assert_allclose(lines["generated, after"], [[0.5, 0.22], [0.5, 0.21]])
    np.testing.assert_allclose(lines["doubled, after"], [[0.5, 0.225]])
    assert len(lines["dataset"]) == 3
    grid, bound = lines["Hashin-Shtrikman bound"].T
    np.testing.assert_allclose(bound, hashin_shtrikman(grid)[0])


def test_less_is_up_where_less_is_better(drawn):
    panel = _panel(bound=None, upward=False)
    figures.bounds("bounds.png", [_panel(), panel, panel])
    first, second, *_ = drawn[0].axes
    assert first.get_ylim()[0] < first.get_ylim()[1]
    assert second.get_ylim()[0] > second.get_ylim()[1]
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert len(labels) == len(set(labels)) and "generated, before" in labels


def test_the_file_is_written(tmp_path):
    path = tmp_path / "bounds.png"
    assert figures.bounds(path, [_panel()]) and path.stat().st_size


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    assert not figures.bounds(tmp_path / "bounds.png", [_panel()])
    assert not list(tmp_path.iterdir())
