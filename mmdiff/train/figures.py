"""Plot of what a regressor says against what is true."""

import os
from collections.abc import Mapping

import numpy as np

from mmdiff.io.plots import BLUE, GREY, new_figure, plot_style, save_figure
from mmdiff.typing import Float


def predictions(
    path: str | os.PathLike,
    pairs: Mapping[str, tuple[Float[np.ndarray, "b"], Float[np.ndarray, "b"], float]],
) -> bool:
    """Draw predicted over true values, one panel per quantity.

    Args:
      path: PNG file to write.
      pairs: by name, the true values, the predicted ones and R^2.

    Returns:
      False, and nothing is written, where matplotlib is absent.
    """
    figure = new_figure(2.4 * len(pairs), 2.9)
    if figure is None:
        return False
    with plot_style():
        for i, (name, (true, predicted, r2)) in enumerate(pairs.items()):
            axis = figure.add_subplot(1, len(pairs), i + 1)
            values = np.concatenate([true, predicted])
            pad = max(0.05 * np.ptp(values), 1e-6)
            ends = np.array([values.min() - pad, values.max() + pad])
            axis.plot(ends, ends, color=GREY, lw=1)
            axis.scatter(true, predicted, s=6, color=BLUE, alpha=0.6, lw=0)
            axis.set(xlim=ends, ylim=ends, xlabel="finite elements")
            axis.set_title(f"{name}\n$R^2$ = {r2:.4f}", fontsize=9)
            axis.set_box_aspect(1)
            axis.locator_params(nbins=4)
            if i == 0:
                axis.set_ylabel("predicted")
        return save_figure(path, figure)
