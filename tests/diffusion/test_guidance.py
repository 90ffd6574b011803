"""Guidance as functions from denoiser to denoiser."""

import jax.numpy as jnp
import numpy as np

from mmdiff.diffusion.guidance import classifier_free_guidance, loss_guidance


def _counting():
    calls = []

    def denoise(x, t, x0_prev, cond):
        calls.append(cond)
        return x + cond.sum(-1)[:, None, None, None]

    return denoise, calls


_ARGS = (
    jnp.zeros((2, 2, 2, 2)),
    jnp.ones(2),
    jnp.zeros((2, 2, 2, 2)),
    jnp.ones((2, 3)),
)


def test_weight_one_is_the_denoiser_itself():
    denoise, _ = _counting()
    assert classifier_free_guidance(denoise, 1) is denoise


def test_weight_zero_is_unconditional_in_one_pass():
    denoise, calls = _counting()
    out = classifier_free_guidance(denoise, 0)(*_ARGS)
    np.testing.assert_array_equal(out, -3)
    assert len(calls) == 1


def test_other_weights_extrapolate():
    denoise, calls = _counting()
    out = classifier_free_guidance(denoise, 2.5)(*_ARGS)
    # -3 + 2.5 (3 - (-3)); exact in float32.
    np.testing.assert_array_equal(out, 12)
    assert len(calls) == 2


def test_loss_guidance_steps_down_the_gradient():
    denoise, _ = _counting()
    guided = loss_guidance(denoise, lambda x0: jnp.sum(x0**2), 0.25)
    # x0 = 3 with gradient 6: 3 - 0.25 * 6.
    np.testing.assert_array_equal(guided(*_ARGS), 1.5)
    assert loss_guidance(denoise, lambda x0: jnp.sum(x0), 0) is denoise
