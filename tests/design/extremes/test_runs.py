"""Variants of a cell: what is kept and counted, and cells too fine for the model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.extremes import quest, runs
from mmdiff.design.extremes.quest import Extreme, Shape
from mmdiff.diffusion.conditions import fit_conditions
from mmdiff.models.noise_codec import NoiseCodec
from mmdiff.topopt.interface import Evaluation

N = 8
QUEST = quest.make_quest("bulk", 0.45, isotropy=0.05, floor=0.01)
SIZES = [0.7, 0.8, 0.9]
CONSTANTS = np.array([0.4, 0.16, 0.12])


def _evaluate(octant, fields=None):
    constants = octant.mean() * CONSTANTS
    return Evaluation(constants, np.zeros(1), 1e-6, True, None)


def _frame(n):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return threshold_to_volume(wave[:, None, None] + wave[:, None] + wave, 0.4)


def _varied(octant, state, make_bridge, **options):
    best = Shape(octant, octant.mean() * CONSTANTS)
    record = Extreme("bulk", "random", 0, "random", best, best)
    usual = {"n": N, "sizes": SIZES, "spent": 0, "steps": 0}
    usual |= {"keep": 2, "alike": 1.0, "loss": 0.05} | options
    return runs.varied(
        QUEST, record, jax.random.key(0), state, make_bridge, _evaluate, **usual
    )


@pytest.fixture
def bridge():
    """A bridge whose noise is the octant itself, and what it was asked."""
    asked = []

    def decode(noise, cond, wanted=None):
        asked.append(wanted)
        return jnp.asarray(noise)

    points = np.outer([0.2, 0.4, 0.6], np.append(CONSTANTS, 1.0))
    scaling = fit_conditions(("C11", "C12", "C44", "V"), points)
    return (NoiseCodec(lambda key, x0, cond: 2 * x0, decode), scaling), asked


def test_variants_are_refined_counted_and_kept(bridge, tmp_path):
    made, asked = bridge
    octant = _frame(N)
    found, returned = _varied(octant, tmp_path, lambda: made)
    assert returned == 1.0 and asked == [None] * 4
    assert found and {record.kind for record in found} == {"variant"}
    for record in found:
        assert f"{SIZES[record.number]:g} of new noise" in record.source
        share = (record.after.octant == octant).mean()
        assert record.similarity >= share  # the half shift may be nearer
        # The sample and the look that begins its refinement.
        assert record.solutions == 2 and record.spent == 0
    assert 1 <= sum(record.kept for record in found) <= 2

    # As many voxels, hence the same constants here: more than the cell has is not had.
    none, _ = _varied(octant, tmp_path, lambda: made, loss=-0.1)
    assert not any(record.kept for record in none)

    def never():
        raise AssertionError("sampled again")

    again, _ = _varied(octant, tmp_path, never)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.after.octant, other.after.octant)
        assert one.kept == other.kept and one.similarity == other.similarity


def test_guided_variants_are_asked_for_the_cell_itself(bridge, tmp_path):
    made, asked = bridge
    octant = _frame(N)
    found, _ = _varied(octant, tmp_path, lambda: made, spent=22)
    # The way back of the unchanged noise shows the inversion alone.
    assert asked[0] is None and all(wanted is not None for wanted in asked[1:])
    np.testing.assert_allclose(asked[1][:3], octant.mean() * CONSTANTS, rtol=1e-6)
    assert {record.spent for record in found} == {22}


def test_a_finer_cell_is_coarsened_or_left_alone(bridge, tmp_path):
    made, _ = bridge
    found, returned = _varied(_frame(2 * N), tmp_path, lambda: made)
    assert returned == 1.0
    assert all(len(record.after.octant) == N for record in found)
    # Single voxels in a void: one in eight of a block, nothing that bears load.
    dust = np.zeros((2 * N,) * 3, np.uint8)
    dust[1::4, 1::4, 1::4] = 1
    found, returned = _varied(dust, tmp_path / "dust", lambda: made)
    assert found == [] and np.isnan(returned)
