"""Sheets of samples while training: fixed conditions, noise and places."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers

from mmdiff.io import plots
from mmdiff.train import snapshots
from mmdiff.train.denoising import Examples

FEW = Examples(helpers.DATA.packed[:2], helpers.DATA.cond[:2])


@pytest.fixture(autouse=True)
def two_cells(monkeypatch):
    monkeypatch.setattr(snapshots, "SHOWN", 2)


@pytest.fixture
def sheets(monkeypatch):
    """What is handed to the contact sheet, instead of the picture."""
    found = []

    def keep(path, images, captions, *, columns):
        found.append((path.name, np.stack(images), captions, columns))
        return True

    monkeypatch.setattr(plots, "contact_sheet", keep)
    return found


def _make(tmp_path, apply):
    diffusion = dataclasses.replace(helpers.DIFFUSION, apply=apply)
    return snapshots.make_snapshots(diffusion, tmp_path, FEW, steps=2, size=32)


def test_cells_stand_above_the_samples_of_their_conditions(tmp_path, sheets):
    seen = []

    def apply(params, x, t, x0_prev, cond):
        jax.debug.callback(lambda cond: seen.append(np.asarray(cond)), cond)
        # Solid below the asked share of the first axis.
        low, high = helpers.CONDITIONS.low[3], helpers.CONDITIONS.high[3]
        volume = low + cond[:, 3] * (high - low)
        place = jnp.arange(4.0)[None, :] < jnp.round(volume * 4)[:, None]
        return jnp.broadcast_to(
            jnp.where(place, params, -1.0)[..., None, None], x.shape
        )

    snapshot = _make(tmp_path, apply)
    snapshot(20, jnp.asarray(1.0))
    (name, images, captions, columns) = sheets[0]
    assert name == "samples_000020.png" and columns == 2
    assert images.shape == (4, 32, 32, 3)
    wanted = helpers.DATA.cond[:2]
    np.testing.assert_array_equal(seen[0], helpers.CONDITIONS.normalize(wanted))
    volumes = [round(4 * v) / 4 for v in wanted[:, 3].tolist()]
    assert captions[2:] == [f"step 20: V {v:.2f}" for v in volumes]
    assert captions[:2] == [f"asked V {v:.2f}" for v in wanted[:, 3]]
    # Nothing solid is a picture, too.
    snapshot(40, jnp.asarray(-1.0))
    assert sheets[1][2][2:] == ["step 40: V 0.00"] * 2
    np.testing.assert_array_equal(sheets[1][1][:2], images[:2])


def test_the_noise_is_the_same_at_every_step(tmp_path, sheets):
    snapshot = _make(tmp_path, lambda params, x, *args: params * x)
    for step in (1, 2):
        snapshot(step, jnp.asarray(1.0))
    np.testing.assert_array_equal(sheets[0][1], sheets[1][1])
    # Each example has noise of its own, so that not all pictures agree.
    assert (sheets[0][1][2] != sheets[0][1][3]).any()


def test_the_sheet_is_written(tmp_path):
    _make(tmp_path, lambda params, x, *args: params * x)(7, jnp.asarray(1.0))
    assert (tmp_path / "samples_000007.png").read_bytes().startswith(b"\x89PNG")
