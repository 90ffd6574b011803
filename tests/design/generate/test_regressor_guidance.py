"""Guidance by a regressor: what is missing falls, by the network and by its cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import assets
from mmdiff.bounds import hashin_shtrikman, hashin_shtrikman_ratios
from mmdiff.cells import symmetry
from mmdiff.cells.distance import CLIP
from mmdiff.cells.grey import to_field
from mmdiff.design.bench import specimens
from mmdiff.design.generate import fem_guidance, regressor_guidance
from mmdiff.models import regressor, weights
from mmdiff.models.sampling import make_draw
from mmdiff.targets import quantities, target
from mmdiff.topopt import move

N = 4
FIELDS = {"width": 4, "multipliers": (1,), "blocks": (1,), "embedding": 4}
META = {"model": FIELDS, "octant": N, "base": {"nu": 0.3}}
FREE = jnp.full(9, jnp.nan)
RESIDUALS = (fem_guidance.residual, regressor_guidance.bulk_residual)


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
    keep = np.isin(fem_guidance.NAMES, names)
    return jnp.asarray(np.where(keep, every, np.nan), jnp.float32)


def test_what_a_target_misses():
    values = jnp.array([0.2, 0.08, 0.05, 0.4])
    aim = target.from_values({"C11": 0.3, "E": 0.1}, volume=0.5)
    missing = fem_guidance.residual(
        values, jnp.asarray(fem_guidance.target_values(aim))
    )
    young = quantities.values(np.asarray(values)[:3], ["E"])[0]
    scale = quantities.SCALES["C11"]
    expected = {"C11": 0.1 / scale, "E": (0.1 - young) / scale, "V": 0.1}
    for name, value in zip(fem_guidance.NAMES, np.asarray(missing), strict=True):
        np.testing.assert_allclose(value, expected.get(name, np.nan), rtol=1e-5)


def test_the_bulk_modulus_misses_its_bound():
    bulk = hashin_shtrikman(0.4)[0]
    values = jnp.array([0.6 * bulk, 0.6 * bulk, 0.05, 0.4])
    missing = regressor_guidance.bulk_residual(values, FREE)
    np.testing.assert_allclose(missing[0], 0.4, rtol=1e-5)
    assert np.isnan(missing[1])
    missing = regressor_guidance.bulk_residual(values, FREE.at[-1].set(0.3))
    np.testing.assert_allclose(missing[1], -0.1, rtol=1e-5)


@pytest.fixture(scope="module")
def said(params):
    """Return what gives C11, C12, C44 and V of two estimates as the network says."""
    regress = jax.jit(regressor.make_regress(params, META))

    def values(x0):
        constants, _ = regress(x0)
        return np.append(constants, regressor.volume_of(x0)[:, None], 1)

    return values


@pytest.fixture(scope="module")
def start(said, estimate):
    return said(estimate)


@pytest.fixture(scope="module")
def guided(params, estimate):
    run = jax.jit(regressor_guidance.make_regressor_guidance(params, META, count=6))
    return lambda t, wanted: run(estimate, jnp.float32(t), wanted)


@pytest.mark.slow
def test_estimates_get_what_was_asked(estimate, said, start, guided):
    # What the network says of a denser octant, so that the values go together.
    denser = said(jnp.clip(estimate + 0.1, -1, 1))[0]
    moved = guided(0.5, _wanted(denser, *fem_guidance.NAMES[:3]))
    assert moved.shape == estimate.shape and abs(moved).max() <= 1
    before, after = (abs(values - denser)[:, :3] for values in (start, said(moved)))
    # Newton's method: what is left is small beside what was missing.
    assert (after.max(1) < 0.1 * before.max(1)).all()
    assert all(symmetry.is_cubic(np.asarray(one)) for one in moved)


def test_nothing_asked_and_other_times_change_nothing(estimate, guided, start):
    np.testing.assert_allclose(guided(0.5, FREE), estimate, atol=1e-5)
    wanted = _wanted(start[0] * 1.1, "C11")
    for t in (regressor_guidance.FIRST + 0.01, regressor_guidance.LAST - 0.01):
        np.testing.assert_array_equal(guided(t, wanted), estimate)


@pytest.mark.slow
def test_short_steps_raise_the_bulk_modulus_and_keep_the_volume(
    params, estimate, said, start
):
    step = jax.jit(
        regressor_guidance.make_regressor_guidance(
            params,
            META,
            residual=regressor_guidance.bulk_residual,
            count=1,
            longest=0.05,
        )
    )
    wanted = FREE.at[-1].set(float(start[0, 3]))
    moved = step(estimate, jnp.float32(0.5), wanted)
    # Differences of float32 numbers.
    change = CLIP * abs(moved - estimate)
    np.testing.assert_allclose(change.max(), 0.05, rtol=1e-3)
    for _ in range(15):
        moved = step(moved, jnp.float32(0.5), wanted)
    after = said(moved)[0]
    ratios = [hashin_shtrikman_ratios(v[:3], v[3])["K"] for v in (start[0], after)]
    assert ratios[1] > ratios[0] + 1e-3
    assert abs(after[3] - start[0, 3]) < 0.02


@pytest.mark.slow
@pytest.mark.long
def test_guided_samples_of_the_shipped_model_are_better_by_finite_elements():
    networks = (
        weights.load_weights(assets.weights_path()),
        regressor.load_regressor(assets.regressor_path()),
    )
    (params, meta), known = networks
    evaluate = move.make_evaluate(int(meta["octant"]))
    volume = 0.3
    stiff = regressor_guidance.make_regressor_guidance(
        *known, residual=regressor_guidance.bulk_residual, count=1, longest=0.3
    )
    wanted = FREE.at[-1].set(volume)
    ratios = []
    for guidance in (None, stiff):
        draw = make_draw(params, meta, num_samples=4, steps=12, guide=guidance)
        fields = np.asarray(draw(jax.random.key(0), {"V": volume}, wanted))
        surfaces = [to_field(field, volume)[0] for field in fields]
        constants = np.stack([evaluate(psi).values[:3] for psi in surfaces])
        found = hashin_shtrikman_ratios(constants, volume)["K"]
        ratios.append(found.mean())
    assert ratios[1] > ratios[0] + 0.02
