"""Training of a regressor: augmentation, exact resume, stops and divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers

from mmdiff.errors import InputError
from mmdiff.train import regression
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import TrainingDivergedError


def _data(count=24):
    octant = helpers.examples(count).octant
    volume = octant.mean((1, 2, 3), dtype=np.float32)
    return regression.Labelled(octant, np.stack([volume, volume**2], 1))


def _apply(params, x):
    """A regressor that compiles in no time."""
    return jnp.tanh(x.reshape(len(x), -1) @ params["in"]) @ params["out"]


def _params():
    rng = np.random.default_rng(0)
    shapes = {"in": (helpers.N**3, 8), "out": (8, 2)}
    return {k: jnp.asarray(rng.normal(0, 0.2, s), "float32") for k, s in shapes.items()}


def _train(path, steps=6, apply=_apply, **options):
    settings = dict(batch_size=8, seed=3, log_every=2, checkpoint_every=100)
    return regression.train(
        apply,
        _params(),
        helpers.OPTIMIZER,
        _data(),
        checkpoints=Checkpoints(path),
        steps=steps,
        **{**settings, **options},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("whole"))


def test_the_loss_falls(tmp_path):
    history = _train(tmp_path, steps=40, validate=lambda p: {"seen": 1.0}).history
    losses = [row["loss"] for row in history if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert history[-1]["seen"] == 1.0 and history[-1]["step"] == 40


def test_resumed_run_equals_the_uninterrupted_one(tmp_path, whole):
    assert int(_train(tmp_path, steps=4).state.step) == 4
    second = _train(tmp_path, steps=6)
    # Keys and batches come from the seed and the step: bit for bit.
    assert helpers.largest_difference(second.state, whole.state) == 0
    other = _train(tmp_path / "other", seed=4)
    assert helpers.largest_difference(other.state, whole.state) > 0


def test_time_limit_saves_and_stops(tmp_path):
    result = _train(tmp_path, steps=10_000, time_limit_s=1e-3)
    assert result.reason == "time"
    assert Checkpoints(tmp_path).latest() == int(result.state.step)


def test_divergence_raises_and_keeps_the_last_good_checkpoint(tmp_path):
    _train(tmp_path, steps=2)
    with pytest.raises(TrainingDivergedError, match="last good checkpoint is step 2"):
        _train(tmp_path, steps=8, apply=lambda p, x: _apply(p, x) * jnp.nan)
    assert Checkpoints(tmp_path).latest() == 2


def test_batch_larger_than_the_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="batch size 26 does not fit 24"):
        _train(tmp_path, batch_size=26)


def test_half_of_the_octants_are_softened_and_keep_their_volume():
    octant = helpers.examples(1).octant[0]
    x = jnp.asarray(np.kron(octant, np.ones((4, 4, 4))) * 2 - 1, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 200)
    soft = np.asarray(jax.jit(jax.vmap(regression.soften, (0, None)))(keys, x))
    same = (soft == np.asarray(x)).all((1, 2, 3))
    # Four standard deviations of 200 fair coins.
    assert abs(same.mean() - 0.5) < 0.15
    moved = soft[~same]
    assert abs(moved).max() < 1 and abs(moved).min() < 0.9
    # Blurred over one voxel at most, of blocks of four: what is solid stays so.
    assert (np.sign(moved) == np.asarray(x)).mean() > 0.97
    assert abs(moved.mean((1, 2, 3)) - float(x.mean())).max() < 0.1


def test_predictions_of_a_short_last_batch_are_left_out():
    octant = _data(11).octant
    got = regression.predict(_apply, _params(), octant, 4)
    assert got.shape == (11, 2)
    field = jnp.asarray(octant, jnp.float32) * 2 - 1
    # Other batches may sum in another order.
    np.testing.assert_allclose(got, _apply(_params(), field), rtol=1e-4, atol=1e-6)
