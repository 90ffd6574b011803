"""The three kinds of failure a user can cause, each with its own exit code.

Library functions raise them with one sentence that says what is wrong, with the value
seen, and one that says what to do. Only `mmdiff.main` turns them into exit codes.
"""

from collections.abc import Mapping


class InputError(ValueError):
    """A target, option or input file is not usable (exit code 2)."""


class DataError(ValueError):
    """A dataset or checkpoint is missing, damaged or of another kind (exit code 3)."""


class MemoryLimitError(RuntimeError):
    """The device offers less memory than the run needs (exit code 4)."""


def check_least(values: Mapping[str, float], least: Mapping[str, float]) -> None:
    """Raise InputError for the first number that is below its least, or NaN.

    Args:
      values: settings by their keys.
      least: the least of each key that has one.
    """
    for key, limit in least.items():
        if not values[key] >= limit:
            raise InputError(
                f"{key}={values[key]} is too small. Set --config.{key} to {limit} or "
                "more."
            )
