"""Plots of training: losses at their steps, predictions over true values."""

import numpy as np
import pytest

from mmdiff.io import plots
from mmdiff.train import figures
from mmdiff.train.regression import QUANTITIES, Comparison

ROWS = [
    {"step": 1, "loss": 1.0},
    {"step": 2, "loss": 0.5, "validation": None},
    {"step": 2, "validation": 0.7},
]


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figure that a function would save."""
    pytest.importorskip("matplotlib")
    kept = []

    def keep(path, figure):
        kept.append(figure)
        return True

    monkeypatch.setattr(plots, "save_figure", keep)
    return kept


def _comparison():
    true = np.random.default_rng(0).random((5, 4))
    return Comparison(true, 0.9 * true)


def test_losses_stand_at_their_steps(drawn):
    assert figures.loss_curve("", ROWS)
    (axis,) = drawn[0].axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert curves == {"loss": [[1, 1], [2, 0.5]], "validation": [[2, 0.7]]}
    assert axis.get_yscale() == "log" and axis.get_legend()
    # A run that was stopped before its first report.
    assert figures.loss_curve("", [])


def test_predictions_of_each_quantity_stand_over_the_true_values(drawn):
    comparison = _comparison()
    assert figures.predictions("", comparison)
    scores = comparison.scores()
    for i, (axis, name) in enumerate(zip(drawn[0].axes, QUANTITIES, strict=True)):
        points = np.asarray(axis.collections[0].get_offsets()).T
        expected = [comparison.true[:, i], comparison.predicted[:, i]]
        np.testing.assert_array_equal(points, expected)
        title = axis.get_title()
        assert name in title and f"{scores[f'R2 {name}']:.4f}" in title


def test_without_matplotlib_nothing_is_written(tmp_path, no_matplotlib):
    assert figures.loss_curve(tmp_path / "a.png", ROWS) is False
    assert figures.predictions(tmp_path / "b.png", _comparison()) is False
    assert not list(tmp_path.iterdir())
