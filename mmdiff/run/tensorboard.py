"""Scalars of a run for TensorBoard, where tensorboardX is installed (extra `tb`)."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

from mmdiff.errors import InputError


def require():
    """Return the class that writes curves; InputError without tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(
            "tensorboard=True needs tensorboardX, which is not installed. Run: pip "
            "install 'mmdiff[tb]', or leave `tensorboard` out."
        ) from error
    return SummaryWriter


@contextlib.contextmanager
def scalars(folder: str | os.PathLike) -> Iterator[Callable[[Mapping], None]]:
    """Yield a function that writes the numbers of a report as curves over its "step".

    A run that resumes adds a file of its own to the folder; TensorBoard joins them.
    """
    writer = require()(str(folder))

    def write(metrics: Mapping) -> None:
        for name, value in metrics.items():
            if name != "step":
                writer.add_scalar(name, value, metrics["step"])
        # A killed run keeps what it has reported.
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
