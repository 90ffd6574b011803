"""The three kinds of failure a user can cause, each with its own exit code.

Library functions raise them with one sentence that says what is wrong, with the value
seen, and one that says what to do. Only `mmdiff.main` turns them into exit codes.
"""


class InputError(ValueError):
    """A target, option or input file is not usable (exit code 2)."""


class DataError(ValueError):
    """A dataset or checkpoint is missing, damaged or of another kind (exit code 3)."""


class MemoryLimitError(RuntimeError):
    """The device offers less memory than the run needs (exit code 4)."""
