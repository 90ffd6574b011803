"""Cells that get the faces of another."""

import numpy as np
import pytest
from design_helpers import dataset_of_voxels

from mmdiff.cells import surface
from mmdiff.cells.connectivity import is_load_bearing
from mmdiff.cells.symmetry import is_cubic
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.cloak import pool as cloak_pool
from mmdiff.design.interpolate import pairs
from mmdiff.design.interpolate.family import Member
from mmdiff.errors import InputError

N = 8
VOID = 1e-6


def _wave(n=N):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return wave[:, None, None] + wave[:, None] + wave


def _frame(volume, n=N):
    return threshold_to_volume(_wave(n), volume)


def _ball(volume, n=N):
    return threshold_to_volume(-_wave(n), volume)


@pytest.fixture(scope="module")
def evaluate():
    return cloak_pool.make_evaluate(VOID)


def test_a_smaller_octant_keeps_volume_and_symmetry():
    coarse = cloak_pool.shrunk(_frame(0.4, 16), 8)
    assert coarse.shape == (8, 8, 8) and is_cubic(coarse)
    assert coarse.mean() == pytest.approx(0.4, abs=0.01)


def _layers(octant):
    return octant[0], octant[:, 0], octant[:, :, 0]


def test_the_faces_are_those_of_the_body_and_the_inside_is_the_cells_own():
    octant, body = _ball(0.6), _frame(0.5)
    joined = cloak_pool.joined(octant, body)
    for mine, its in zip(_layers(joined), _layers(body), strict=True):
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(joined[1:, 1:, 1:], octant[1:, 1:, 1:])
    assert is_load_bearing(joined)


def test_what_falls_apart_is_not_taken():
    # A ball inside of a frame that it does not touch.
    assert cloak_pool.joined(_ball(0.05), _frame(0.2)) is None


def test_a_loose_piece_inside_is_left_out():
    octant = _frame(0.3)
    octant[-1, -1, -1] = 1
    np.testing.assert_array_equal(cloak_pool.joined(octant, _frame(0.3)), _frame(0.3))


def test_the_pool_holds_each_cell_once_with_its_own_constants(evaluate):
    # Twice as fine as the body, and every one twice.
    fine = [_frame(v, 2 * N) for v in (0.3, 0.5, 0.7)] + [_ball(0.7, 2 * N)]
    octants = np.stack(fine * 2).astype(np.uint8)
    volume = octants.mean((1, 2, 3))
    constants = volume[:, None] * np.array([0.4, 0.16, 0.12])
    data = dataset_of_voxels(octants, constants)
    body = _frame(0.4)
    seen = []
    pool = cloak_pool.make_pool(
        data, body, evaluate, most=10, advance=lambda: seen.append(1)
    )
    assert pool.number[0] == cloak_pool.SOLID and pool.number[-1] == cloak_pool.BODY
    assert len(seen) == len(pool.number) - 1 == 5
    assert sorted(number % 4 for number in pool.number[1:-1]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(pool.octants[-1], body)
    assert pool.octants[0].mean() > 0.7  # solid inside
    for octant, own in zip(pool.octants, pool.constants, strict=True):
        np.testing.assert_array_equal(octant[0], body[0])
        np.testing.assert_allclose(own, evaluate(octant)[0], rtol=1e-5)

    fewer = cloak_pool.make_pool(data, body, evaluate, most=2)
    np.testing.assert_array_equal(fewer.octants[:-1], pool.octants[:3])


@pytest.mark.slow
def test_neighbours_with_the_same_faces_keep_the_stiffness_of_their_tensors():
    body = _frame(0.45)
    alone = _frame(0.45), _ball(0.6)
    fitted = [cloak_pool.joined(octant, body) for octant in alone]
    kept = []
    for octants in (alone, fitted):
        members = [
            Member(surface.from_voxels(o), np.ones(3), np.zeros(3), o.mean(), "")
            for o in octants
        ]
        kept.append(pairs.pair_stiffness(*members))
    assert kept[0] < 0.8  # walls that end in void
    assert kept[1] == pytest.approx(1, abs=0.1)


def test_of_the_isotropic_bodies_that_cells_fit_the_softest_is_taken():
    octants = np.stack([_ball(volume) for volume in np.linspace(0.5, 0.9, 12)])
    volume = octants.mean((1, 2, 3))
    constants = volume[:, None] * np.array([0.4, 0.16, 0.12])
    data = dataset_of_voxels(octants, constants)
    # Balls touch each other in the middle of the faces, where these frames are void.
    bodies = [_ball(0.55), _ball(0.65), _ball(0.75), _frame(0.1)]
    stiff = dict(zip([b.sum() for b in bodies], (0.3, 0.2, 0.1, 0.01), strict=True))
    zener = dict(zip([b.sum() for b in bodies], (1.0, 1.005, 1.2, 1.0), strict=True))

    def evaluate(octant):
        c11, ratio = stiff[octant.sum()], zener[octant.sum()]
        return np.array([c11, c11 / 3, ratio * c11 / 3]), True

    found = cloak_pool.isotropic_body(data, bodies, evaluate)
    np.testing.assert_array_equal(found, bodies[1])
    np.testing.assert_array_equal(
        cloak_pool.isotropic_body(data, [bodies[2]], evaluate), bodies[2]
    )


OCTANTS = np.stack([_frame(volume) for volume in np.linspace(0.1, 0.95, 24)])
VOLUME = OCTANTS.mean((1, 2, 3))
DATA = dataset_of_voxels(OCTANTS, VOLUME[:, None] * np.array([0.4, 0.16, 0.12]))


OPTIONS = {"edge": 2 * N, "void": VOID, "most": 3, "volume": 0.25}
THIN = np.zeros((1, N, N, N), np.uint8)
THIN[:, 0, 0, 0] = THIN[:, 6, 6, 6] = 1
APART = dataset_of_voxels(THIN, np.ones((1, 3)))


@pytest.mark.parametrize(
    ("data", "reference", "options", "words"),
    [
        (DATA, "99", {}, "99 is no cell of the dataset, which holds 24. Pass 0 to 23"),
        (DATA, "isotropic", {"volume": 0.99}, "volume=0.99. Pass one of 0.11"),
        (APART, "0", {"edge": 4}, "falls apart at 4.3 voxels. Set `cell_voxels` and"),
    ],
)
def test_bodies_that_cannot_be_are_refused(tmp_path, data, reference, options, words):
    with pytest.raises(InputError, match=words):
        cloak_pool.reference_pool(data, reference, folder=tmp_path, **OPTIONS | options)


@pytest.mark.parametrize("reference", ["4", "plates", "isotropic"])
def test_a_pool_is_made_once(tmp_path, reference):
    pool, again = (
        cloak_pool.reference_pool(DATA, reference, folder=tmp_path, **OPTIONS)
        for _ in range(2)
    )
    if reference == "4":
        np.testing.assert_array_equal(pool.octants[-1], OCTANTS[4])
    assert pool.number[-1] == cloak_pool.BODY and len(pool.number) == 5
    for one, other in zip(pool, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == [
        f"pool_{reference}_16_1e-06.npz"
    ]
