"""The optimizer's schedule and the moving average."""

import jax.numpy as jnp
import numpy as np
import optax

from mmdiff.train.state import create_state, make_optimizer, update_ema

VALUES = {
    "learning_rate": 0.1,
    "final_learning_rate": 0.01,
    "warmup": 5,
    "steps": 50,
    "clip": 1.0,
    "weight_decay": 0.0,
    "seed": 5,  # not looked at
}


def test_gradients_are_clipped_and_the_rate_warms_up_and_decays():
    optimizer = make_optimizer(VALUES)
    params = {"w": jnp.zeros(3)}
    state = optimizer.init(params)
    steps = []
    for _ in range(50):
        updates, state = optimizer.update({"w": jnp.full(3, 1e3)}, state, params)
        steps.append(float(-updates["w"][0]))
    # Adam's step is the learning rate for a constant gradient.
    assert steps[0] == 0.0
    np.testing.assert_allclose(max(steps), 0.1, rtol=1e-3)
    assert steps.index(max(steps)) == 5
    np.testing.assert_allclose(steps[-1], 0.01, rtol=0.05)


def test_no_warmup_and_constant_rate():
    optimizer = make_optimizer(VALUES | {"warmup": 0, "final_learning_rate": 0.1})
    params = {"w": jnp.zeros(1)}
    updates, _ = optimizer.update({"w": jnp.ones(1)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-3)


def test_the_rate_falls_by_half_a_cosine():
    values = VALUES | {"final_learning_rate": 0.05, "warmup": 0, "steps": 2}
    optimizer, params = make_optimizer(values), {"w": jnp.zeros(1)}
    state, found = optimizer.init(params), []
    for _ in range(3):
        updates, state = optimizer.update({"w": jnp.ones(1)}, state, params)
        found.append(float(-updates["w"][0]))
    np.testing.assert_allclose(found, [0.1, 0.075, 0.05], rtol=1e-3)


def test_average_warms_up_and_then_follows_the_decay():
    ema, params = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    early = update_ema(ema, params, jnp.asarray(0), 0.999)
    late = update_ema(ema, params, jnp.asarray(10**6), 0.999)
    # float32 differences of numbers near one.
    np.testing.assert_allclose(early["w"], 0.9, rtol=1e-5)
    np.testing.assert_allclose(late["w"], 1e-3, rtol=1e-3)


def test_new_state_owns_its_average():
    params = {"w": jnp.ones(2)}
    state = create_state(params, optax.sgd(1.0))
    assert state.ema["w"] is not state.params["w"] and int(state.step) == 0
