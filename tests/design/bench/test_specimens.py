"""The cells of benchmarks and tests: symmetric, reproducible, and what they claim."""

import numpy as np
import pytest

from mmdiff.cells.connectivity import is_load_bearing, periodic_pieces
from mmdiff.cells.symmetry import is_cubic, octant_to_cell
from mmdiff.design.bench import specimens

N = 16
ALL = specimens.specimens(N)
RANDOM = {name: cell for name, cell in ALL.items() if name.split()[-1].isdigit()}


def _kind(name):
    return {key: cell for key, cell in RANDOM.items() if key.startswith(name)}


@pytest.mark.parametrize("n", [8, 16, 20])
def test_all_are_cubic_densities(n):
    for name, octant in specimens.specimens(n).items():
        assert octant.shape == (n, n, n) and octant.dtype == float, name
        # float32 rounds equal voxels alike.
        assert is_cubic(octant) and is_cubic(octant.astype(np.float32)), name
        assert 0 <= octant.min() < octant.max() <= 1, name


def test_three_references_and_five_of_each_kind():
    assert list(ALL)[:3] == ["schwarz_p", "plates", "graded"] and len(ALL) == 23
    assert [len(_kind(kind)) for kind in specimens.KINDS] == [5, 5, 5, 5]
    assert list(specimens.specimens(8, 0)) == ["schwarz_p", "plates", "graded"]


def test_references_are_what_they_are_called():
    schwarz = ALL["schwarz_p"]
    assert set(np.unique(schwarz)) == {0, 1} and is_load_bearing(schwarz)
    # The level set of 30 % runs through whole orbits of voxels.
    assert abs(schwarz.mean() - 0.3) < 0.01
    # Walls of one voxel in 16, along the three faces of the octant.
    assert ALL["plates"].mean() == pytest.approx(1 - (1 - 1 / N) ** 3)
    assert is_load_bearing(ALL["plates"])
    graded = ALL["graded"]
    assert (graded.min(), graded.max()) == pytest.approx((0.02, 0.98))
    # Smooth: the density changes little from voxel to voxel.
    assert abs(np.diff(graded, axis=0)).max() < 0.1


@pytest.mark.parametrize("kind", ["network", "debris"])
def test_binary_kinds(kind):
    for octant in _kind(kind).values():
        assert set(np.unique(octant)) == {0, 1}
    volumes = [octant.mean() for octant in _kind("debris").values()]
    # Whole orbits of up to 6 voxels are switched.
    np.testing.assert_allclose(sorted(volumes), specimens.VOLUMES, atol=6 / N**3)


def test_networks_are_the_largest_piece():
    for name, octant in _kind("network").items():
        assert periodic_pieces(octant_to_cell(octant))[1] == 1, name
    pieces = [periodic_pieces(octant_to_cell(c))[1] for c in _kind("debris").values()]
    assert max(pieces) > 1


def test_grains_are_constant_over_two_decades():
    for octant in _kind("grains").values():
        values = np.unique(octant)
        assert 10 < len(values) <= specimens.NUM_GRAINS
        assert 0.01 <= values[0] < 0.1 < values[-1] <= 1


def test_cells_are_reproducible_and_different():
    for seed in range(8):
        np.testing.assert_array_equal(
            specimens.random_cell(N, seed), specimens.random_cell(N, seed)
        )
    cells = np.stack(list(ALL.values())).reshape(len(ALL), -1)
    # Any two differ in more than one voxel in fifty.
    differs = (abs(cells[:, None] - cells) > 1e-6).mean(-1)
    assert differs[~np.eye(len(ALL), dtype=bool)].min() > 0.02


def test_one_cell_at_two_resolutions():
    # The random fields are functions of place: twice as many voxels show the same cell.
    for seed in (2, 6):
        fine = specimens.random_cell(2 * N, seed)
        coarse = fine.reshape(N, 2, N, 2, N, 2).mean((1, 3, 5))
        error = abs(coarse - specimens.random_cell(N, seed)).mean()
        assert error < 0.05
