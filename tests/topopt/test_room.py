"""Room of walls and gaps: what they are thicker than their limits, on either side."""

import numpy as np
import pytest

from mmdiff.cells.mend import Printing
from mmdiff.topopt.room import AMPLE, Widths, displacements, widths

N = 8


def test_walls_have_the_room_that_they_are_thicker():
    x = np.arange(N, dtype=float)
    plate = np.broadcast_to(np.clip(1.5 - x[:, None, None], -2.8, 2.8), (N, N, N))
    low, high = displacements(plate, Widths(wall=3.4, gap=9.0), 0.5)
    # The plate and its image are 4 spacings, the gap between them and the next 12.
    np.testing.assert_allclose(low[1:3], -0.3, atol=0.05)
    np.testing.assert_allclose(high[1:3], 0.5)
    low, high = displacements(plate, Widths(wall=4.2, gap=11.6), 0.5)
    np.testing.assert_allclose(low[1:3], 0.1, atol=0.05)  # it has to get thicker
    np.testing.assert_allclose(high[1:3], 0.2, atol=0.05)
    free = np.ones((2, N, N, N)) * np.array([-0.5, 0.5])[:, None, None, None]
    np.testing.assert_array_equal(displacements(plate, Widths(), 0.5), free)


def test_widths_are_those_of_the_printer_and_a_little_more():
    held = widths(np.zeros((N, N, N)), Printing(wall=0.1, gap=0.05, drainable=False))
    assert held == pytest.approx((0.2 * N * AMPLE, 0.1 * N * AMPLE, 0.0)) and AMPLE > 1
    assert not any(widths(np.zeros((N, N, N)), Printing(0.0, 0.0)))
