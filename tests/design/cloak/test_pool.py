"""Cells that get the faces of another."""

import numpy as np
import pytest
from design_helpers import block, dataset_of, smooth_field

from mmdiff.cells import surface
from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.cells.symmetry import is_cubic
from mmdiff.design.cloak import pool as cloak_pool
from mmdiff.design.interpolate import pairs
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError
from mmdiff.fem.accuracy import Estimate
from mmdiff.run import workers

N = 8


def _ball(radius):
    """Field of a ball in the middle of the cell, in spacings."""
    place = np.indices((N, N, N)) - (N - 0.5)
    return np.clip(radius - np.sqrt((place**2).sum(0)), -2.8, 2.8)


def _faces(psi):
    """Voxels on a face of the cell, finer than the samples."""
    return surface.sample(psi, surface.corners(N, 4 * N))[0] > 0


def test_the_faces_are_those_of_the_body_and_the_inside_is_the_cells_own():
    psi, body = smooth_field(0.6, bump=-0.2), smooth_field(0.4)
    joined = cloak_pool.joined(psi, body)
    for axis in range(3):
        mine, its = (np.moveaxis(field, axis, 0)[0] for field in (joined, body))
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_allclose(joined[4:, 4:, 4:], psi[4:, 4:, 4:], atol=1e-12)
    assert (_faces(psi) != _faces(body)).mean() > 0.1
    assert (_faces(joined) != _faces(body)).mean() < 0.01
    assert is_cubic(joined) and is_load_bearing(surface.voxels(joined, N))


def test_what_falls_apart_is_not_taken():
    # A ball that does not touch the frame around it.
    assert cloak_pool.joined(_ball(4.6), smooth_field(0.3)) is None


def test_a_loose_piece_inside_is_left_out():
    body = smooth_field(0.3)
    assert not (body[5:, 5:, 5:] > 0).any()
    joined = cloak_pool.joined(np.maximum(body, _ball(1.5)), body)
    np.testing.assert_array_equal(joined > 0, body > 0)


def test_windows_are_round_and_go_through_the_cell():
    body = np.full((N, N, N), 2.8)
    cell = cloak_pool.windowed(body, 0.3)
    assert is_cubic(cell)
    face = _faces(cell)  # a quarter of it
    assert abs((~face).mean() - np.pi * 0.3**2) < 0.02
    np.testing.assert_array_equal(cell[:, -1, -1] > 0, False)
    # A face with a window lies on a closed one.
    assert (_faces(body) >= face).all() and (cell <= body).all()


def _estimate(k):
    constants, coarse, fine = (np.full(3, x) for x in (k, k + 0.2, k + 0.1))
    return Estimate(constants, 0 * fine, coarse, fine, 0.5, 0.0, True)


def test_more_cells_stand_before_that_of_the_body():
    fields = [smooth_field(volume) for volume in (0.4, 0.5, 0.6)]
    rows = [(psi, _estimate(k), k, k == 2) for k, psi in enumerate(fields)]
    pool = cloak_pool.cells(rows[:2]).with_cells(cloak_pool.cells(rows[2:]))
    assert pool.number.tolist() == [0, 2, 1] and pool.moved.tolist() == [0, 1, 0]
    np.testing.assert_allclose(pool.field(1), fields[2], rtol=1e-6)
    assert len(cloak_pool.cells([]).number) == 0
    # Eight samples along an octant: eight elements along a cell, or twice as many.
    for edge, off in ((N, 0.2), (2 * N, 0.1)):
        known = pool.on_grid(edge).constants
        np.testing.assert_allclose(known, pool.constants + off)


@pytest.mark.slow
def test_neighbours_with_the_same_faces_keep_the_stiffness_of_their_tensors():
    body = smooth_field(0.45)
    alone = body, _ball(9.0)
    fitted = [cloak_pool.joined(psi, body) for psi in alone]
    kept = []
    for fields in (alone, fitted):
        members = [
            Member(psi, np.ones(3), np.zeros(3), surface.volume(psi), "")
            for psi in fields
        ]
        kept.append(pairs.pair_stiffness(*members))
    assert kept[0] < 0.8  # walls that end in void
    assert kept[1] == pytest.approx(1, abs=0.1)


FIELDS = [smooth_field(volume) for volume in np.linspace(0.3, 0.7, 12)]
VOLUME = np.array([surface.volume(psi) for psi in FIELDS])


def _data(constants):
    return dataset_of(FIELDS, constants, VOLUME)


def test_of_the_isotropic_bodies_that_cells_fit_the_softest_is_taken(monkeypatch):
    c11 = np.linspace(0.3, 0.41, 12)
    zener = np.where(np.isin(np.arange(12), [2, 3, 5]), 1.005, 1.2)
    c44 = zener * c11 / 3
    data = _data(np.stack([c11, c11 / 3, c44], 1))
    fits = {2: 0.4, 3: 1.0, 5: 0.95}  # of the cells tried
    bodies = {row: data.fields(row) for row in fits}
    tried = {row: 0 for row in fits}

    def joined(psi, body):
        (row,) = (k for k, known in bodies.items() if np.array_equal(known, body))
        tried[row] += 1
        return psi if tried[row] <= fits[row] * 12 else None

    monkeypatch.setattr(cloak_pool, "joined", joined)
    monkeypatch.setattr(cloak_pool, "BAND", 1.0)
    found = cloak_pool.isotropic_body(data, 0.5)
    np.testing.assert_array_equal(found, bodies[3])


BLOCKS = dataset_of([block()], np.ones((1, 3)), [0.1])
PROPORTIONAL = _data(VOLUME[:, None] * np.array([0.4, 0.16, 0.12]))
OPTIONS = {"most": 4, "volume": 0.4}


@pytest.mark.parametrize(
    ("data", "reference", "options", "words"),
    [
        (PROPORTIONAL, "99", {}, "is no cell of the dataset, which holds 12. Pass 0"),
        (PROPORTIONAL, "isotropic", {"volume": 0.99}, "volume=0.99. Pass one of 0.3"),
        (BLOCKS, "0", {}, "references=0 is not load bearing. Pass another cell."),
    ],
)
def test_bodies_that_cannot_be_are_refused(tmp_path, data, reference, options, words):
    with pytest.raises(InputError, match=words):
        cloak_pool.reference_pool(data, reference, folder=tmp_path, **OPTIONS | options)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["4", "plates", "isotropic"])
def test_a_pool_is_made_once(tmp_path, reference, monkeypatch):
    def in_turn(prepare, units, *, workers, on_advance):
        return [(i, prepare()(*unit)) for i, unit in enumerate(units)]

    monkeypatch.setattr(workers, "run_units", in_turn)
    monkeypatch.setattr(cloak_pool, "CHUNK", 2)
    pool, again = (
        cloak_pool.reference_pool(PROPORTIONAL, reference, folder=tmp_path, **OPTIONS)
        for _ in range(2)
    )
    assert pool.number[0] == cloak_pool.SOLID and pool.number[-1] == cloak_pool.BODY
    assert len(pool.number) > 2 and not pool.moved.any()
    if reference == "4":
        body = PROPORTIONAL.fields(4).astype(np.float32)
        np.testing.assert_array_equal(pool.field(-1), body)
    for row, known in enumerate(pool.constants):
        psi = pool.field(row)
        faces = np.unique(psi[0] - pool.field(-1)[0])
        assert faces.max() <= 0 and (reference == "plates" or faces.min() == 0)
        np.testing.assert_allclose(cloak_pool.evaluate(psi).constants, known, rtol=2e-3)
    for one, other in zip(pool, again, strict=True):
        np.testing.assert_array_equal(one, other)
    parts = ["", *(f"_{i:03d}" for i in range(3 if reference == "plates" else 2))]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"pool_{reference}{part}.npz" for part in parts]
