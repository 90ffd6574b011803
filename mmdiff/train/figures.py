"""Plots of training: losses over the steps, predictions over true values."""

import os
from collections.abc import Mapping, Sequence

from mmdiff.io.plots import BLUE, OCHRE, parity, plot
from mmdiff.train.regression import QUANTITIES, Comparison


@plot
def loss_curve(figure, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw training and validation loss over the step, on a logarithmic axis."""
    figure.set_size_inches(5.6, 3.4)
    axis = figure.add_subplot()
    for name, colour in (("loss", BLUE), ("validation", OCHRE)):
        points = [(r["step"], r[name]) for r in rows if r.get(name) is not None]
        if points:
            axis.plot(*zip(*points, strict=True), color=colour, lw=1.4, label=name)
    axis.set(xlabel="step", ylabel="mean squared error of x0", yscale="log")
    if axis.lines:
        axis.legend()


def predictions(path: str | os.PathLike, comparison: Comparison) -> bool:
    """Draw predicted over true values, one panel per quantity."""
    r2 = comparison.scores()
    names = [f"{name}\n$R^2$ = {r2[f'R2 {name}']:.4f}" for name in QUANTITIES]
    axes = ("finite elements", "predicted")
    return parity(path, comparison.true, comparison.predicted, names, axes)
