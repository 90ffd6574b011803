"""One run in several processes: the first one leads and writes, the others compute.

The processes are started by Slurm, Kubernetes, MPI or a TPU pod, where JAX finds the
others by itself. All of them get the same command line. The leader alone opens and
locks the workdir; the others wait for its word and then call the experiment, which must
not write where `jax.process_index()` is not zero. What they restore from the workdir
they read themselves, so that it must lie on a file system that all share.
"""

import contextlib
import dataclasses
import os

from mmdiff.errors import InputError
from mmdiff.run import console, environment, runner


def execute(job: runner.Job) -> int:
    """Run a job together with the other processes; returns this one's exit code."""
    return _lead(job) if join() == 0 else _follow(job)


def join() -> int:
    """Connect to the other processes and return the number of this one.

    Raises:
      InputError: if nothing says where they are.
    """
    environment.silence_xla()  # before JAX is imported
    import jax

    # Has no effect on accelerators.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        # Processes end together, so one that waits for others at its end is alone.
        jax.distributed.initialize(shutdown_timeout_seconds=10)
    except ValueError as error:
        reason = runner.first_line(error).rstrip(".")
        raise InputError(
            f"--distributed finds no other processes: {reason}. Start the command with "
            "srun, mpirun, in a Kubernetes job or on a TPU pod, or leave --distributed "
            "out."
        ) from error
    return jax.process_index()


def _lead(job: runner.Job) -> int:
    begun = []

    def run() -> str | None:
        begun.append(_share(True))
        return job.run()

    try:
        code = runner.execute(dataclasses.replace(job, run=run))
    finally:
        # Refused, or done already: the others need not wait.
        if not begun:
            _share(False)
    if begun and code in (0, runner.STOPPED):
        _share(True)
    return code


def _follow(job: runner.Job) -> int:
    if not _share(False):
        return 0
    environment.enable_compilation_cache()
    try:
        # The leader says the same.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            stopped = job.run()
        # Until the leader has written its results.
        _share(False)
    except (Exception, KeyboardInterrupt) as error:
        code, message = runner.explain(error, job)
        console.error(message)
        return code
    return runner.STOPPED if stopped else 0


def _share(value: bool) -> bool:
    """Return the leader's value in all processes."""
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))
