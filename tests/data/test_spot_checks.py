"""Spot checks of labels: which cells, what is compared, and the finite elements."""

import types

import numpy as np
import pytest
from data_helpers import BASE, smooth_fields, write_cells

from mmdiff.cells import distance, surface, voxels
from mmdiff.data import spot_checks
from mmdiff.fem import accuracy

CONSTANTS = np.array([[0.3, 0.1, 0.1], [0.2, 0.1, 0.05], [0.5, 0.2, 0.2]])


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Three smooth cells with an uncertainty of 0.003, 0.002 and 0.001."""
    packed = distance.pack(smooth_fields(8, [0.3, 0.5, 0.6]))
    records = [{"id": 10 + i, "split": 0} for i in range(3)]
    root = tmp_path_factory.mktemp("spots") / "data.zarr"
    return write_cells(root, packed, CONSTANTS, records, n=8)


def test_a_share_is_chosen_evenly():
    able = np.arange(100, 600, 2)
    np.testing.assert_array_equal(spot_checks.choose(able), [100, 598])
    chosen = spot_checks.choose(able, 0.2)
    assert len(chosen) == 50 and np.isin(chosen, able).all()
    assert set(np.diff(chosen)) <= {10, 12}
    np.testing.assert_array_equal(spot_checks.choose(able[:3]), [100])
    np.testing.assert_array_equal(spot_checks.choose(able, 1.0), able)


def test_labels_are_compared_with_what_the_fields_give(labels):
    seen = []

    def estimate(psi, **solver):
        seen.append((psi, solver))
        # The first constant of the first cell is off by more than its uncertainty.
        return types.SimpleNamespace(constants=fine[len(seen) - 1])

    fine = CONSTANTS[[0, 2]] + np.array([[0.004, 0.0015, 0], [0, 0, 0]])
    count = []
    checks = spot_checks.spot_check(
        labels, [0, 2], estimate=estimate, on_cell=lambda: count.append(1)
    )
    assert len(count) == 2 and checks.ids == [10, 12] and checks.seconds >= 0
    for i, (psi, solver) in zip((0, 2), seen, strict=True):
        np.testing.assert_array_equal(psi, labels.fields([i])[0])
        assert solver == {name: BASE[name] for name in ("void", "nu")}
    np.testing.assert_array_equal(checks.stored, CONSTANTS[[0, 2]])
    np.testing.assert_array_equal(checks.fine, fine)
    octants = [surface.voxels(psi, 8) for psi in labels.fields([0, 2])]
    assert checks.thin.tolist() == [voxels.thin_share(octant) for octant in octants]
    assert spot_checks.within(checks) == pytest.approx(5 / 6)
    relative = spot_checks.summary(checks)[1]
    most = 100 * np.hypot(0.004, 0.0015) / np.linalg.norm(fine[0])
    assert relative["measure"] == "% of the norm of C"
    assert relative["most"] == pytest.approx(most)
    assert relative["median"] == pytest.approx(most / 2)


@pytest.mark.slow
def test_tensors_are_those_of_the_surface(labels):
    checks = spot_checks.spot_check(labels, [1])
    want = accuracy.estimate(labels.fields([1])[0])
    np.testing.assert_array_equal(checks.fine[0], want.constants)
