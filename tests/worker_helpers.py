"""Units of work that worker processes import."""

import os
import time

from mmdiff.errors import InputError
from mmdiff.run import console


def prepare(factor):
    """Return a unit that multiplies, and tells where it ran."""
    prepared = time.monotonic_ns()

    def unit(number, what=""):
        if what == "die":
            os._exit(9)
        if what == "fail":
            raise InputError(f"number={number} cannot be. Take another.")
        if what == "sleep":
            time.sleep(600)
        if what == "say":
            console.note(f"this is {number}")
        cores = getattr(os, "sched_getaffinity", lambda _: {0})(0)
        time.sleep(0.2)  # so that one process does not do all of them
        return factor * number, os.getpid(), prepared, len(cores)

    return unit
