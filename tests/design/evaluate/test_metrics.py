"""What is measured of a model, on cells whose measures are known."""

import numpy as np
import pytest

from mmdiff.cells.voxels import agreement, pack
from mmdiff.design.evaluate import metrics
from mmdiff.design.generate.cell import Cell
from mmdiff.targets.target import of_constants

N = 8


def _octant(seed):
    return (np.random.default_rng(seed).random((N, N, N)) < 0.5).astype(np.uint8)


def _cell(constants, seed):
    constants = np.array(constants)
    return Cell(
        psi=_octant(seed) - 0.5,
        constants=constants,
        uncertainty=np.array([0.02, 0.01, 0.005]),
        coarse=constants,
        volume=0.4,
        error=0.5,  # what is stated of it is not asked
        relative_error=0.5,
        residual=1e-6,
        history=(0.1, 0.01),
        volumes=(0.41, 0.4),
        solves=7 + seed,
        sampled=constants,
        as_voxels=1.05 * constants,
    )


def test_similarity_within_is_the_mean_of_the_pairs():
    a, b = _octant(0), _octant(1)
    one = agreement(a, pack(b[None]), half_shift=True)[0]
    np.testing.assert_allclose(metrics.similarity_within([a, a, b]), (1 + 2 * one) / 3)
    assert np.isnan(metrics.similarity_within([a]))


@pytest.fixture
def records():
    goal = of_constants((0.2, 0.1, 0.05), 0.4)
    known = pack(_octant(0)[None])
    sampled = [_cell([0.21, 0.1, 0.05], 0), _cell([0.24, 0.1, 0.05], 1)]
    cells = [_cell([0.2, 0.1, 0.05], 0), _cell([0.22, 0.1, 0.05], 1)]
    options = {"flaw": lambda cell: "thin walls" if cell.constants[0] > 0.23 else ""}
    full = metrics.measure(goal, cells, sampled, 2, **options)
    for cell, record in zip(cells, full["cells"], strict=True):
        record["nearest"] = metrics.nearest(cell.octant, known)
    empty = metrics.measure(goal, [], [], 4, **options)
    return [{**r, "seconds": 3.0, "known": None} for r in (full, empty)]


def test_summary(records):
    got = metrics.summarize(records)
    unit = 1 / (3 * 1.330768)
    np.testing.assert_allclose(got["raw_error_mean"], 0.025 * unit)
    np.testing.assert_allclose(got["raw_error_best"], 0.01 * unit)
    np.testing.assert_allclose(got["error_mean"], 0.01 * unit)
    assert got["error_best"] == 0
    np.testing.assert_allclose(got["relative_mean"], 0.1 / 3 / 2)
    assert got["valid"] == 0.25 and got["answered"] == 0.5
    assert got["solves_median"] == 7.5
    # Three seconds for two cells; three more were for none.
    assert got["seconds"] == 3.0 and got["seconds_median"] == 1.5
    assert got["nearest"] > 0.7  # one of the two is the training cell itself
    assert got["reached"] == 0.5
    assert got["raw_printable"] == 0.5 and got["printable"] == 1
    # The constants of the voxels are 5 % larger.
    goal, ranges = np.array([0.2, 0.1, 0.05]), np.array([1.330768, 0.667355, 0.383357])
    np.testing.assert_allclose(got["voxel_error_best"], (0.05 * goal / ranges).mean())
    np.testing.assert_allclose(got["voxel_relative_mean"], 0.05 + 0.1 / 6 * 1.05)
    np.testing.assert_allclose(got["uncertainty"], (0.1 * goal / ranges).mean())
    assert got["volume_off"] == 0.0
    records[0]["cells"][0]["volume"] = 0.5
    np.testing.assert_allclose(metrics.summarize(records)["volume_off"], 0.05)


def test_comparison_has_a_row_for_each_kind(records):
    rows = metrics.comparison(metrics.summarize(records), True)
    kinds = ["raw", "raw, as voxels", "polished", "polished, as voxels"]
    assert [row[""] for row in rows][-4:] == [f"mmdiff, {kind}" for kind in kinds]
    assert [*rows[0].values()] == ["paper v1", "2.55", "1.74", "", "", "3.00"]
    assert rows[-2]["best of each %"] == "0.00" and rows[-1]["valid %"] == "25.0"
    assert rows[-1]["best of each %"] == "0.72" and rows[-3]["s per cell"] == ""
    assert len(metrics.comparison(metrics.summarize(records), False)) == 5


def test_groups_by_the_bin_of_the_target(records):
    constants, volume = np.array([[0.2, 0.1, 0.05]]), np.array([0.4])
    far = {"C11": 0.9, "C12": 0.3, "C44": 0.3, "V": 0.9}
    free = {"C12": None, "asked": {"C11": 0.2}}
    records = [records[0], records[0] | far, records[0] | free, records[1]]
    rows = [[*row.values()] for row in metrics.groups(records, constants, volume)]
    assert [row[:2] for row in rows] == [
        *(["in filled bins", "2"], ["in empty bins", "1"], ["all", "4"])
    ]
    # Raw errors of 0.01 and 0.04 of three ranges of 1.330768.
    assert rows[0][2] == "0.63 / 0.63 / 0.25"
    row = dict(zip(metrics.groups(records, constants, volume)[0], rows[0], strict=True))
    assert row["best within 0.1 %"] == "50 %" and rows[1][7] == "100 %"
    assert rows[1][8] == "0.500 / 0.500"
    assert row["printable %: raw, delivered"] == "50, 100"
    assert row["+- %"] == "1.44" and row["solves, s per cell"] == "8, 1.5"
    (none,) = metrics.groups(records[2:3], constants, volume)
    assert none["targets"] == "all"


def test_groups_by_the_word_of_the_list(records):
    records = [r | {"known": told} for r in records for told in (True, False, True)]
    rows = metrics.groups(records, np.array([[0.2, 0.1, 0.05]]), np.array([0.4]))
    assert [(row["targets"], row["number"]) for row in rows] == [
        *(("a cell is known", "4"), ("none is known", "2"), ("all", "6"))
    ]


def test_new_bins(records):
    constants, volume = np.array([[0.2, 0.1, 0.05]]), np.array([0.4])
    assert metrics.new_bins(records, constants, volume)[1] <= 1
    far = np.array([[0.9, 0.3, 0.3]]), np.array([0.9])
    filled, fresh = metrics.new_bins(records, *far)
    assert filled == fresh >= 1
    assert metrics.new_bins(records[1:], *far) == (0, 0)


def test_a_model_without_any_valid_cell(records):
    got = metrics.summarize(records[1:])
    assert np.isnan(got["error_mean"]) and got["answered"] == 0
