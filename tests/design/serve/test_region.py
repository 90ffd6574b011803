"""The region on the page is that of the shipped cells and of the bounds."""

import base64

import numpy as np
import pytest
import serve_helpers

from mmdiff import bounds
from mmdiff.data.dataset import load_dataset
from mmdiff.design.serve import region, settings
from mmdiff.targets import quantities

KNOWN = serve_helpers.known()["generate"]


def describe(**given):
    given = {key.replace("base_", "base."): value for key, value in given.items()}
    return region.describe(settings.of_request("generate", given, KNOWN))


def test_points_are_the_shipped_cells_and_curves_the_bounds():
    found, data = region.region(0.3), load_dataset()
    raw = base64.b64decode(found["points"])
    columns = np.frombuffer(raw, "<f4").reshape(len(found["axes"]), -1)
    values = dict(zip(found["axes"], columns, strict=True))
    np.testing.assert_allclose(values["V"], data.volume, atol=1e-6)
    np.testing.assert_allclose(values["C12"], data.constants[:, 1], atol=1e-6)
    np.testing.assert_allclose(
        values["E"], quantities.values(data.constants, ["E"])[:, 0], atol=1e-6
    )
    limits = bounds.hashin_shtrikman(np.array(found["volume"]))
    np.testing.assert_allclose(found["curves"]["K"], limits[0])


def test_another_solid_has_another_region():
    bulk = region.region(0.4)["curves"]["K"][50]
    assert bulk == pytest.approx(bounds.hashin_shtrikman(0.5, 0.4)[0])
    assert not np.allclose(region.points(0.4)[:, 0], region.points(0.3)[:, 0])


def test_a_target_is_described_with_what_follows_and_how_near_cells_are():
    found = describe(target="0.11,0.045,0.04", vf=0.3)
    assert found["ok"] and 0 <= found["distance"] < 0.01
    assert found["quantities"]["zener"] == pytest.approx(0.08 / 0.065)
    assert found["quantities"]["V"] == 0.3
    part = describe(target="E=0.1,nu=0.2", vf=0.0)
    assert part["ok"] and part["quantities"]["C44"] is None
    assert part["quantities"]["nu"] == 0.2 and part["quantities"]["V"] is None


def test_what_no_cell_has_is_said_as_the_library_says_it():
    found = describe(target="0.5,0.1,0.1", vf=0.3)
    assert not found["ok"] and found["quantities"]["C11"] == 0.5
    assert "exceeds the Hashin-Shtrikman limit 0.117" in found["message"]
    assert describe(target="0.5,0.1,0.1", vf=0.3, allow_infeasible=True)["ok"]
    assert "holds something not a number" in describe(target="a,b,c")["message"]
