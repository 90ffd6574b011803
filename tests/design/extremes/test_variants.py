"""Variants: made through noise, refined, counted, and a diverse set of them kept."""

import field_helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from design_helpers import wave
from field_helpers import RATES

from mmdiff.cells import surface
from mmdiff.cells.mend import Printing
from mmdiff.cells.symmetry import is_cubic
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import quest, variants
from mmdiff.design.extremes.network import Network
from mmdiff.design.extremes.quest import Extreme, Shape
from mmdiff.design.extremes.variants import VariantPlan
from mmdiff.diffusion.conditions import NAMES, fit_conditions
from mmdiff.diffusion.process import symmetric_noise
from mmdiff.diffusion.schedule import ExponentialSchedule, schedule_to_dict
from mmdiff.models import noise_codec
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.models.weights import Model

N = 8
ANY = Printing(0.0, 0.0, drainable=False)
QUEST = quest.make_quest("bulk", 0.45, isotropy=0.05, floor=0.01, printing=ANY)
SIZES = [0.3, 0.4, 0.5]


def _frame(n):
    return surface.from_voxels(threshold_to_volume(wave(n), 0.4))


def _varied(psi, state, *, newton=0, **options):
    best = Shape(psi, surface.volume(psi) * RATES)
    record = Extreme(QUEST.name, "random", 0, "random", best, best)
    usual = {"sizes": SIZES, "steps": 0, "keep": 2, "alike": 1.0, "loss": 0.05}
    meta = {"octant": N, "schedule": schedule_to_dict(ExponentialSchedule())}
    network = Network(Model({}, meta), 1, newton=newton)
    plan = VariantPlan(**usual | options)
    return variants.varied(QUEST, record, jax.random.key(0), state, network, plan)


@pytest.fixture
def goals(monkeypatch):
    """Target values that a codec is given whose noise is the octant itself."""
    seen = []

    def decode(noise, cond, target_values=None):
        seen.append(target_values)
        return jnp.asarray(noise)

    points = np.outer([0.2, 0.4, 0.6], [*RATES, 1.0, 1.0])
    scaling = fit_conditions(NAMES, points)
    codec = NoiseCodec(lambda key, x0, cond: 2 * x0, decode)
    monkeypatch.setattr(
        noise_codec, "load_noise_codec", lambda *args, **options: (codec, scaling)
    )
    field_helpers.patch(monkeypatch)
    return seen


def test_variants_are_refined_counted_and_kept(goals, monkeypatch, tmp_path):
    psi = _frame(N)
    octant = surface.voxels(psi, N)
    found, returned = _varied(psi, tmp_path)
    assert returned == 1.0 and goals == [None] * 4
    assert found and {record.kind for record in found} == {"variant"}
    for record in found:
        assert f"{SIZES[record.number]:g} of new noise" in record.source
        share = (record.after.octant == octant).mean()
        assert record.similarity >= share  # the half shift may be nearer
        # The looks at its surface on two grids, and at the one of the volume.
        assert 2 <= record.solutions <= 3 and record.spent == 0
    assert 1 <= sum(record.kept for record in found) <= 2

    # As many voxels, hence the same constants here: more than the cell has is not had.
    none, _ = _varied(psi, tmp_path, loss=-0.1)
    assert not any(record.kept for record in none)

    monkeypatch.setattr(noise_codec, "load_noise_codec", None)  # never sampled again
    again, _ = _varied(psi, tmp_path)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.after.psi, other.after.psi)
        assert one.kept == other.kept and one.similarity == other.similarity


def test_guided_variants_are_asked_for_the_cell_itself(goals, tmp_path):
    psi = _frame(N)
    found, _ = _varied(psi, tmp_path, newton=2)
    # Decoding the unchanged noise shows the inversion alone.
    assert goals[0] is None and all(goal is not None for goal in goals[1:])
    np.testing.assert_allclose(goals[1][:3], surface.volume(psi) * RATES, rtol=1e-6)
    # Two Newton steps at each time below 0.95.
    assert {record.spent for record in found} == {30}


def test_a_finer_cell_is_coarsened_or_left_alone(goals, tmp_path):
    found, returned = _varied(_frame(2 * N), tmp_path)
    assert returned == 1.0
    assert all(len(record.after.psi) == N for record in found)
    # Blocks in a void: nothing that bears load.
    dust = np.zeros((2 * N,) * 3, np.uint8)
    dust[4:12, 4:12, 4:12] = 1
    found, returned = _varied(surface.from_voxels(dust), tmp_path / "dust")
    assert found == [] and np.isnan(returned)


def test_perturbed_noise_is_as_large_and_as_near_as_told():
    noise = symmetric_noise(jax.random.key(0), 2 * N)
    moved = np.asarray(variants.perturbed(jax.random.key(1), noise, 0.3))
    assert is_cubic(moved) and moved.dtype == np.float32
    # Orbits of six voxels: 816 of them, so one standard deviation is 2.5 to 3.5 %.
    assert np.std(moved) == pytest.approx(1, abs=0.1)
    correlation = np.corrcoef(moved.ravel(), np.asarray(noise).ravel())[0, 1]
    assert correlation == pytest.approx(np.sqrt(1 - 0.3**2), abs=0.05)
    same = variants.perturbed(jax.random.key(1), noise, 0.0)
    np.testing.assert_array_equal(same, noise)
    other = variants.perturbed(jax.random.key(2), noise, 0.3)
    assert not np.array_equal(moved, other)


def _octants(*shares):
    """Octants of which the first so many voxels differ from the void."""
    found = np.zeros((len(shares), 1000), np.uint8)
    for row, share in zip(found, shares, strict=True):
        row[: round(1000 * share)] = 1
    return list(found.reshape(-1, 10, 10, 10))


def test_a_diverse_set_begins_with_what_is_most_different():
    near, mid, far, twin = _octants(0.02, 0.2, 0.4, 0.39)
    (reference,) = _octants(0.0)
    chosen = variants.diverse([near, mid, far, twin], reference, count=4, alike=0.95)
    # The near one is the reference and the twin the far one, to 95 %.
    assert chosen == [2, 1]
    assert variants.diverse([near, far], reference, count=1, alike=1.0) == [1]
    assert variants.diverse([], reference, count=4, alike=0.9) == []
