"""Known cells: the best near ones come first, and no two alike."""

import numpy as np
import pytest
from design_helpers import dataset_of_voxels, wave

from mmdiff import bounds, elasticity
from mmdiff.cells.voxels import threshold_to_volume
from mmdiff.design.optimize import known, problem
from mmdiff.design.optimize.problem import Constraints


def _octant(seed):
    noise = np.random.default_rng(seed).normal(size=(8, 8, 8))
    inner = np.sort(np.indices((8, 8, 8)), axis=0)  # the same for permuted axes
    return threshold_to_volume(wave() + 0.3 * seed * noise[tuple(inner)], 0.4)


def _data(shares, *, volume=0.4, zener=1.0, seeds=None):
    """Cells of nu 0.3 and shares of the bound of E at their volumes."""
    volume = np.broadcast_to(volume, len(shares)).astype(float)
    young = np.array(shares) * [bounds.hashin_shtrikman(v)[2] for v in volume]
    nu = np.full(len(shares), 0.3)
    shear = young / (2 * (1 + nu)) * np.broadcast_to(zener, len(shares))
    octants = [_octant(seed) for seed in seeds or range(len(shares))]
    constants = elasticity.from_e_nu_zener(
        young, nu, np.broadcast_to(zener, len(shares)).astype(float)
    )
    assert np.allclose(constants[:, 2], shear)
    return dataset_of_voxels(octants, constants, volume)


YOUNG = problem.request("young", Constraints(0.4, isotropy=0.1))


def test_the_best_come_first_and_twins_are_left_out():
    data = _data([0.8, 0.95, 0.94, 0.9], seeds=[0, 1, 1, 2])
    assert known.best_rows(data, YOUNG, 4) == [1, 3, 0]
    assert known.best_rows(data, YOUNG, 2) == [1, 3]


def test_shares_of_the_bound_count_and_not_stiffness():
    data = _data([0.9, 0.8], volume=[0.38, 0.42])
    assert data.constants[1, 0] > data.constants[0, 0]
    assert known.best_rows(data, YOUNG, 2) == [0, 1]


def test_far_from_volume_or_constraints_is_last():
    # A little off is what steps of a surface mend.
    data = _data(
        [0.8, 0.9, 0.95, 0.99, 0.85],
        volume=[0.4, 0.44, 0.4, 0.5, 0.4],
        zener=[1.0, 1.0, 1.5, 1.0, 1.15],
    )
    assert known.best_rows(data, YOUNG, 5) == [1, 4, 0, 2, 3]
    free = problem.request("young", Constraints(0.4))
    assert known.best_rows(data, free, 5) == [2, 1, 4, 0, 3]
    equal = problem.request("young", Constraints(0.5, "equal"))
    assert known.best_rows(data, equal, 1) == [3]


def test_cells_that_drain_are_first_where_it_is_asked():
    data = _data([0.95, 0.9, 0.8])
    data.info["records"][0]["trapped"] = 0.1
    assert known.best_rows(data, YOUNG, 3) == [0, 1, 2]
    assert known.best_rows(data, YOUNG, 3, drainable=True) == [1, 2, 0]


def test_less_is_better_for_poissons_ratio_above_the_floor():
    nu, young = np.array([-0.5, -0.8, -0.7]), np.array([0.02, 0.005, 0.02])
    constants = elasticity.from_e_nu_zener(young, nu, np.full(3, 0.2))
    octants = [_octant(seed) for seed in range(3)]
    data = dataset_of_voxels(octants, constants, np.full(3, 0.4))
    asked = problem.request("poisson", Constraints(0.4))
    assert known.best_rows(data, asked, 3) == [2, 0, 1]


def test_the_nearest_to_a_target_are_first():
    data = _data([0.9, 0.7, 0.8])
    text = ",".join(f"{c:.6f}" for c in data.constants[1] + 1e-3)
    asked = problem.request("target", Constraints(0.4, "equal"), target=text)
    assert known.best_rows(data, asked, 3) == [1, 2, 0]


@pytest.mark.parametrize("scale", [1.0, np.nan])
def test_functions_of_the_user_rank_cells_and_nan_is_last(scale):
    data = _data([0.7, 0.9, 0.8])
    constants = data.constants.copy()
    constants[1] *= scale

    def first(tensor):
        return tensor[0, 0]

    asked = problem.request(first, Constraints(0.4))
    rows = known.best_rows(data._replace(constants=constants), asked, 3)
    assert rows == ([1, 2, 0] if scale == 1 else [2, 0, 1])
