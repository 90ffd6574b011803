"""The loop: exact resume, stops, divergence, validation and batches."""

import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers
from data_helpers import write_noise

from mmdiff.data import dataset
from mmdiff.errors import InputError
from mmdiff.train import denoising
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import Hooks, Settings, TrainingDivergedError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return helpers.train(folder, validation=helpers.examples(10, 1))


def test_history_has_losses_and_validation_at_each_time(whole):
    assert whole.reason == "steps" and int(whole.state.step) == 6
    assert [row["step"] for row in whole.history if "loss" in row] == [2, 4, 6]
    last = whole.history[-1]
    times = [v for name, v in last.items() if name.startswith("validation_t")]
    # The mean of the four levels, in float64.
    np.testing.assert_allclose(last["validation"], np.mean(times), rtol=1e-6)
    assert whole.samples_per_s > 0


def test_validation_counts_every_example_once(tmp_path, whole):
    # Ten examples in batches of 8: the filled-up second batch must not count.
    other = helpers.train(
        tmp_path, steps=6, validation=helpers.examples(10, 1), batch_size=10
    )
    a, b = (r.history[-1]["validation"] for r in (whole, other))
    # Other batches train other weights; only the scale can agree.
    assert abs(a - b) < 0.5 * a


def test_resumed_run_equals_the_uninterrupted_one(tmp_path, whole):
    first = helpers.train(tmp_path, steps=4)
    assert int(first.state.step) == 4
    second = helpers.train(tmp_path, steps=6)
    # Keys and batches come from the seed and the step: bit for bit.
    assert helpers.largest_difference(second.state, whole.state) == 0


def test_sigterm_saves_and_stops(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    hooks = helpers.kill_at(2, signal.SIGTERM)
    result = helpers.train(tmp_path, steps=50, hooks=hooks)
    assert result.reason == "signal" and int(result.state.step) < 6
    assert Checkpoints(tmp_path).latest() == int(result.state.step)
    assert signal.getsignal(signal.SIGTERM) is before


def test_time_limit_saves_and_stops(tmp_path):
    result = helpers.train(tmp_path, steps=10_000, time_limit_s=1e-3)
    assert result.reason == "time"
    assert Checkpoints(tmp_path).latest() == int(result.state.step)


def test_a_validation_that_was_killed_is_made_on_resuming(tmp_path):
    def killed(ema):
        raise KeyboardInterrupt

    made = []
    hooks = Hooks(validated=lambda step: step in made)
    options = {"checkpoint_every": 2, "validation": helpers.examples(10, 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, "make_validation", lambda *_: killed)
        with pytest.raises(KeyboardInterrupt):
            helpers.train(tmp_path, hooks=hooks, **options)
    assert Checkpoints(tmp_path).latest() == 2
    found = helpers.train(tmp_path, steps=3, hooks=hooks, **options).history
    rows = [row["step"] for row in found if "validation" in row]
    # That of the checkpoint, before any further step, and that of the end.
    assert rows == [2, 3] and found[0]["step"] == 2
    made.append(3)
    found = helpers.train(tmp_path, steps=5, hooks=hooks, **options).history
    assert [row["step"] for row in found if "validation" in row] == [4, 5]


def test_divergence_raises_and_keeps_the_last_good_checkpoint(tmp_path):
    helpers.train(tmp_path, steps=2)

    def broken(params, x, *args):
        return helpers.apply(params, x, *args) * jnp.nan

    with pytest.raises(TrainingDivergedError, match="last good checkpoint is step 2"):
        helpers.train(tmp_path, steps=8, apply=broken)
    assert Checkpoints(tmp_path).latest() == 2
    state = Checkpoints(tmp_path).restore(2, helpers.train(tmp_path, steps=2).state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_settings_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(InputError, match="batch size 26 does not fit 24"):
        helpers.train(tmp_path, batch_size=26)


def test_settings_are_found_among_the_values_of_a_config():
    values = {"steps": 3, "batch_size": 4, "learning_rate": 0.1, "time_limit_s": 2.0}
    found = Settings.from_values(values)
    assert found == Settings(steps=3, batch_size=4, time_limit_s=2.0)


def test_examples_are_fields_with_their_conditions(tmp_path):
    root = write_noise(tmp_path / "data.zarr", [0, 1, 0, 0], n=4)
    data = dataset.load_dataset(root)
    found = denoising.examples(data, dataset.training_cells(data))
    rows = [0, 2, 3]
    np.testing.assert_array_equal(found.packed, data.packed[rows])
    cond = np.column_stack([data.constants, data.volume, data.drainable])[rows]
    np.testing.assert_array_equal(found.cond, cond.astype(np.float32))
    np.testing.assert_array_equal(found.rows, [0, 1, 2])


_KILLED = """
import pathlib, signal, sys
sys.path.insert(0, "tests")
import train_helpers as helpers

hooks = helpers.kill_at(5, signal.SIGKILL)
path = pathlib.Path(sys.argv[1])
helpers.train(path, log_every=1, checkpoint_every=3, hooks=hooks)
"""


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_resumes_bit_for_bit(tmp_path, whole):
    dead = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)], capture_output=True, text=True
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert Checkpoints(tmp_path).latest() == 3
    resumed = helpers.train(tmp_path, log_every=1)
    assert [row["step"] for row in resumed.history] == [4, 5, 6]
    assert helpers.largest_difference(resumed.state, whole.state) == 0
