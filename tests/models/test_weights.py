"""Weights files: round trip, checksum, and messages for what does not fit."""

import dataclasses
import zipfile

import jax
import numpy as np
import pytest
from model_helpers import FIELDS, HEADER, fresh_params

from mmdiff.diffusion.conditions import NAMES
from mmdiff.errors import DataError
from mmdiff.models.unet import UNet
from mmdiff.models.weights import (
    load_model,
    load_weights,
    save_weights,
    sha256,
    sidecar,
)

_MODEL = UNet(**FIELDS)
_FIELDS = {
    field.name: getattr(_MODEL, field.name)
    for field in dataclasses.fields(UNet)
    if field.name not in ("parent", "name")
}
_META = {"model": _FIELDS, "octant": 4, "note": "a test"}


@pytest.fixture(scope="module")
def params():
    return fresh_params()


def test_round_trip_is_exact_and_rebuilds_the_network(tmp_path, params):
    path = save_weights(tmp_path / "sub" / "w.npz", params, _META)
    found, meta = load_weights(path)
    assert meta == _META and UNet(**meta["model"]) == _MODEL
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_half_precision_halves_the_file(tmp_path, params):
    full = save_weights(tmp_path / "full.npz", params, _META)
    half = save_weights(tmp_path / "half.npz", params, _META, half=True)
    assert half.stat().st_size < 0.8 * full.stat().st_size
    found, _ = load_weights(half)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        assert a.dtype == np.float32
        # float16 rounds to 11 bits.
        np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7)


def test_missing_file_names_the_way_out(tmp_path):
    with pytest.raises(DataError, match="no checkpoint at .*configs/train.py"):
        load_weights(tmp_path / "none.npz")


def test_missing_checksum_is_refused(tmp_path, params):
    path = save_weights(tmp_path / "w.npz", params, _META)
    sidecar(path).unlink()
    with pytest.raises(DataError, match="no checksum file"):
        load_weights(path)


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_flipped_byte_is_found(tmp_path, params, position):
    path = save_weights(tmp_path / "w.npz", params, _META)
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="SHA-256"):
        load_weights(path)


@pytest.mark.parametrize("content", [b"\xff" * 64, b"", b"\x00\xfe  a.npz\n"])
def test_a_checksum_file_that_is_no_text_is_refused(tmp_path, params, content):
    path = save_weights(tmp_path / "a.npz", params, _META)
    sidecar(path).write_bytes(content)
    with pytest.raises(DataError, match="fails its SHA-256 checksum"):
        load_weights(path)


@pytest.mark.parametrize("change", [{"width": 8}, {"blocks": 2}, {"nonsense": 1}])
def test_header_of_another_network_is_refused(tmp_path, params, change):
    meta = {**_META, "model": {**_FIELDS, **change}}
    path = save_weights(tmp_path / "w.npz", params, meta)
    with pytest.raises(DataError, match="another network|cannot be built"):
        load_weights(path)


def test_a_model_of_other_conditions_is_refused(tmp_path, params):
    meta = {**_META, **HEADER, "cond": {**HEADER["cond"], "names": [*NAMES]}}
    path = save_weights(tmp_path / "w.npz", params, meta)
    assert load_model(path).meta == meta
    meta["cond"]["names"].remove("drainable")
    save_weights(path, params, meta)
    with pytest.raises(DataError, match="has the conditions C11, .* another version"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        *({key: None} for key in HEADER if key != "cond"),
        {"training": {"coverage": 0.1}},
        {"training": {"labels": [[1.0, 2.0]], "coverage": 0.1}},
        {"training": {"labels": [[float("nan")] * 4], "coverage": 0.1}},
        {"base": []},
        {"schedule": {"kind": "sudden"}},
        {
            "cond": {
                "names": [*NAMES],
                "low": [0.0] * 5,
                "high": [1.0] * 5,
                "power": float("inf"),
            }
        },
        {"cond": {"names": [*NAMES], "low": [0.0], "high": [1.0]}},
    ],
)
def test_a_header_that_is_not_whole_is_refused(tmp_path, params, change):
    path = save_weights(tmp_path / "w.npz", params, {**_META, **HEADER, **change})
    with pytest.raises(DataError, match=r"has a header that is not whole \(\w+"):
        load_model(path)
    for cond in (None, [], {}, "C11"):
        save_weights(path, params, {**_META, **HEADER, "cond": cond})
        with pytest.raises(DataError, match="is of another version"):
            load_model(path)


def test_weights_that_are_not_finite_are_refused(tmp_path, params):
    bad = jax.tree.map(lambda x: x.at[..., 0].set(np.nan), params)
    path = save_weights(tmp_path / "w.npz", bad, _META)
    with pytest.raises(DataError, match=r"holds \d+ numbers that are not finite, the"):
        load_weights(path)


def test_weights_that_are_none_are_refused(tmp_path, params):
    path = save_weights(tmp_path / "w.npz", params, _META)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10_000_000))
    for content in (path.read_bytes(), b"", b"PK", b"text"):
        path.write_bytes(content)
        sidecar(path).write_text(f"{sha256(path)}  w.npz\n")
        with pytest.raises(DataError, match="is not a weights file of mmdiff"):
            load_weights(path)
