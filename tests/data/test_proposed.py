"""Proposed candidates: a model asked for empty bins, whatever it answers."""

import dataclasses

import jax
import numpy as np
import pytest
from data_helpers import write_cells
from design_helpers import wave
from fem_helpers import strut_octant
from model_helpers import FIELDS, HEADER, fresh_params

from mmdiff.cells import distance, surface
from mmdiff.data import proposed, space
from mmdiff.data.recipe import Proposed, Recipe, Shard
from mmdiff.diffusion.conditions import NAMES, fit_conditions
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.diffusion.schedule import ExponentialSchedule, schedule_to_dict
from mmdiff.elasticity import range_error, voigt_to_cubic
from mmdiff.errors import DataError, InputError
from mmdiff.fem import accuracy
from mmdiff.models import sampling, weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The weights file of an untrained network for octants of 8^3 voxels."""
    path = tmp_path_factory.mktemp("model") / "ema.npz"
    raw = np.array([[0.01, 0.0, 0.01, 0.1, 0.0], [1.0, 0.4, 0.3, 0.9, 1.0]])
    meta = {
        **HEADER,
        "model": FIELDS,
        "octant": 8,
        "schedule": schedule_to_dict(ExponentialSchedule()),
        "cond": fit_conditions(NAMES, raw).to_dict(),
    }
    weights.save_weights(path, fresh_params(), meta)
    return path


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    return write_cells(
        tmp_path_factory.mktemp("earlier") / "data.zarr",
        distance.pack(surface.from_voxels(strut_octant(8, 3)))[None],
        np.array([[0.15, 0.04, 0.03]]),
        [{"id": 0, "family": 0, "aim": "optimized"}],
        n=8,
    )


@pytest.fixture
def draw(monkeypatch):
    """Draw rough frames in place of the network; return what was asked."""
    asked = []

    def make_draw(params, meta, *, num_samples, steps):
        def draw(key, values):
            asked.append(values)
            noise = np.asarray(symmetric_noise(key, meta["octant"]))
            return (wave() + 0.2 * noise)[None]

        return draw

    monkeypatch.setattr(sampling, "make_draw", make_draw)
    proposed._model.cache_clear()
    yield asked
    proposed._model.cache_clear()


def _recipe(model, steps=1):
    return Recipe(n=8, shard_size=4, proposed=Proposed(4, str(model), 3, steps), seed=1)


def _candidates(recipe, earlier, number=9):
    with jax.numpy_dtype_promotion("standard"):
        return proposed.candidates(
            recipe, number, Shard(4, "proposed", "proposed", 4), earlier
        )


@pytest.mark.slow
def test_targets_lie_in_empty_bins_beside_filled_ones(model, earlier, draw):
    recipe = _recipe(model)
    fields, records = _candidates(recipe, earlier)
    assert np.shape(fields) == (4, 8, 8, 8)
    beside = space.frontier(earlier.constants, earlier.volume, recipe.volume_range)
    points = np.array([list(record["target"].values()) for record in records])
    assert set(space.bin_index(points[:, :3], points[:, 3])) <= set(beside)
    digest = weights.sha256(model)[:12]
    assert all(record["model"] == digest for record in records)
    assert {record["family"] for record in records} == {proposed.FAMILY}
    np.testing.assert_allclose(
        [[*values.values()] for values in draw],
        np.pad(points, ((0, 0), (0, 1)), constant_values=1),
        1e-4,
    )
    again = _candidates(recipe, earlier)
    np.testing.assert_array_equal(fields, again[0])
    assert not np.array_equal(fields, _candidates(recipe, earlier, 10)[0])


@pytest.mark.slow
def test_surfaces_come_nearer_to_their_targets_by_steps(model, earlier, draw):
    errors = []
    for steps in (0, 6):
        psi, _ = _candidates(_recipe(model, steps), earlier)
        targets = np.array([[*values.values()][:4] for values in draw[-4:]])
        volumes = [*map(surface.volume, psi)]
        # Of few steps the constants get most: a volume counts a tenth of an error.
        np.testing.assert_allclose(volumes, targets[:, 3], atol=0.05)
        tensors = [accuracy.on_grid(each, 8)[0] for each in psi]
        constants = np.stack([*map(voigt_to_cubic, tensors)])
        errors.append(range_error(constants, targets[:, :3]))
    assert (errors[1] < errors[0]).all(), errors  # cells of 16 voxels do not get there


def test_model_of_another_size_is_refused(model, earlier):
    recipe = Recipe(n=12, shard_size=4, proposed=Proposed(4, str(model)))
    with pytest.raises(InputError, match="of 8.3 voxels.*of 12.3.*`proposed.count=0`"):
        _candidates(recipe, earlier)


def test_a_model_that_cannot_propose_is_refused_before_the_first_round(model, tmp_path):
    recipe = Recipe(n=8, proposed=Proposed(count=1, weights=str(model)))
    proposed.check(recipe)
    with pytest.raises(InputError, match="that model makes octants of 8"):
        proposed.check(dataclasses.replace(recipe, n=12))
    lost = Proposed(count=1, weights=str(tmp_path / "nowhere.npz"))
    with pytest.raises(DataError, match="no checkpoint at .*nowhere.npz"):
        proposed.check(dataclasses.replace(recipe, proposed=lost))
