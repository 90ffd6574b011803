"""Plots of training: losses over the steps, predictions over true values.

As in `mmdiff.io.plots`, each returns False and writes nothing without matplotlib.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiff.io.plots import BLUE, GREY, OCHRE, new_figure, plot_style, save_figure
from mmdiff.train.regression import QUANTITIES, Comparison


def loss_curve(path: str | os.PathLike, rows: Sequence[Mapping[str, float]]) -> bool:
    """Draw training and validation loss over the step, on a logarithmic axis.

    Args:
      path: PNG file to write.
      rows: metrics of a run, each with its step.
    """
    figure = new_figure(5.6, 3.4)
    if figure is None:
        return False
    with plot_style():
        axis = figure.add_subplot()
        for name, colour in (("loss", BLUE), ("validation", OCHRE)):
            points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, lw=1.4, label=name)
        axis.set(xlabel="step", ylabel="mean squared error of x0", yscale="log")
        if axis.lines:
            axis.legend()
        return save_figure(path, figure)


def predictions(path: str | os.PathLike, comparison: Comparison) -> bool:
    """Draw predicted over true values, one panel per quantity.

    Args:
      path: PNG file to write.
      comparison: values of some cells.
    """
    figure = new_figure(2.4 * len(QUANTITIES), 2.9)
    if figure is None:
        return False
    scores = comparison.scores()
    with plot_style():
        for i, name in enumerate(QUANTITIES):
            true, predicted = comparison.true[:, i], comparison.predicted[:, i]
            axis = figure.add_subplot(1, len(QUANTITIES), i + 1)
            values = np.concatenate([true, predicted])
            pad = max(0.05 * np.ptp(values), 1e-6)
            ends = np.array([values.min() - pad, values.max() + pad])
            axis.plot(ends, ends, color=GREY, lw=1)
            axis.scatter(true, predicted, s=6, color=BLUE, alpha=0.6, lw=0)
            axis.set(xlim=ends, ylim=ends, xlabel="finite elements")
            axis.set_title(f"{name}\n$R^2$ = {scores[f'R2 {name}']:.4f}", fontsize=9)
            axis.set_box_aspect(1)
            axis.locator_params(nbins=4)
            if i == 0:
                axis.set_ylabel("predicted")
        return save_figure(path, figure)
