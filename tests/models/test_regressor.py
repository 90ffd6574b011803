"""The regressor: shapes, symmetry, conversions, gradients and weights files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import assets
from mmdiff.bounds import hashin_shtrikman_ratios
from mmdiff.data import dataset, select
from mmdiff.errors import DataError, InputError
from mmdiff.models import regressor
from mmdiff.models.weights import save_weights
from mmdiff.train.step import to_x0

MODEL = regressor.Regressor(
    patch=2, width=4, multipliers=(1, 2), blocks=(0, 1), groups=2, embedding=4
)
FIELDS = {
    field.name: getattr(MODEL, field.name)
    for field in dataclasses.fields(regressor.Regressor)
    if field.name not in ("parent", "name")
}
META = {"model": FIELDS, "octant": 8, "base": {"nu": 0.3}}


@pytest.fixture(scope="module")
def params():
    """Random parameters everywhere: fresh ones have zeros that hide mistakes."""
    init, key = regressor.init_regressor, jax.random.key(0)
    shapes = jax.eval_shape(lambda key: init(MODEL, key, 8), key)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: jnp.asarray(0.3 * rng.standard_normal(a.shape), a.dtype), shapes
    )


@pytest.fixture(scope="module")
def octants():
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (3, 8, 8, 8)), "float32")


@pytest.fixture(scope="module")
def roots():
    return jax.jit(regressor.make_roots(MODEL))


def test_three_numbers_per_octant_that_depend_on_it_alone(params, octants, roots):
    got = roots(params, octants)
    assert got.shape == (3, 3) and np.isfinite(got).all()
    assert np.ptp(np.asarray(got), axis=0).min() > 1e-4
    one = roots(params, octants[1:2])[0]
    np.testing.assert_allclose(one, got[1], rtol=1e-4, atol=1e-6)


def test_half_a_period_of_shift_changes_nothing(params, octants, roots):
    shifted = octants[:, ::-1, ::-1, ::-1]
    got, other = roots(params, octants), roots(params, shifted)
    np.testing.assert_allclose(got, other, rtol=1e-5, atol=1e-6)
    # The network alone is not invariant, so the test above says something.
    apply = jax.jit(lambda x: MODEL.apply({"params": params}, x))
    alone = apply(octants), apply(shifted)
    assert abs(alone[0] - alone[1]).max() > 1e-4


def test_the_volume_counts_beside_the_shape(params, roots):
    # Constant fields are the same to a group norm.
    got = roots(params, jnp.stack([jnp.full((8, 8, 8), v) for v in (-0.5, 0.5)]))
    assert abs(got[0] - got[1]).max() > 1e-3


def test_conversion_there_and_back():
    rng = np.random.default_rng(2)
    volume = rng.uniform(0.1, 0.9, 5)
    roots = rng.uniform(0.05, 1, (5, 3))
    constants = regressor.to_constants(roots, volume)
    np.testing.assert_allclose(regressor.to_roots(constants, volume), roots, rtol=1e-12)
    ratios = hashin_shtrikman_ratios(constants, volume)
    np.testing.assert_allclose(ratios["K"], roots[:, 0] ** 2, rtol=1e-12)
    np.testing.assert_allclose(ratios["G"], roots[:, 1] ** 2, rtol=1e-12)
    traced = jax.jit(regressor.to_constants)(
        jnp.float32(roots), jnp.asarray(volume, jnp.float32)
    )
    np.testing.assert_allclose(traced, constants, rtol=1e-5, atol=1e-6)


def test_constants_follow_from_the_roots_at_the_own_volume(params, octants, roots):
    constants, ratio = jax.jit(regressor.make_regress(params, META))(octants)
    volume = regressor.volume_of(np.asarray(octants))
    got = hashin_shtrikman_ratios(np.asarray(constants), volume)["K"]
    np.testing.assert_allclose(got, ratio, rtol=1e-4)
    np.testing.assert_allclose(ratio, roots(params, octants)[:, 0] ** 2, rtol=1e-4)


@pytest.mark.slow
def test_gradient_is_that_of_small_changes(params, octants):
    regress = regressor.make_regress(params, META)

    @jax.jit
    def stiffness(x):
        return regress(x)[0][:, 0].sum()

    gradient = np.asarray(jax.grad(stiffness)(octants))
    assert np.isfinite(gradient).all()
    # Steep, so that float32 sees the difference.
    change = jnp.asarray(0.01 * np.sign(gradient))
    difference = (stiffness(octants + change) - stiffness(octants - change)) / 2
    expected = float((gradient * np.asarray(change)).sum())
    assert expected > 0
    # Third-order terms of a step of 0.01.
    np.testing.assert_allclose(difference, expected, rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, r"8\^3 voxels do not divide by .* = 6"),
        ({"blocks": (1,)}, "multipliers has 2 levels and blocks has 1"),
        ({"dtype": "float8"}, "no compute type 'float8'"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes, message):
    model = MODEL.clone(**changes)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 8)))


def test_weights_round_trip(tmp_path, params, octants):
    path = save_weights(tmp_path / "r.npz", params, META)
    found, meta = regressor.load_regressor(path)
    assert meta == META and regressor.Regressor(**meta["model"]) == MODEL
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_damaged_and_missing_files_are_refused(tmp_path, params):
    path = save_weights(tmp_path / "r.npz", params, META)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="SHA-256"):
        regressor.load_regressor(path)
    with pytest.raises(DataError, match="no checkpoint at .*configs/regressor.py"):
        regressor.load_regressor(tmp_path / "none.npz")


@pytest.mark.parametrize("change", [{"width": 8}, {"blocks": (1, 1)}, {"heads": 4}])
def test_header_of_another_network_is_refused(tmp_path, params, change):
    meta = {**META, "model": {**FIELDS, **change}}
    path = save_weights(tmp_path / "r.npz", params, meta)
    with pytest.raises(DataError, match="another network|cannot be built"):
        regressor.load_regressor(path)


@pytest.mark.slow
def test_the_shipped_weights_know_families_they_have_not_seen():
    params, meta = regressor.load_regressor(assets.regressor_path())
    data = dataset.load_dataset(assets.dataset_path())
    constants, volume = data.constants, data.volume
    # Every fourth test cell.
    rows = np.flatnonzero(data.info["split"] == select.TEST)[::4]
    true = hashin_shtrikman_ratios(constants[rows], volume[rows])["K"]
    regress = jax.jit(regressor.make_regress(params, meta))
    fields = np.asarray(to_x0(data.packed[rows]))
    parts = [regress(jnp.asarray(part)) for part in np.array_split(fields, 3)]
    got = np.concatenate([np.asarray(part[0]) for part in parts])
    ratio = np.concatenate([np.asarray(part[1]) for part in parts])
    # Of all test cells: 0.951, and 0.990, 0.975 and 0.985 for the constants.
    assert 1 - np.mean((ratio - true) ** 2) / true.var() > 0.93
    left = ((got - constants[rows]) ** 2).mean(0) / constants[rows].var(0)
    assert (1 - left > 0.96).all()
