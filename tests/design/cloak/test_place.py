"""Cells made for the constants that were designed."""

import numpy as np
import pytest
from design_helpers import smooth_field

from mmdiff.cells.symmetry import is_cubic
from mmdiff.design.cloak import place
from mmdiff.design.cloak import pool as pools
from mmdiff.elasticity import PAPER_RANGES
from mmdiff.run import workers

N = 8


def test_only_what_no_cell_has_is_made():
    known = np.array([[0.3, 0.1, 0.1], [0.5, 0.2, 0.2]])
    designed = np.concatenate([known, known + 1e-4, known + 0.01])
    np.testing.assert_array_equal(place.targets(designed, known, 9), designed[4:])
    assert not len(place.targets(designed, known, 0))


def test_places_of_nearly_the_same_constants_share_a_cell():
    middles = np.array([[0.2, 0.1, 0.05], [0.6, 0.2, 0.15], [0.9, 0.4, 0.3]])
    noise = np.random.default_rng(0).normal(size=(3, 20, 3)) * 1e-3 * PAPER_RANGES
    designed = (middles[:, None] + noise).reshape(-1, 3)
    found = place.targets(designed, np.array([[1.3, 0.6, 0.4]]), 3)
    np.testing.assert_allclose(np.sort(found, 0), middles, atol=2e-3)


def _pool():
    fields = smooth_field(0.5, bump=0.1), smooth_field(0.45)
    numbers = (3, pools.BODY)
    return pools.cells(
        [(p, pools.evaluate(p), k, False) for p, k in zip(fields, numbers, strict=True)]
    )


@pytest.mark.slow
def test_a_cell_gets_the_constants_of_its_place_and_keeps_its_faces(
    tmp_path, monkeypatch
):
    def in_turn(prepare, units, *, workers, on_advance):
        return [(i, prepare()(*unit)) for i, unit in enumerate(units)]

    monkeypatch.setattr(workers, "run_units", in_turn)
    pool = _pool()
    goal = pool.constants[:1] + np.array([[0.01, 0.004, 0.002]])
    options = {"most": 1, "folder": tmp_path, "name": "case"}
    found = place.make_cells(pool, goal, **options)
    assert found.number.tolist() == [3, 3, pools.BODY]
    assert found.moved.tolist() == [False, True, False]
    miss = place.range_error(pool.constants[:1], goal)[0]
    # Half of so few samples is held.
    assert place.range_error(found.constants[1:2], goal)[0] < miss / 3
    psi = found.field(1)
    np.testing.assert_array_equal(psi[:2], pool.field(0)[:2])
    assert is_cubic(psi) and (psi != pool.field(0)).any()
    np.testing.assert_allclose(
        pools.evaluate(psi).constants, found.constants[1], rtol=1e-4
    )
    # A second run reads it.
    monkeypatch.setattr(place, "moved", lambda *known: 1 / 0)
    again = place.make_cells(pool, goal, **options)
    np.testing.assert_array_equal(again.samples, found.samples)
