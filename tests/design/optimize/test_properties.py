"""Properties of optimized cells: numbers, remarks, summary."""

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.design.optimize import goal, properties
from mmdiff.design.optimize.ranking import Entry

CONSTANTS = np.array([0.30, 0.10, 0.09])
SETTINGS = {"base_E": 1.0, "base_nu": 0.3, "cell_size_mm": 8.0}
BULK = goal.choose("bulk")


def _results(entry):
    return properties.collect([entry], 1, {}, BULK, SETTINGS)


def test_numbers_of_a_cell(outcome):
    octant = outcome().octant
    found = properties.numbers(octant, CONSTANTS, size_mm=8.0)
    moduli, volume = elasticity.moduli(CONSTANTS), float(octant.mean())
    for name in ("K", "G", "E", "nu"):
        np.testing.assert_allclose(found[name], moduli[name], rtol=1e-12)
    np.testing.assert_allclose(found["Zener"], 0.9, rtol=1e-12)
    assert found["E/E_solid"] == found["E"]
    bound = bounds.hashin_shtrikman(volume)[0]
    np.testing.assert_allclose(found["K/K_HS"], moduli["K"] / bound, rtol=1e-12)
    assert found["pieces"] == 1 and found["volume"] == volume
    # 16 voxels make 8 mm.
    assert found["thinnest_wall_mm"] == 0.5 * found["thinnest_wall_voxels"]
    assert found["narrowest_hole_mm"] == 0.5 * found["narrowest_hole_voxels"]
    assert found["cubic_distance"] < 1e-12


def test_an_orthotropic_cell_has_the_moduli_of_its_closest_cubic_tensor(outcome):
    nine = np.array([0.2, 0.3, 0.4, 0.1, 0.11, 0.12, 0.05, 0.06, 0.07])
    results = _results(Entry("", 0, "random", outcome(constants=nine)))
    (found,) = results.numbers
    np.testing.assert_allclose(
        [found[name] for name in elasticity.NAMES], [0.3, 0.11, 0.06], rtol=1e-12
    )
    tensor = np.array(found["C"])
    assert tensor[1, 1] == 0.3 and tensor[1, 2] == 0.1 and tensor[3, 3] == 0.05
    assert found["cubic_distance"] == elasticity.cubic_distance(tensor) > 0.1
    (remark,) = properties.remarks(results, 0.0)
    assert "% away from cubic" in remark and "closest cubic tensor" in remark


def test_thin_walls_are_remarked_with_their_size(outcome):
    results = _results(Entry("", 0, "random", outcome()))
    results.numbers[0].update(thinnest_wall_voxels=1.0, thinnest_wall_mm=0.5)
    assert properties.remarks(results, 0.6) == [
        "cell_00: thinnest wall is 1 voxel = 0.5 mm at cell size 8 mm; below the 0.6 "
        "mm limit set by `min_wall`."
    ]
    assert not properties.remarks(results, 0.5)


@pytest.mark.parametrize(
    ("violation", "end"),
    [(0.0, "refined from 0.950."), (0.031, "0.950, with a constraint off by 3.1 %.")],
)
def test_a_repaired_constraint_is_in_the_summary(outcome, violation, end):
    refined = outcome()
    refined.refinement[0, 1] = violation
    entry = Entry("cell_00", 0, "random", refined)
    known = {"K/K_HS": 0.9, "K/K_HS before refinement": 0.95, "Zener": 1.0}
    assert properties.summary(entry, known, BULK).endswith(end)
