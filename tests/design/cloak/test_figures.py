"""Sections through cloaks."""

import numpy as np
import pytest

from mmdiff.design.cloak import figures


def test_every_case_gets_a_row(found, tmp_path):
    pytest.importorskip("matplotlib")
    sizes = []
    for count in (1, 3):
        file = tmp_path / f"{count}.png"
        assert figures.sections(file, [found] * count)
        head = file.read_bytes()[16:24]
        sizes.append(np.frombuffer(head, ">u4").tolist())
    assert sizes[0][0] == sizes[1][0]
    assert abs(sizes[1][1] - 3 * sizes[0][1]) <= 3  # fractions of pixels
