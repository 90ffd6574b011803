"""Ranges: what lies outside is named with the value seen and the limit to keep."""

import numpy as np
import pytest

from mmdiff.errors import InputError, check_ranges


@pytest.mark.parametrize(
    "value, interval, message",
    [
        (0, "[1, inf)", "x=0 is too small. Set `x` to 1 or more."),
        (0.0, "(0, inf) mm", "x=0.0 is too small. Set `x` to more than 0 mm."),
        (-1, "(-1, 0.5)", "x=-1 is too small. Set `x` to more than -1."),
        (0.5, "(-1, 0.5)", "x=0.5 is too large. Set `x` to less than 0.5."),
        (1.5, "[0, 1] s", "x=1.5 is too large. Set `x` to 1 s or less."),
        (np.float32(2), "[0, 1)", "is too large. Set `x` to less than 1."),
        (np.nan, "[0, 1)", "x=nan is not a finite number. Set `x` to 0 or more."),
        (np.inf, "[0, inf)", "x=inf is not a finite number. Set `x` to 0 or more."),
        (np.nan, "(-inf, 1]", "x=nan is not a finite number. Set `x` to 1 or less."),
        (np.nan, "(-inf, inf)", "is not a finite number. Set `x` to a finite number."),
        (10**400, "[1, inf)", "is too large. Set `x` to 2147483647 or less."),
        (-(10**400), "[1, inf)", "is too small. Set `x` to 1 or more."),
        (2**32, "[0, 4294967295]", "is too large. Set `x` to 4294967295 or less."),
        ((1, 2), "(0, 3)^3 mm", "x=(1, 2) is not 3 numbers. Set `x` to so many."),
        ((1, 2, 3), "(0, 3)^3 mm", "is too large. Set `x` to less than 3 mm."),
        ((1, 8, 0), "[1, inf)", "x=(1, 8, 0) is too small. Set `x` to 1 or more."),
    ],
)
def test_numbers_outside_are_refused(value, interval, message):
    with pytest.raises(InputError) as caught:
        check_ranges({"x": value}, {"x": interval})
    assert len(str(caught.value)) < 300
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "value, interval",
    [
        (0, "[0, 1)"),
        (1, "(0, 1]"),
        (10**9, "[1, inf)"),
        (-0.5, "(-1, 0.5)"),
        ((), "[1, inf)"),
        ([2, np.int64(3)], "[1, inf)"),
    ],
)
def test_numbers_inside_pass(value, interval):
    check_ranges({"x": value, "other": np.nan}, {"x": interval})
