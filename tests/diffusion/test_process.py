"""Noise of unit variance at every voxel, and the self-conditioned loss."""

import jax
import jax.numpy as jnp
import numpy as np
from fem_helpers import quick_jit

from mmdiff.cells import symmetry
from mmdiff.diffusion import process
from mmdiff.diffusion.schedule import ExponentialSchedule

_SCHEDULE = ExponentialSchedule()


def _many(draw):
    """Return 4000 draws of 4^3 voxels."""
    keys = jax.random.split(jax.random.key(0), 4000)
    noise = np.asarray(quick_jit(jax.vmap(lambda key: draw(key, 4)))(keys))
    assert symmetry.is_cubic(noise[:10])
    return noise


def test_noise_is_symmetric_with_unit_variance_everywhere():
    noise = _many(process.symmetric_noise)
    # The variance of 4000 draws scatters by sqrt(2 / 4000) = 2.2 %; 20 orbits.
    np.testing.assert_allclose(noise.var(0), 1.0, atol=0.09)
    np.testing.assert_allclose(noise.mean(0), 0.0, atol=0.07)


def test_noised_example_has_the_asked_mixture():
    x0 = jnp.ones((4, 4, 4))
    x, t = process.noised_example(jax.random.key(3), x0, schedule=_SCHEDULE)
    gamma = _SCHEDULE.gamma(t)
    noise = (x - jnp.sqrt(gamma) * x0) / jnp.sqrt(1 - gamma)
    # Undoing the mixture in float32.
    np.testing.assert_allclose(process.q_sample(x0, noise, gamma), x, atol=1e-5)
    assert symmetry.is_cubic(x)


def test_half_of_the_batch_is_self_conditioned():
    @quick_jit
    def run():
        calls = []

        def denoise(x, t, x0_prev, cond):
            calls.append((x, x0_prev))
            return jnp.full_like(x, 3.0)

        x0, cond = jnp.ones((4, 4, 4, 4)), jnp.zeros((4, 2))
        keys = jax.random.split(jax.random.key(0), 4)
        loss = process.training_loss(denoise, keys, x0, cond, schedule=_SCHEDULE)
        return loss, calls

    loss, calls = run()
    np.testing.assert_array_equal(loss, np.full(4, 4.0))
    (first, zeros), (second, previous) = calls
    assert first.shape[0] == 2 and second.shape[0] == 4 and not np.any(zeros)
    # The first estimate is clipped to 1 and given to every other example.
    np.testing.assert_array_equal(np.asarray(previous)[:, 0, 0, 0], [1, 0, 1, 0])


def test_no_gradient_flows_through_the_first_pass():
    def loss(scale):
        def denoise(x, t, x0_prev, cond):
            return scale * x + x0_prev

        x0 = jnp.ones((2, 2, 2, 2))
        keys = jax.random.split(jax.random.key(0), 2)
        return process.training_loss(
            denoise, keys, x0, jnp.zeros((2, 1)), schedule=_SCHEDULE
        ).mean()

    def reference(scale):
        x0 = jnp.ones((2, 2, 2, 2))
        keys = jax.random.split(jax.random.key(0), 2)
        x, _ = jax.vmap(lambda k, x: process.noised_example(k, x, schedule=_SCHEDULE))(
            keys, x0
        )
        previous = jnp.zeros_like(x).at[0].set(jnp.clip(0.3 * x[0], -1, 1))
        return jnp.mean((scale * x + previous - x0) ** 2)

    # Same arithmetic up to the order of the mean.
    got, want = (quick_jit(jax.grad(f))(0.3) for f in (loss, reference))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_loss_at_is_zero_for_the_true_denoiser():
    @quick_jit
    def loss(t):
        x0 = jnp.sign(jax.random.normal(jax.random.key(0), (3, 4, 4, 4)))
        keys = jax.random.split(jax.random.key(1), 3)
        cond = jnp.zeros((3, 1))
        return process.loss_at(
            lambda x, t, p, c: x0, keys, x0, cond, t, schedule=_SCHEDULE
        )

    np.testing.assert_array_equal(loss(0.5), 0)


def test_averaged_noise_has_the_variance_of_its_orbits():
    noise = _many(process.averaged_noise)
    wanted = process.averaged_variance(4)
    # On the diagonal, on planes of two equal indices, elsewhere.
    np.testing.assert_allclose(
        [wanted[1, 1, 1], wanted[1, 1, 2], wanted[0, 1, 2]],
        [1, 1 / 3, 1 / 6],
        rtol=1e-12,
    )
    # The variance of 4000 draws scatters by 2.2 %; 20 orbits.
    np.testing.assert_allclose(noise.var(0) / wanted, 1.0, atol=0.09)
    np.testing.assert_allclose(noise.mean(0), 0.0, atol=0.07)


def test_the_noise_that_is_passed_is_the_one_that_is_used():
    def none(key, n, dtype):
        return jnp.zeros((n, n, n), dtype)

    x0 = jnp.ones((2, 2, 2, 2))
    keys = jax.random.split(jax.random.key(0), 2)
    x, t = process.noised_example(keys[0], x0[0], schedule=_SCHEDULE, noise=none)
    np.testing.assert_array_equal(x, jnp.sqrt(_SCHEDULE.gamma(t)) * x0[0])

    def undo(x, t, x0_prev, cond):
        return x / jnp.sqrt(_SCHEDULE.gamma(t))[:, None, None, None]

    @quick_jit
    def losses():
        args = undo, keys, x0, jnp.zeros((2, 1))
        options = {"schedule": _SCHEDULE, "noise": none}
        return (
            process.training_loss(*args, **options),
            process.loss_at(*args, 0.5, **options),
            process.training_loss(*args, schedule=_SCHEDULE),
        )

    *small, other = losses()
    # Rounding of a division by the factor.
    np.testing.assert_allclose(small, 0, atol=1e-10)
    assert (np.asarray(other) > 1e-3).all()


def test_without_previous_every_pass_sees_zeros():
    seen = []

    def denoise(x, t, x0_prev, cond):
        seen.append(float(jnp.abs(x0_prev).max()))
        return jnp.ones_like(x)

    x0 = jnp.ones((4, 2, 2, 2))
    keys = jax.random.split(jax.random.key(0), 4)
    forgetful = process.without_previous(denoise)
    args = keys, x0, jnp.zeros((4, 1))
    process.training_loss(denoise, *args, schedule=_SCHEDULE)
    assert seen == [0, 1]
    seen.clear()
    process.training_loss(forgetful, *args, schedule=_SCHEDULE)
    assert seen == [0, 0]


def test_the_first_pass_that_no_one_reads_is_not_computed():
    x = jnp.ones((4, 2, 2, 2))

    def flops(wrap):
        def denoise(x, t, x0_prev, cond):
            y = (x + x0_prev).reshape(x.shape[0], 8)
            return (jnp.tanh(y @ weight) @ weight.T).reshape(x.shape)

        weight = jnp.full((8, 64), 0.1)
        keys = jax.random.split(jax.random.key(0), 4)

        def loss(keys, x):
            return process.training_loss(
                wrap(denoise), keys, x, jnp.zeros((4, 1)), schedule=_SCHEDULE
            )

        return jax.jit(loss).lower(keys, x).compile().cost_analysis()["flops"]

    # Both products for half the batch: 2 * 2 * 8 * 64 per example.
    saved = flops(lambda d: d) - flops(process.without_previous)
    assert saved > 2 * 2 * 2 * 8 * 64 * 0.99
