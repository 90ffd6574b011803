"""Properties and table of cells: the numbers of the cells, in units of the base."""

import numpy as np
import pytest
from design_helpers import smooth_field
from field_helpers import estimate

from mmdiff import elasticity
from mmdiff.design.generate import properties
from mmdiff.design.generate.cell import make_cell
from mmdiff.targets.target import of_constants, parse


def _cell(goal, *rest):
    psi = smooth_field()
    return make_cell(psi, estimate(psi), goal, *rest)


def test_values_and_table_hold_the_numbers_of_the_cells():
    goal = of_constants((0.25, 0.08, 0.06))
    cell = _cell(goal)
    settings = {"base_E": 2.0, "counts": {"sampled": 4}, "cell_size_mm": 12.0}
    values = properties.values(goal, [cell], settings)
    first = values["cells"][0]
    keys = "C K G E nu Zener volume printability error residual solves".split()
    assert set(keys) <= set(first)
    c11, c12, c44 = 2 * cell.constants
    np.testing.assert_allclose(first["C"][0][:3], [c11, c12, c12], rtol=1e-12)
    np.testing.assert_allclose(first["C"][3][3], c44, rtol=1e-12)
    np.testing.assert_allclose(first["K"], (c11 + 2 * c12) / 3, rtol=1e-12)
    doubt = [first["uncertainty"][name] for name in elasticity.NAMES]
    np.testing.assert_allclose(doubt, 2 * cell.uncertainty, rtol=1e-12)
    printed = first["printability"]
    assert printed["wall"] == pytest.approx(12 * cell.printability.wall)
    assert printed["trapped"] == cell.printability.trapped
    assert values["resolution"] == 128 and values["counts"] == {"sampled": 4}
    rows = properties.table(goal, [cell], 1.0, 12.0)
    assert rows[1]["C11"] == f"{cell.constants[0]:.4f}"
    assert rows[1]["wall mm"] == f"{printed['wall']:.2f}"
    worst = max(cell.uncertainty / cell.constants)
    assert rows[1]["+- %"] == f"{100 * worst:.2f}"


def test_the_history_of_polishing_is_reported():
    goal = parse("K=0.2,nu=0.1", volume=0.3)
    cell = _cell(goal, (0.2, 0.1), (0.5, 0.4))
    values = properties.values(goal, [cell], {"base_E": 10.0, "cell_size_mm": 10.0})
    history = values["cells"][0]["history"]
    assert history == {"error": [0.2, 0.1], "volume": [0.5, 0.4]}
    assert values["target"] == {
        "asked": {"K": 2.0, "nu": 0.1},
        "C11": pytest.approx(10 * 0.6 * 0.9 / 1.1),  # s = 3 K / (1 + nu), s (1 - nu)
        "C12": pytest.approx(10 * 0.6 * 0.1 / 1.1),
        "C44": None,
        "volume": 0.3,
    }


def test_the_table_leaves_free_what_is_free():
    goal = parse("E=0.1,nu=0.25", volume=None)
    cell = _cell(goal)
    rows = properties.table(goal, [cell])
    assert [*rows[0]][:7] == ["", "C11", "C12", "C44", "E", "nu", "V"]
    asked, got = ([*row.values()] for row in rows)
    # E = 0.1 and nu = 1/4: s = 0.1 / (1 / 2) / (5 / 4) = 0.16.
    expected = ["asked", "0.1200", "0.0400", "", "0.1000", "0.250", "free"]
    assert asked == expected + 8 * [""]
    assert len(got) == len(asked) and "" not in got
    young = elasticity.moduli(cell.constants)["E"]
    assert got[4] == f"{young:.4f}"
    zener = parse("zener=2,C44=0.03")
    asked, _ = properties.table(zener, [cell], 10.0)
    assert asked["C11"] == asked["C12"] == "" and asked["C44"] == "0.3"
    assert asked["Zener"] == "2.000"
