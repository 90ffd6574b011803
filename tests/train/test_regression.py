"""Training of a regressor: augmentation, exact resume, stops and divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers
from data_helpers import write_noise
from design_helpers import wave

from mmdiff.bounds import hashin_shtrikman_ratios
from mmdiff.data.dataset import load_dataset, training_cells
from mmdiff.errors import InputError
from mmdiff.models import regressor
from mmdiff.train import regression
from mmdiff.train.checkpoint import Checkpoints
from mmdiff.train.loop import Hooks
from mmdiff.train.regression import QUANTITIES
from mmdiff.train.step import to_x0


def _data(count=24):
    packed = helpers.examples(count).packed
    volume = (packed > 0).mean(1, dtype=np.float32)
    return {"packed": packed, "roots": np.stack([volume, volume**2], 1)}


def _apply(params, x):
    """A regressor that compiles in no time."""
    return jnp.tanh(x.reshape(len(x), -1) @ params["in"]) @ params["out"]


def _params():
    rng = np.random.default_rng(0)
    shapes = {"in": (helpers.N**3, 8), "out": (8, 2)}
    return {k: jnp.asarray(rng.normal(0, 0.2, s), "float32") for k, s in shapes.items()}


def _train(path, apply=_apply, hooks=helpers.SILENT, **changes):
    return regression.train(
        apply,
        _params(),
        helpers.OPTIMIZER,
        _data(),
        settings=helpers.settings(**changes),
        checkpoints=Checkpoints(path),
        hooks=hooks,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("whole"))


def test_the_loss_falls(tmp_path):
    hooks = Hooks(validate=lambda params: {"seen": 1.0})
    history = _train(tmp_path, steps=40, hooks=hooks).history
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


def test_batch_larger_than_the_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="batch size 26 does not fit 24"):
        _train(tmp_path, batch_size=26)


def test_half_of_the_fields_are_softened_and_keep_their_surface():
    x = jnp.asarray(np.clip(wave(16), -1, 1), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 200)
    soft = np.asarray(jax.jit(jax.vmap(regression.soften, (0, None)))(keys, x))
    same = (soft == np.asarray(x)).all((1, 2, 3))
    # Four standard deviations of 200 fair coins.
    assert abs(same.mean() - 0.5) < 0.15
    moved = soft[~same]
    top = abs(moved).max((1, 2, 3))
    assert top.max() < 1 and 0.45 < top.min() < 0.6
    # Blurred over one sample at most: what is solid stays so.
    assert ((moved > 0) == (np.asarray(x) > 0)).mean() > 0.97


def test_predictions_of_a_short_last_batch_are_left_out():
    packed = _data(11)["packed"]
    got = regression.make_predict(_apply, 4)(_params(), packed)
    assert got.shape == (11, 2)
    field = to_x0(packed)
    # Other batches may sum in another order.
    np.testing.assert_allclose(got, _apply(_params(), field), rtol=1e-4, atol=1e-6)


def test_labels_are_roots_of_shares_at_the_base_material(tmp_path):
    data = load_dataset(write_noise(tmp_path, [0, 1, 0], n=4, power=2))
    found = regression.labelled(data, training_cells(data))
    np.testing.assert_array_equal(found["packed"], data.packed[[0, 2]])
    ratio = hashin_shtrikman_ratios(data.constants[[0, 2]], data.volume[[0, 2]])
    # float32
    np.testing.assert_allclose(found["roots"][:, 0] ** 2, ratio["K"], rtol=1e-6)


def test_comparison_is_of_one_split_and_scored_against_its_variance(tmp_path):
    data = load_dataset(write_noise(tmp_path, [0, 1, 1, 1, 2], power=2))
    model = regressor.Regressor(
        patch=2, width=4, multipliers=(1,), blocks=(0,), embedding=4
    )
    params = regressor.init_regressor(model, jax.random.key(0), 8)
    compare = regression.make_comparison(model, data, 2)
    assert compare(params, 2) is None  # one cell has no variance
    found = compare(params, 1)
    np.testing.assert_array_equal(found.true[:, 1:], data.constants[1:4])
    assert found.predicted.shape == (3, 4)
    true = found.true
    perfect = regression.Comparison(true, true).scores()
    assert list(perfect) == [*(f"R2 {q}" for q in QUANTITIES), "range error"]
    assert list(perfect.values()) == [1, 1, 1, 1, 0]
    mean = np.broadcast_to(true.mean(0), true.shape)
    scores = list(regression.Comparison(true, mean).scores().values())
    np.testing.assert_allclose(scores[:4], 0, atol=1e-12)
    assert scores[4] > 0
