"""What guides the sampler."""

import pytest

from mmdiff.design import sampler
from mmdiff.errors import InputError


def test_the_guide_is_the_one_of_its_name(monkeypatch):
    monkeypatch.setattr(
        sampler, "make_steer", lambda n, newton: ("finite elements", n, newton)
    )
    monkeypatch.setattr(
        sampler,
        "make_regressed_steer",
        lambda params, meta, count: ("network", meta["octant"], count),
    )
    assert sampler.choose_steer("homogenizer", 32, 3) == ("finite elements", 32, 3)
    # The shipped weights are of cells of 64^3 voxels.
    assert sampler.choose_steer("regressor", 32, 2) == ("network", 32, 2)
    assert sampler.choose_steer("regressor", 32, 0) is None
    assert sampler.choose_steer("homogenizer", 32, 0) is None


@pytest.mark.parametrize("newton", [0, 2])
def test_an_unknown_guide_is_named(newton):
    with pytest.raises(InputError, match="guide='oracle' is unknown. Use homogenizer"):
        sampler.choose_steer("oracle", 32, newton)


def test_a_regressor_of_other_cells_is_refused():
    with pytest.raises(InputError, match=r"cells of 64\^3 voxels and the network"):
        sampler.choose_steer("regressor", 8, 2)
