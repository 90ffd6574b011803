"""`mm.optimize`: one call, the same numbers as the experiment, early refusals."""

import numpy as np
import pytest

import mmdiff as mm
from mmdiff.cells import surface
from mmdiff.cells.printable import printability
from mmdiff.cells.symmetry import octant_to_cell
from mmdiff.design.optimize import starts
from mmdiff.design.optimize.ranking import Entry
from mmdiff.fem import accuracy

SMALL = {"volume": 0.4, "design_resolution": 16, "steps": 6}


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        ("stiff", {}, "objective 'stiff' is unknown"),
        ("target", {}, "needs more than its name. Pass a target"),
        ("bulk", {"volume": 2.0}, "volume=2.0 is too large"),
        ("bulk", {"isotropic": 0.0}, "isotropic=0.0 is too small"),
        ("bulk", {"design_resolution": 20}, "size: `design_resolution=24`"),
        ("bulk", {"resolution": 96}, "resolution=96 is not one of"),
        ("bulk", {"steps": 2}, "steps=2 is too small"),
        ("bulk", {"start": np.full((8, 8, 8), 2.0)}, "array 0 holds values from 2"),
        (mm.target("E=0.1"), {}, "leaves constants free"),
        (mm.target("0.1,0.04,0.04", volume=0.4), {}, "with `volume`"),
    ],
)
def test_refusals_come_early(objective, options, message):
    with pytest.raises(ValueError, match=message):
        mm.optimize(objective, **options)


def test_the_design_is_that_of_the_best_start(monkeypatch, outcome):
    asked = {}

    def run_starts(begun, request, method):
        asked.update(begun=begun, request=request, method=method)
        return [Entry("", i, kind, outcome(i)) for i, (kind, _) in enumerate(begun)]

    monkeypatch.setattr("mmdiff.design.optimize.runs.run_starts", run_starts)
    psi = outcome().psi
    octant = surface.voxels(psi, 8)
    fine = np.ones((16, 16, 16), np.float32)
    found = mm.optimize(
        mm.target("0.1,0.04,0.04"),
        start=[octant, fine],
        isotropic=0.1,
        resolution=64,
        **SMALL,
    )
    assert found.value == 1 and found.flaws == ()
    fine_octant = octant_to_cell(surface.voxels(psi, 32))
    np.testing.assert_array_equal(found.voxels, fine_octant)
    assert found.tensor[3, 3] == found.constants[2]
    assert found.volume == outcome().volume and found.printability == printability(psi)
    assert {len(column) for column in found.history.values()} == {3}
    assert asked["method"].n == 8 and asked["request"].limits.band == 0.1
    assert asked["request"].target.volume == 0.4
    (_, first), (_, second) = asked["begun"]
    np.testing.assert_array_equal(first, starts.soften(octant))
    np.testing.assert_array_equal(second, starts.soften(np.ones((8, 8, 8))))


@pytest.mark.slow
def test_numbers_are_those_of_the_cell():
    found = mm.optimize("shear", symmetry="orthotropic", **SMALL)
    again = accuracy.estimate(found.psi, symmetry="orthotropic")
    assert (abs(again.constants - found.constants) < 0.1 * found.uncertainty).all()
    shear = np.trace(found.tensor[3:, 3:]) / 3
    np.testing.assert_allclose(found.value, shear, rtol=1e-5)
    assert not found.flaws
