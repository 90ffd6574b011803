"""When a training run ends before its last step: on a signal or at a time limit.

Processes of one run must stop after the same step, as each waits for the others in the
next one. So every process reports after a dispatch whether it received a signal, and
all act on the most urgent answer.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

from mmdiff.train import parallel

# By urgency; the first means to go on.
REASONS = ("steps", "time", "signal")


@contextlib.contextmanager
def watch(deadline: float) -> Iterator[Callable[[], str]]:
    """Yield a function that tells why to stop, "steps" meaning not yet.

    All processes must call it equally often. SIGTERM and SIGINT are caught inside the
    block; a second one ends the process as usual. The deadline is a value of
    `time.monotonic`.
    """
    with _signals() as received:

        def reason() -> str:
            own = 2 if received else int(time.monotonic() > deadline)
            return REASONS[parallel.largest(own)]

        yield reason


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Yield a list that receives SIGTERM and SIGINT."""
    received: list[int] = []

    def note(signum, frame):
        received.append(signum)
        signal.signal(signum, old[signum])

    old = {}
    # Outside the main thread signals cannot be caught.
    with contextlib.suppress(ValueError):
        old = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for signum, handler in old.items():
            signal.signal(signum, handler)
