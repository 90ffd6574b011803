"""The linear estimate: its algebra, the spectrum of noise, and what it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fem_helpers import quick_jit
from scipy import fft, ndimage

from mmdiff.cells import symmetry
from mmdiff.diffusion import linear, process
from mmdiff.diffusion.schedule import ExponentialSchedule

SCHEDULE = ExponentialSchedule()


def _noise(n, count, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    draw = quick_jit(jax.vmap(lambda key: process.symmetric_noise(key, n)))
    return np.asarray(draw(keys))


def _packed(n=12, count=400, sigma=1.5):
    """Return smooth random fields of mean 0.1 or so, packed."""
    noise = symmetry.symmetrize(np.random.default_rng(0).normal(size=(count, n, n, n)))
    smooth = [ndimage.gaussian_filter(each, sigma, mode="reflect") for each in noise]
    x0 = np.clip(0.1 + np.stack(smooth), -1, 1)
    values = symmetry.gather_independent(x0 * 2)
    return np.rint(127 * np.clip(values, -1, 1)).astype(np.int8)


def test_the_spectrum_of_noise_is_what_it_is_taken_for():
    n = 16
    series = fft.dctn(_noise(n, 400), axes=(1, 2, 3), norm="ortho")
    found = (series**2).mean(0) / linear.noise_variance(n)
    index = linear.wave_numbers(n)
    by_number = np.bincount(index.ravel(), found.ravel()) / np.bincount(index.ravel())
    # Samples on planes of symmetry, a fifth of all here, are not quite white.
    np.testing.assert_allclose(by_number[1:], 1, atol=0.15)
    assert abs(found.mean() - 1) < 0.02


def test_the_estimate_is_the_mean_of_the_gaussian_posterior():
    n, t = 4, 0.3
    prior = linear.Prior(0.2, (9.0, 5.0, 2.0, 0.7, 0.3, 0.1, 0.05))
    # Covariances on all samples, of the symmetric part of the cosine basis alone.
    project = np.eye(n**3).reshape(-1, n, n, n)
    project = symmetry.symmetrize(project).reshape(n**3, n**3)
    line = fft.dct(np.eye(n), axis=0, norm="ortho")
    basis = np.kron(np.kron(line, line), line) @ project
    ratio = np.asarray(prior.spectrum)[linear.wave_numbers(n)].ravel()
    images = n**3 / symmetry.num_independent(n)
    signal, noise = basis.T @ (images * ratio[:, None] * basis), images * project
    gamma = float(SCHEDULE.gamma(t))
    seen = np.linalg.pinv(gamma * signal + (1 - gamma) * noise, rcond=1e-10)
    gain = np.sqrt(gamma) * signal @ seen
    x = _noise(n, 3)
    centred = x.reshape(3, -1) - np.sqrt(gamma) * prior.mean
    x0, std = linear.make_linear(prior, SCHEDULE, n)(jnp.asarray(x), jnp.full(3, t))
    # float32 sums of 64 terms of order one.
    wanted = prior.mean + centred @ gain.T
    np.testing.assert_allclose(x0.reshape(3, -1), wanted, atol=2e-5)
    left = signal - np.sqrt(gamma) * gain @ signal
    wanted = np.sqrt(np.trace(left) / n**3)
    np.testing.assert_allclose(std, wanted, rtol=1e-5)


@pytest.mark.parametrize("t", [0.02, 0.3, 0.8])
def test_the_error_is_what_is_said(t):
    packed = _packed()
    prior = linear.fit_prior(packed)
    n = symmetry.side(packed.shape[-1])
    x0 = symmetry.spread(packed.astype(np.float32) / 127, n)
    times = jnp.full(len(x0), t)
    x = process.q_sample(x0, _noise(n, len(x0), 1), SCHEDULE.gamma(times))
    found, std = quick_jit(linear.make_linear(prior, SCHEDULE, n))(x, times)
    assert symmetry.is_cubic(found)
    error = np.sqrt(((found - x0) ** 2).mean())
    # The noise is not quite that of the model, see above.
    assert abs(error / std[0] - 1) < 0.08
    alone = linear.make_std(prior, SCHEDULE, n)(times)
    np.testing.assert_array_equal(alone, std)
    # Better than the noisy field itself, and than the mean.
    naive = np.sqrt(1 / float(SCHEDULE.gamma(t)) - 1)
    assert error < min(naive, x0.std())


def test_a_prior_is_the_mean_and_the_spectrum_of_the_fields():
    packed = _packed()
    prior = linear.fit_prior(packed)
    n = symmetry.side(packed.shape[-1])
    x0 = symmetry.spread(packed / 127, n)
    np.testing.assert_allclose(prior.mean, x0.mean(), rtol=1e-5)
    # All of the variance is in the spectrum.
    share = (linear.noise_variance(n) * linear._ratio(prior, n)).sum() / n**3
    np.testing.assert_allclose(share, ((x0 - prior.mean) ** 2).mean(), rtol=1e-4)
    spectrum = np.array(prior.spectrum)
    # A Gaussian mean over 1.5 samples: by e^-9 at half of the highest line.
    assert spectrum[6] < 1e-2 * spectrum[1]
    assert linear.Prior.from_dict(prior.to_dict()) == prior


def test_a_spectrum_of_another_size_is_refused():
    with pytest.raises(ValueError, match="a spectrum of 2 numbers is not of octants"):
        linear.make_linear(linear.Prior(0.0, (1.0, 1.0)), SCHEDULE, 8)


def test_weights_are_inverse_errors_up_to_a_bound():
    prior = linear.fit_prior(_packed())
    std = linear.make_std(prior, SCHEDULE, 12)
    times = jnp.asarray([0.001, 0.5])
    weight = linear.make_weight(std, most=100.0)(times)
    np.testing.assert_allclose(weight, [100, 1 / std(times)[1] ** 2], rtol=1e-6)
