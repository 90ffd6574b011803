"""Fields and their views: exact values, volumes, symmetry, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import wave

from mmdiff.cells import cut, surface
from mmdiff.cells.symmetry import is_cubic, symmetrize
from mmdiff.errors import InputError


def _ball(n, radius):
    """Field of a ball of a radius in spacings, in the middle of the cell."""
    place = n - 0.5 - np.arange(n)
    distance = np.sqrt(sum(np.meshgrid(place**2, place**2, place**2)))
    return np.clip(radius - distance, -6.0, 6.0)


def _bumpy(n=8, seed=0):
    noise = symmetrize(np.random.default_rng(seed).normal(size=(n, n, n)))
    return 0.6 * wave(n) + 0.1 * noise


def test_values_and_slopes_are_those_of_the_cosine_series():
    n = 8
    x = np.array([-0.5, 0.2, 3.3, 7.5])
    line = np.pi * (np.arange(n) + 0.5) / n
    mode = np.cos(2 * line)[:, None, None] * np.cos(line)[:, None] * np.ones(n)
    expected = np.cos(2 * np.pi * (x + 0.5) / n)
    got = surface.sample(mode, tuple(x))
    np.testing.assert_allclose(got[:, 0, 1], expected, atol=1e-12)
    slope = surface.slopes(mode, tuple(x))
    rate = -np.sin(2 * np.pi * (x + 0.5) / n) * 2 * np.pi / n
    np.testing.assert_allclose(slope[0, :, 0, 2], rate, atol=1e-12)
    np.testing.assert_allclose(slope[2], 0, atol=1e-12)
    points = np.stack([x, x[::-1], x - 2 * n], 1)
    values, gradients = surface.at_points(mode, points)
    second = np.cos(np.pi * (x[::-1] + 0.5) / n)
    np.testing.assert_allclose(values, expected * second, atol=1e-12)
    np.testing.assert_allclose(gradients[:, 0], rate * second, atol=1e-12)


@pytest.mark.parametrize(("distance", "normal"), [(0.2, (1, 2, 3)), (-0.3, (0, 0, 1))])
def test_a_plane_cuts_a_cube_as_many_points_say(distance, normal):
    line = (np.arange(80) + 0.5) / 80 - 0.5
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"))
    unit = np.array(normal) / np.linalg.norm(normal)
    inside = np.tensordot(unit, points, 1) + distance > 0
    got = cut.cut_fraction(np.array(distance), np.array(normal, float))
    assert abs(got - inside.mean()) < 4e-3
    other = cut.cut_fraction(np.array(-distance), np.array(normal, float))
    assert abs(got + other - 1) < 1e-12


@pytest.mark.parametrize("m", [8, 16, 32])
def test_fractions_hold_the_volume_of_a_ball(m):
    share = surface.fractions(_ball(16, 9.3), m)
    expected = 4 / 3 * np.pi * 9.3**3 / 8 / 16**3
    assert abs(share.mean() - expected) < 2e-4
    assert share.shape == (m, m, m) and is_cubic(share)
    assert share.min() == 0 and share.max() == 1


def test_fractions_are_differentiable():
    psi, weight = _bumpy(), np.random.default_rng(1).normal(size=(8, 8, 8))
    weight = symmetrize(weight)

    def total(psi):
        return (surface.fractions(psi, 8) * weight).sum()

    change = symmetrize(np.random.default_rng(2).normal(size=(8, 8, 8)))
    with jax.enable_x64(True):
        slope = jax.grad(total)(jnp.asarray(psi))
        expected = float((symmetrize(np.asarray(slope)) * change).sum())
    step = 1e-4
    got = (total(psi + step * change) - total(psi - step * change)) / (2 * step)
    assert abs(got - expected) < 1e-3 * abs(expected) > 1e-5


@pytest.mark.parametrize("m", [8, 16, 32])
@pytest.mark.parametrize("symmetry", ["cubic", "orthotropic"])
def test_transpose_of_the_derivative_of_fractions(m, symmetry):
    cubic = symmetry == "cubic"
    psi = _bumpy(16) if cubic else _bumpy(16) + np.cos(np.arange(16))[:, None, None]
    weights = np.random.default_rng(m).normal(size=(2, m, m, m))
    weights = symmetrize(weights, symmetry)
    share, back = surface.with_transpose(psi, m)
    np.testing.assert_array_equal(share, surface.fractions(psi, m, cubic=cubic))
    with jax.enable_x64(True):
        of_field = functools.partial(surface.fractions, m=m, cubic=cubic)
        _, transpose = jax.vjp(of_field, jnp.asarray(psi))
        want = np.stack([np.asarray(*transpose(jnp.asarray(w))) for w in weights])
    want, got = symmetrize(want, symmetry), back(weights)
    np.testing.assert_allclose(got, want, atol=2e-6 * abs(want).max())
    assert is_cubic(got) or not cubic


def test_slopes_of_a_cut_cube():
    rng = np.random.default_rng(0)
    distance, normal = rng.uniform(-1, 1, 200), rng.normal(size=(3, 200))
    normal[0, :20] = 0  # below the least component of a normal

    def total(distance, normal):
        return cut.cut_fraction(distance, normal).sum()

    with jax.enable_x64(True):
        want = jax.grad(total, (0, 1))(jnp.asarray(distance), jnp.asarray(normal))
    got = cut.cut_slopes(distance, normal)
    np.testing.assert_allclose(got[0], want[0], atol=1e-10)
    np.testing.assert_allclose(got[1][:, 20:], want[1][:, 20:], atol=1e-10)
    np.testing.assert_allclose(got[1][1:, :20], want[1][1:, :20], atol=1e-10)


def test_voxels_and_volume_are_views_of_one_surface():
    psi = _bumpy(16)
    volume = surface.volume(psi)
    for m, within in ((16, 2e-2), (64, 2e-3)):
        voxels = surface.voxels(psi, m)
        assert is_cubic(voxels) and abs(voxels.mean() - volume) < within
    assert abs(surface.fractions(psi, 64).mean() - volume) < 2e-4


def test_voxels_become_a_field_of_their_volume():
    octant = (wave(16) > -0.4).astype(np.uint8)
    psi = surface.from_voxels(octant)
    assert is_cubic(psi) and abs(surface.volume(psi) - octant.mean()) < 1e-5
    assert (surface.voxels(psi, 16) == octant).mean() > 0.98
    coarse = surface.from_voxels(octant, 8)
    assert coarse.shape == (8, 8, 8)
    assert abs(surface.volume(coarse) - octant.mean()) < 1e-5
    assert (surface.voxels(coarse, 16) == octant).mean() > 0.95


def test_a_field_made_of_voxels_is_a_distance():
    octant = np.broadcast_to(np.arange(16) < 7, (16, 16, 16))
    psi = surface.from_voxels(octant)
    near = slice(4, 10)
    np.testing.assert_allclose(psi[0, 0, near], 6.5 - np.arange(16)[near], atol=0.08)


@pytest.mark.parametrize(
    ("octant", "n", "part"),
    [
        (np.zeros((8, 8, 8)), None, "the cell is all void"),
        (np.ones((8, 8, 8)), None, "the cell is all solid"),
        (np.zeros((8, 8, 8)), 6, "n=6 does not divide the 8 voxels"),
    ],
)
def test_what_has_no_surface_is_refused(octant, n, part):
    with pytest.raises(InputError, match=part):
        surface.from_voxels(octant, n)


def test_soft_fractions_meet_the_exact_ones_as_they_sharpen():
    psi = _ball(16, 9.0)
    exact = surface.fractions(psi, 8)
    wide, narrow = (surface.soft_fractions(psi, 8, width) for width in (2.0, 0.5))
    off = [abs(share - exact).mean() for share in (wide, narrow)]
    assert off[1] < 0.01 < off[0]
    # Curved surfaces blurred on both sides: second order in the width.
    assert abs(narrow.mean() - exact.mean()) < 2e-3
    assert is_cubic(narrow)
    traced = jax.jit(lambda psi: surface.soft_fractions(psi, 8, 0.5))(jnp.float32(psi))
    # Sums of float32.
    np.testing.assert_allclose(traced, narrow, atol=1e-5)


def test_soft_fractions_say_where_a_surface_has_to_go():
    psi = _ball(8, 4.0)
    change = np.random.default_rng(0).normal(size=psi.shape)
    slope = jax.grad(lambda psi: surface.soft_fractions(psi, 4, 1.0).mean())(
        jnp.float32(psi)
    )
    ends = (
        surface.soft_fractions(psi + s * change, 4, 1.0).mean() for s in (-1e-3, 1e-3)
    )
    low, high = ends
    # Central differences; the slope is of float32 sums.
    np.testing.assert_allclose((slope * change).sum(), (high - low) / 2e-3, rtol=1e-3)


def test_cubic_fields_are_looked_at_once_for_all_images():
    psi, points = _bumpy(), surface.centres(8, 16)
    # JAX arrays take the way without symmetry.
    plain = np.asarray(surface.slopes(jnp.asarray(psi), points))
    np.testing.assert_allclose(surface.slopes(psi, points), plain, atol=2e-6)
    uneven = psi + 1e-12 * np.arange(8)  # cubic but for rounding
    for m in (4, 8, 16, 32):
        share = surface.fractions(psi, m)
        np.testing.assert_allclose(
            surface.fractions(uneven, m, cubic=False), share, atol=1e-9
        )
        assert is_cubic(share)


def test_shares_of_elements_twice_as_large_are_means():
    share = surface.fractions(_bumpy(), 16)
    half = surface.halved(share)
    np.testing.assert_allclose(half, surface.fractions(_bumpy(), 8), atol=1e-12)
    assert is_cubic(half)
    uneven = share * np.linspace(0, 1, 16)
    half = surface.halved(uneven, cubic=False)
    assert half[1, 2, 3] == pytest.approx(uneven[2:4, 4:6, 6:8].mean())


@pytest.mark.parametrize("n", [8, 12, 32])
def test_a_resampled_field_has_the_same_surface(n):
    psi = _bumpy(16)
    found = surface.resampled(psi, n)
    assert found.shape == (n, n, n) and is_cubic(found)  # to the last bit
    # Cosines that n samples hold are the same function: coarser ones leave some out.
    off = abs(surface.volume(found) - surface.volume(psi))
    assert off < (0.02 if n < 16 else 1e-3)
    # Values are distances in spacings of the new grid.
    points = surface.centres(16, n)
    np.testing.assert_allclose(found, surface.sample(psi, points) * n / 16, atol=1e-12)
    smooth = wave(16)
    there = surface.resampled(smooth, n)
    assert abs(surface.volume(there) - surface.volume(smooth)) < 1e-3
    np.testing.assert_allclose(surface.resampled(there, 16), smooth, atol=1e-8)


def test_resampling_to_as_many_samples_changes_nothing():
    psi = _bumpy(8)
    assert surface.resampled(psi, 8) is psi
    tilted = psi + np.linspace(0, 0.1, 8)[:, None, None]
    np.testing.assert_array_equal(surface.resampled(tilted, 8), tilted)
    fine = surface.resampled(tilted, 16)
    assert not is_cubic(fine) and abs(fine[::-1] - fine).max() > 0.1
    assert abs(surface.volume(fine) - surface.volume(tilted)) < 1e-3
