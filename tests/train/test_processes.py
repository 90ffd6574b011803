"""Two processes train as one does: same numbers, one of them writes, both stop."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from mmdiff.train.checkpoint import Checkpoints

pytestmark = pytest.mark.slow

_SCRIPT = """
import os, pathlib, signal, sys
sys.path.insert(0, "tests")
import jax

process, processes, port, folder, steps, stop = sys.argv[1:]
if int(processes) > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
import numpy as np
import train_helpers as helpers
from mmdiff.train import loop, parallel

folder, rows = pathlib.Path(folder), []
largest = parallel.largest

def note(value):
    # The first question is where to resume; one more comes after every step. After
    # step 5 the second process alone is told to stop, too late for its answer.
    rows.append(value)
    if stop == "stop" and process == "1" and len(rows) == 6:
        os.kill(os.getpid(), signal.SIGTERM)
    return largest(value)

parallel.largest = note
reports = []
result = helpers.train(
    folder / "checkpoints", steps=int(steps), checkpoint_every=4, sample_every=4,
    validation=helpers.examples(10, 1),
    hooks=loop.Hooks(
        on_metrics=reports.append, on_sample=lambda step, ema: reports.append(step)
    ),
)
losses = [row["loss"] for row in result.history if "loss" in row]
np.savez(
    folder / f"{processes}_{process}.npz", *jax.tree.leaves(result.state),
    losses=losses, reports=len(reports), reason=result.reason, step=result.state.step,
)
"""


def _run(folder, processes, steps, stop="go"):
    """Return what each of the processes has saved."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    rest = [str(processes), str(port), str(folder), str(steps), stop]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(i), *rest],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return [dict(np.load(folder / f"{processes}_{i}.npz")) for i in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return _run(tmp_path_factory.mktemp("alone"), 1, 10)[0]


def _assert_equal(got, wanted):
    names = [name for name in wanted if name.startswith("arr_")] + ["losses"]
    for name in names:
        # The mean of two half-batch means rounds differently from that of the whole.
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_two_processes_give_the_numbers_of_one(tmp_path, alone):
    both = _run(tmp_path, 2, 10)
    for got in both:
        _assert_equal(got, alone)
    for name in both[0]:
        if name.startswith("arr_"):
            np.testing.assert_array_equal(both[0][name], both[1][name])
    # The first one reports as the single process does, the second one nothing.
    assert [int(got["reports"]) for got in both] == [int(alone["reports"]), 0]
    assert Checkpoints(tmp_path / "checkpoints").latest() == 10


def test_a_signal_to_one_stops_both_which_resume(tmp_path, alone):
    both = _run(tmp_path, 2, 10, "stop")
    assert {(int(got["step"]), str(got["reason"])) for got in both} == {(6, "signal")}
    assert Checkpoints(tmp_path / "checkpoints").latest() == 6
    for got in _run(tmp_path, 2, 10):
        assert str(got["reason"]) == "steps"
        # Reports of steps 8 and 10.
        _assert_equal(got, alone | {"losses": alone["losses"][-2:]})
