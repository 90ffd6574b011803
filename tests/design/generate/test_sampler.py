"""What guides the sampler, and what it is told."""

import jax
import numpy as np
import pytest

from mmdiff import bounds
from mmdiff.design.generate import fem_guidance as guide
from mmdiff.design.generate import sampler
from mmdiff.errors import InputError
from mmdiff.targets import quantities, target


def test_the_guide_is_the_one_of_its_name(monkeypatch):
    def FemGuidance(n, newton, elements, nu):
        return lambda: ("finite elements", n, newton, elements, nu)

    def make_regressor_guidance(params, meta, count):
        return lambda: ("network", meta["octant"], count)

    monkeypatch.setattr(sampler, "FemGuidance", FemGuidance)
    monkeypatch.setattr(sampler, "make_regressor_guidance", make_regressor_guidance)
    choose = sampler.choose_guidance
    assert choose("homogenizer", 32, 3)() == ("finite elements", 32, 3, 16, 0.3)
    assert choose("fine", 32, 2)() == ("finite elements", 32, 2, 32, 0.3)
    assert choose("homogenizer", 8, 1, nu=0.4)() == ("finite elements", 8, 1, 8, 0.4)
    # The shipped weights are of cells of 64^3 voxels.
    assert choose("regressor", 32, 2)() == ("network", 32, 2)
    assert choose("regressor", 32, 0) is None and choose("homogenizer", 32, 0) is None


@pytest.mark.parametrize("newton", [0, 2])
def test_an_unknown_guide_is_named(newton):
    with pytest.raises(InputError, match="guide='oracle' is unknown. Use homogenizer"):
        sampler.choose_guidance("oracle", 32, newton)


def test_a_regressor_of_other_cells_is_refused():
    with pytest.raises(
        InputError, match=r"cells of 64\^3 voxels and the .* `guide=homogenizer`"
    ):
        sampler.choose_guidance("regressor", 8, 2)


def test_the_regressor_knows_one_base_material():
    with pytest.raises(InputError, match="of nu=0.3, not 0.4. Use `guide=homogenizer`"):
        sampler.choose_guidance("regressor", 32, 2, nu=0.4)


KNOWN = [[0.1, 0.04, 0.03, 0.3], [0.12, 0.05, 0.05, 0.35], [0.3, 0.1, 0.1, 0.5]]


@pytest.fixture
def told(monkeypatch):
    """`draw(text, volume)` that returns what network and guidance are told."""

    def make_draw(params, meta, *, num_samples, guide, **settings):
        return lambda key, values, wanted, first: (values, wanted)

    monkeypatch.setattr(sampler, "make_draw", make_draw)
    meta = {"octant": 32, "training": {"labels": KNOWN}, "base": {"nu": 0.3}}
    key = jax.random.key(0)

    def run(text, volume=None, count=5, nu=0.3, **share):
        draw = sampler.make_sampler({}, meta, num_samples=count, nu=nu)
        return draw(key, target.parse(text, volume=volume), **share)

    return run


@pytest.mark.parametrize("volume", [None, 0.3])
def test_a_tensor_is_told_as_it_is(told, volume):
    values, wanted = told("0.11,0.045,0.04", volume)
    expected = {"C11": 0.11, "C12": 0.045, "C44": 0.04}
    assert values == expected | ({} if volume is None else {"V": volume})
    nan = np.nan if volume is None else volume
    np.testing.assert_array_equal(
        wanted, np.float32([0.11, 0.045, 0.04, *5 * [np.nan], nan])
    )


@pytest.mark.parametrize(("volume", "of"), [(None, 0.3), (0.35, 0.35)])
def test_conditions_are_of_the_base_material_of_training(told, volume, of):
    # A free volume is that of the nearest known cell, for the map alone.
    asked = [0.11, 0.045, 0.04]
    values, wanted = told("0.11,0.045,0.04", volume, nu=0.4)
    expected = bounds.rebase(np.array(asked), of, 0.4, 0.3)
    told_constants = [values[name] for name in ("C11", "C12", "C44")]
    np.testing.assert_allclose(told_constants, expected, rtol=1e-12)
    np.testing.assert_allclose(wanted[:3], asked, rtol=1e-6)  # guidance as asked
    assert ("V" in values) == (volume is not None)


def test_what_is_left_free_is_completed_with_the_base_material_asked(told):
    values, wanted = told("zener=1", 0.3, count=2, nu=0.4)
    known = sampler.known_cells(
        {"training": {"labels": KNOWN}, "base": {"nu": 0.3}}, nu=0.4
    )
    assert (known[:, 1] > np.array(KNOWN)[:, 1]).all()  # it widens more
    np.testing.assert_allclose(
        2 * wanted[:, 2] / (wanted[:, 0] - wanted[:, 1]), 1, 2e-3
    )
    constants = np.column_stack([values[name] for name in ("C11", "C12", "C44")])
    np.testing.assert_allclose(
        bounds.rebase(constants, 0.3, 0.3, 0.4), wanted[:, :3], rtol=1e-5
    )


@pytest.mark.parametrize("text", ["0.11,0.045,0.04", "nu=0.2,zener=1"])
def test_open_void_is_told_where_it_is_asked(told, text):
    meta = {"octant": 32, "training": {"labels": KNOWN}, "base": {"nu": 0.3}}
    draw = sampler.make_sampler({}, meta, num_samples=2, drainable=True)
    values, _ = draw(jax.random.key(0), target.parse(text))
    assert values["drainable"] == 1 and "drainable" not in told(text)[0]


@pytest.mark.parametrize("volume", [None, 0.33])
def test_a_part_of_a_tensor_is_completed_for_each_sample(told, volume):
    values, wanted = told("nu=0.2,zener=1", volume)
    assert values.keys() == {"C11", "C12", "C44", "V"}
    constants = np.column_stack([values[name] for name in ("C11", "C12", "C44")])
    got = quantities.values(constants, ("nu", "zener"))
    np.testing.assert_allclose(got, np.tile([0.2, 1.0], (5, 1)), atol=1e-3)
    share = told("nu=0.2,zener=1", volume, count=2, first=2, total=5)
    for name, value in values.items():
        np.testing.assert_array_equal(share[0][name], value[2:4])
    np.testing.assert_array_equal(share[1], wanted[2:4])
    last = told("nu=0.2,zener=1", volume, count=2, first=4, total=5)[1]
    np.testing.assert_array_equal(last, wanted[[4, 4]])
    # The network is told a volume, the guidance only that which is asked.
    assert wanted.shape == (5, len(guide.NAMES))
    np.testing.assert_allclose(wanted[:, :3], constants, rtol=1e-6)
    assert np.isnan(wanted[:, 3:8]).all()
    if volume is None:
        assert set(values["V"]) <= {row[3] for row in KNOWN}
        assert np.isnan(wanted[:, 8]).all()
    else:
        assert (values["V"] == volume).all()
        np.testing.assert_array_equal(wanted[:, 8], np.float32(volume))
