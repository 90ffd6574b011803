"""A cloak that is designed, made of cells and kept."""

import dataclasses

import numpy as np

from mmdiff.design.cloak import case as cases


def test_a_case_is_found_once(case, make_model, tmp_path):
    limits = {"steps": 30, "exchanges": 20, "own_cells": 0}
    found = cases.solve(case, make_model, tmp_path, **limits)
    assert found.percent("cells") < found.percent("before") / 10
    assert found.percent("cells") <= found.percent("nearest")
    classes = case.geometry.num_classes
    assert found.result["constants"].shape == (classes, 3)
    assert found.result["pick"].shape == (classes,)
    for name in ("u0", "u_before", "u_cells"):
        assert found.result[name].shape == (3, 9, 9, 3)
    again = cases.solve(case, lambda reference: 1 / 0, tmp_path, **limits)
    assert found.result.keys() == again.result.keys()
    for name, value in found.result.items():
        np.testing.assert_array_equal(again.result[name], value)
    # The model of the test is none of elements; theirs have no cloak for its choice.
    assert found.result["finer"].shape == found.result["finer_before"].shape == (1,)
    assert found.result["finer_before"] > 0.02 and found.percent("finer") > 0
    # Constants stand where their cells stand.
    constants = found.constants
    assert (constants[case.geometry.hole] == 0).all()
    assert (constants[0, 0] == case.pool.constants[-1]).all()
    picked = case.pool.constants[found.result["pick"]]
    np.testing.assert_array_equal(
        constants[case.geometry.cloak], picked[case.geometry.index]
    )


def test_cells_that_were_made_are_chosen_from(case, make_model, tmp_path, monkeypatch):
    added = case.pool._replace(
        samples=case.pool.samples[:1],
        constants=np.array([[1 / 3, 0.1, 0.1]]),
        grids=np.ones((1, 2, 3)),
        number=np.array([7]),
        moved=np.array([True]),
    )

    def make_cells(pool, designed, **options):
        assert options["most"] == 5 and len(designed) == case.geometry.num_classes
        return pool.with_cells(added)

    monkeypatch.setattr(cases.place, "make_cells", make_cells)
    limits = {"steps": 30, "exchanges": 20, "own_cells": 5}
    found = cases.solve(case, make_model, tmp_path, **limits)
    assert found.pool.moved.sum() == 2 and found.pool.number[-2] == 7
    assert (found.result["pick"] == len(found.pool.number) - 2).any()


def test_several_loads_get_fewer_steps(case, make_model, tmp_path):
    seen = []
    model = make_model(case.pool.constants[-1])
    steps = model.slope

    def slope(constants):
        seen.append(1)
        return steps(constants)

    for loads in (1, 6):
        several = model._replace(u0=np.ones((loads, *model.u0.shape[1:])), slope=slope)
        seen.append(0)
        limits = {"steps": 0, "exchanges": 4, "own_cells": 0}
        cases.find(case, several, tmp_path, **limits)
        (tmp_path / f"{case.name}_designed.npz").unlink()
    # Three prices of one iteration at least; then exchanges, a quarter under six loads.
    first, second = (len(part) for part in "".join(map(str, seen)).split("0")[1:])
    assert first > second


def test_a_finer_mesh_of_the_body_alone_is_that_without_a_cloak(found):
    body = len(found.pool.number) - 1
    pick = np.full(found.geometry.num_classes, body)
    result = {**found.result, "pick": pick}
    finer = cases.finer(dataclasses.replace(found, result=result))
    np.testing.assert_allclose(finer["finer"], finer["finer_before"], rtol=1e-4)
