"""The training step: augmentation, evaluation, and that it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import train_helpers as helpers

from mmdiff.cells import distance, symmetry
from mmdiff.cells.distance import CLIP
from mmdiff.train import parallel
from mmdiff.train.state import create_state
from mmdiff.train.step import (
    make_evaluation,
    make_step,
    random_half_shift,
    to_x0,
)


def _batch(rows):
    cond = helpers.CONDITIONS.normalize(jnp.asarray(helpers.DATA.cond[:rows]))
    return {
        "packed": helpers.DATA.packed[:rows],
        "cond": np.asarray(cond),
        "index": np.arange(rows, dtype=np.int32),
    }


def test_packed_fields_are_spread_and_scaled():
    rng = np.random.default_rng(0)
    packed = rng.integers(-127, 128, (3, symmetry.num_independent(6))).astype(np.int8)
    x0 = to_x0(packed)
    # A float32 division.
    np.testing.assert_allclose(distance.unpack(packed, 6), CLIP * x0, atol=1e-6)
    assert to_x0(packed[0]).shape == (6, 6, 6)


def test_half_shift_is_a_translation_of_the_cell():
    from mmdiff.cells.symmetry import octant_to_cell

    octant = to_x0(helpers.DATA.packed[0])
    shifted = octant[::-1, ::-1, ::-1]
    cell, moved = octant_to_cell(octant), octant_to_cell(shifted)
    n = helpers.N
    np.testing.assert_array_equal(jnp.roll(cell, (n, n, n), (0, 1, 2)), moved)
    keys = jax.random.split(jax.random.key(0), 40)
    drawn = jax.vmap(random_half_shift, (0, None))(keys, octant)
    kept = (np.asarray(drawn) == octant[None]).all((1, 2, 3))
    turned = (np.asarray(drawn) == shifted[None]).all((1, 2, 3))
    assert (kept | turned).all() and 8 < kept.sum() < 32


def test_steps_lower_the_loss_and_move_the_average():
    step = make_step(helpers.DIFFUSION, helpers.OPTIMIZER)
    run = parallel.parallel_step(step)
    state = create_state(helpers.params(), helpers.OPTIMIZER)
    first = jax.tree.map(np.asarray, state)
    state = parallel.replicate(state, 1)
    batch, key, losses = parallel.shard(_batch(16), 1), jax.random.key(0), []
    for _ in range(30):
        state, metrics = run(state, key, batch)
        losses.append(float(metrics["loss"][0]))
    last = parallel.unreplicate(state)
    assert int(last.step) == 30
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    moved = helpers.largest_difference(last.ema, first.params)
    assert 0 < moved != helpers.largest_difference(last.params, first.params)


def test_the_weight_of_the_loss_is_that_of_the_times():
    batch = _batch(4)
    losses = []
    for weight in (None, lambda t: 0 * t + 3, lambda t: t):
        diffusion = dataclasses.replace(helpers.DIFFUSION, weight=weight)
        run = parallel.parallel_step(make_step(diffusion, helpers.OPTIMIZER))
        state = create_state(helpers.params(), helpers.OPTIMIZER)
        state = parallel.replicate(state, 1)
        _, metrics = run(state, jax.random.key(0), parallel.shard(batch, 1))
        losses.append(float(metrics["loss"][0]))
    # Another order of the same products.
    np.testing.assert_allclose(losses[1], 3 * losses[0], rtol=1e-5)
    assert 0 < losses[2] < losses[0]


def test_evaluation_returns_one_error_per_time_and_example():
    evaluate = make_evaluation(helpers.DIFFUSION, (0.1, 0.5, 0.9))
    batch = _batch(4)
    losses = evaluate(
        helpers.params(),
        jax.random.key(0),
        batch["packed"],
        batch["cond"],
        batch["index"],
    )
    assert losses.shape == (3, 4) and (losses > 0).all()
