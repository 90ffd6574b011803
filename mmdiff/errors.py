"""The three kinds of failure a user can cause, each with its own exit code.

Library functions raise them with one sentence that says what is wrong, with the value
seen, and one that says what to do. An argument to change stands in backticks, with a
value if one is proposed: "Pass `resize=64`." In Python that is how it is written; on
the command line `mmdiff.run.runner` makes the flag of it. Only the runner turns
failures into exit codes.
"""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any


class InputError(ValueError):
    """A target, option or input file is not usable (exit code 2)."""


class DataError(ValueError):
    """A dataset or checkpoint is missing, damaged or of another kind (exit code 3)."""


class MemoryLimitError(RuntimeError):
    """The device offers less memory than the run needs (exit code 4)."""


MOST_QUOTED = 200  # characters of what a file or a flag says, in a message


def cut(text: object, most: int = MOST_QUOTED) -> str:
    r"""Return a text on one line, without its middle where it is long.

    Example:
      >>> cut("a" * 12 + "\n" + "b" * 12, 11)
      'aaa ... bbb'
    """
    line = " ".join(str(text).split())
    if len(line) <= most:
        return line
    half = (most - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


def described(error: BaseException) -> str:
    """Return the type of an exception, and its message where it has one.

    Example:
      >>> described(ZeroDivisionError("division by zero")), described(SystemExit())
      ('ZeroDivisionError: division by zero', 'SystemExit')
    """
    kind, text = type(error).__name__, cut(str(error))
    return f"{kind}: {text}" if text else kind


_INTERVAL = re.compile(r"([\[(]) *([^, ]+) *, *([^\]) ]+) *([\])])(?:\^(\d+))? *(.*)")
_MOST_INTEGER = 2**31 - 1  # what JAX takes


def check_ranges(values: Mapping[str, Any], ranges: Mapping[str, str]) -> None:
    """Raise InputError for the first number that lies outside its range, or is NaN.

    Args:
      values: arguments by name; of a tuple every number counts.
      ranges: by name an interval with its unit, such as "[1, inf)", "(0, 1]" or
        "(0, inf) mm", or "[0, 1)^3" for three numbers; infinity itself is in none, nor
        are integers that JAX does not take.

    Example:
      >>> check_ranges({"steps": 0}, {"steps": "[1, inf)"})
      Traceback (most recent call last):
      ...
      mmdiff.errors.InputError: steps=0 is too small. Set `steps` to 1 or more.
    """
    for name, interval in ranges.items():
        value = values[name]
        count = _INTERVAL.fullmatch(interval)[5]
        if count and len(value) != int(count):
            raise InputError(
                f"{name}={cut(value)} is not {count} numbers. Set `{name}` to so many."
            )
        for number in value if isinstance(value, Sequence) else (value,):
            if problem := _problem(number, interval):
                what, limit = problem
                raise InputError(
                    f"{name}={cut(value)} is {what}. Set `{name}` to {limit}."
                )


def _problem(number: Real, interval: str) -> tuple[str, str] | None:
    """Return what is wrong with a number, and the limit to keep; None if nothing is."""
    opened, low, high, closed, _, unit = _INTERVAL.fullmatch(interval).groups()
    least, most = float(low), float(high)
    unit = f" {unit}" if unit else ""
    over = f"more than {low}{unit}" if opened == "(" else f"{low}{unit} or more"
    under = f"less than {high}{unit}" if closed == ")" else f"{high}{unit} or less"
    if isinstance(number, int):  # of any size, which has no float
        if number > _MOST_INTEGER and not math.isfinite(most):
            return "too large", f"{_MOST_INTEGER}{unit} or less"
    elif not math.isfinite(number):
        limits = [(least, over), (most, under), (0.0, "a finite number")]
        return "not a finite number", next(
            text for end, text in limits if math.isfinite(end)
        )
    if number < least or (number == least and opened == "("):
        return "too small", over
    if number > most or (number == most and closed == ")"):
        return "too large", under
    return None
