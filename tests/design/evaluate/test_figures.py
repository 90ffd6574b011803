"""Plots of an evaluation: they are written, and hold what they are given."""

import numpy as np
import pytest

from mmdiff.design.evaluate import figures

pytest.importorskip("matplotlib")

RAW = {"raw_error": 0.03, "raw_relative": 0.1}
CELL = {
    "error": 1e-4,
    "constants": [0.2, 0.1, 0.05],
    "volume": 0.4,
    "nearest": 0.9,
}
FULL = {"C11": 0.2, "C12": 0.1, "C44": 0.05, "V": 0.4, "within": 0.8}
EMPTY = {"C11": 0.3, "C12": 0.1, "C44": 0.05, "V": None, "within": None}
RECORDS = [
    {**FULL, "raw": [RAW], "cells": [CELL]},
    {**EMPTY, "raw": [], "cells": []},
]
KNOWN = np.array([[0.2, 0.1, 0.05], [0.3, 0.1, 0.1]]), np.array([0.4, 0.5])


@pytest.mark.parametrize("records", [RECORDS, RECORDS[1:]])
def test_plots_are_written(records, tmp_path):
    names = "error.png", "novelty.png", "coverage.png"
    assert figures.error_histogram(tmp_path / names[0], records)
    assert figures.similarities(tmp_path / names[1], records)
    assert figures.coverage(tmp_path / names[2], records, *KNOWN)
    for name in names:
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_an_error_beyond_the_axis_is_still_counted(tmp_path):
    def picture(error):
        cells = [{**CELL, "error": error}]
        record = {**RECORDS[0], "cells": cells}
        path = tmp_path / f"{error}.png"
        assert figures.error_histogram(path, [record])
        return path.read_bytes()

    # Zero falls into the first bar, like all that is below the axis.
    assert picture(0.0) == picture(1e-9) != picture(0.5)
