"""Guidance by a regressor: what is missing falls, by the network and by its cells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import specimens, symmetry
from mmdiff.design import quantities, regressed, steer, target
from mmdiff.diffusion.guidance import loss_guidance
from mmdiff.elasticity import hashin_shtrikman, hashin_shtrikman_ratios
from mmdiff.models import regressor

N = 4
FIELDS = {"width": 4, "multipliers": (1,), "blocks": (1,), "embedding": 4}
META = {"model": FIELDS, "octant": N, "base": {"nu": 0.3}}
FREE = jnp.full(9, jnp.nan)


@pytest.fixture(scope="module")
def params():
    """Random parameters everywhere: fresh ones leave blocks without effect."""
    model = regressor.Regressor(**FIELDS)
    fresh = regressor.init_regressor(model, jax.random.key(0), N)
    leaves, tree = jax.tree.flatten(fresh)
    rng = np.random.default_rng(0)
    return tree.unflatten(
        [jnp.asarray(0.3 * rng.standard_normal(a.shape), a.dtype) for a in leaves]
    )


@pytest.fixture(scope="module")
def estimate():
    x0 = 0.8 * np.clip(3 * np.asarray(specimens.graded(N)) - 1.2, -1, 1)
    return jnp.asarray(np.stack([x0, 0.9 * x0]), jnp.float32)


def _wanted(values, *names):
    """What to ask so that the named quantities become those of (C11, C12, C44, V)."""
    every = np.append(quantities.values(np.asarray(values)[:3]), values[3])
    keep = np.isin(steer.NAMES, names)
    return jnp.asarray(np.where(keep, every, np.nan), jnp.float32)


def test_what_a_target_misses():
    values = jnp.array([0.2, 0.08, 0.05, 0.4])
    aim = target.from_values({"C11": 0.3, "E": 0.1}, volume=0.5)
    missing = regressed.target_residual(values, jnp.asarray(steer.wanted_of(aim)))
    young = quantities.values(np.asarray(values)[:3], ["E"])[0]
    scale = quantities.SCALES["C11"]
    expected = {"C11": 0.1 / scale, "E": (0.1 - young) / scale, "V": 0.1}
    for name, value in zip(steer.NAMES, np.asarray(missing), strict=True):
        np.testing.assert_allclose(value, expected.get(name, np.nan), rtol=1e-5)


def test_the_bulk_modulus_misses_its_bound():
    bulk = hashin_shtrikman(0.4)[0]
    values = jnp.array([0.6 * bulk, 0.6 * bulk, 0.05, 0.4])
    missing = regressed.bulk_residual(values, FREE)
    np.testing.assert_allclose(missing[0], 0.4, rtol=1e-5)
    assert np.isnan(missing[1])
    missing = regressed.bulk_residual(values, FREE.at[-1].set(0.3))
    np.testing.assert_allclose(missing[1], -0.1, rtol=1e-5)


@pytest.fixture(scope="module")
def start(params, estimate):
    """C11, C12, C44 and V that the network says of the estimates."""
    x = jnp.tanh(steer.SHARPEN * jnp.arctanh(estimate))
    constants, _ = jax.jit(regressor.make_regress(params, META))(x)
    return np.append(constants, 0.5 * (1 + x.mean((1, 2, 3)))[:, None], 1)


def test_the_loss_is_the_sum_of_squares(params, estimate, start):
    loss = jax.jit(regressed.make_loss(params, META))
    goal = start[0] + np.array([0.02, 0.01, 0.01, 0.0])
    wanted = _wanted(goal, "C11", "C44")
    expected = regressed.target_residual(jnp.float32(start[0]), wanted)
    expected = np.nansum(np.asarray(expected) ** 2)
    np.testing.assert_allclose(loss(estimate[0], wanted), expected, rtol=1e-3)
    assert loss(estimate[0], FREE) == 0


@pytest.mark.parametrize("residual", [regressed.target_residual, None])
def test_loss_guidance_lowers_the_loss(params, estimate, start, residual):
    residual = residual or regressed.bulk_residual
    wanted = _wanted(start[0] * np.array([1.2, 1.2, 1.2, 1.0]), "C11", "C12", "C44")
    loss = regressed.make_loss(params, META, residual)
    loss = functools.partial(loss, wanted=wanted)
    gradient = np.asarray(jax.jit(jax.grad(loss))(estimate[0]))
    # Components that are free must not spoil it.
    assert np.isfinite(gradient).all() and abs(gradient).max() > 0
    # The first voxels that move, by a hundredth.
    guided = loss_guidance(lambda x, *_: x, loss, 0.01 / abs(gradient).max())
    moved = jax.jit(lambda x: guided(x, None, None, None))(estimate[:1])[0]
    assert loss(moved) < loss(estimate[0])


@pytest.fixture(scope="module")
def steered(params, estimate):
    run = jax.jit(regressed.make_regressed_steer(params, META, count=6))
    return lambda t, wanted: run(estimate, jnp.float32(t), wanted)


def test_estimates_get_what_was_asked(params, estimate, start, steered):
    loss = jax.jit(jax.vmap(regressed.make_loss(params, META), (0, None)))
    # What the network says of a denser octant, so that the values go together.
    denser = jnp.tanh(jnp.arctanh(estimate[:1]) + 0.2)
    x = jnp.tanh(steer.SHARPEN * jnp.arctanh(denser))
    constants, _ = jax.jit(regressor.make_regress(params, META))(x)
    wanted = _wanted(np.append(constants[0], 0.5 * (1 + x.mean())), *steer.NAMES[:3])
    moved = steered(0.5, wanted)
    assert moved.shape == estimate.shape and abs(moved).max() < 1
    before, after = loss(estimate, wanted), loss(moved, wanted)
    # Newton's method: squares of errors that became small beside the first ones.
    assert (np.asarray(after) < 1e-2 * np.asarray(before)).all()
    assert all(symmetry.is_cubic(np.asarray(one)) for one in moved)


def test_nothing_asked_and_other_times_change_nothing(estimate, steered, start):
    np.testing.assert_allclose(steered(0.5, FREE), estimate, atol=1e-5)
    wanted = _wanted(start[0] * 1.1, "C11")
    for t in (steer.FIRST + 0.01, steer.LAST - 0.01):
        np.testing.assert_array_equal(steered(t, wanted), estimate)


def test_steps_are_no_longer_than_told(params, estimate, start):
    run = regressed.make_regressed_steer(params, META, count=1, longest=0.05)
    moved = jax.jit(run)(estimate, jnp.float32(0.5), _wanted(start[0] * 3, "C11"))
    change = abs(np.arctanh(moved) - np.arctanh(estimate))
    # Rounding of tanh and back.
    np.testing.assert_allclose(change.max(), 0.05, rtol=1e-3)


def test_the_bulk_modulus_rises_and_the_volume_stays(params, estimate, start):
    run = regressed.make_regressed_steer(
        params, META, residual=regressed.bulk_residual, count=4, longest=0.3
    )
    wanted = FREE.at[-1].set(float(start[0, 3]))
    moved = jax.jit(run)(estimate[:1], jnp.float32(0.5), wanted)
    x = jnp.tanh(steer.SHARPEN * jnp.arctanh(moved))
    constants, _ = jax.jit(regressor.make_regress(params, META))(x)
    volume = 0.5 * (1 + np.asarray(x).mean())
    before = hashin_shtrikman_ratios(start[0, :3], start[0, 3])["K"]
    after = hashin_shtrikman_ratios(np.asarray(constants[0]), volume)["K"]
    assert after > before + 1e-3
    assert abs(volume - start[0, 3]) < 0.02
