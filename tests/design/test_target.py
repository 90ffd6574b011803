"""Targets: reading every form, and the messages for what cannot work."""

import re

import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.design import target
from mmdiff.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "0.110,0.045,0.040",
        " 0.110, 0.045 ,0.040 ",
        "C11=0.110,C12=0.045,C44=0.040",
        "C44=0.040, C11=0.110, C12=0.045",
    ],
)
def test_constants_are_read(text):
    asked = target.parse(text, volume=0.3)
    assert asked == target.Target((0.110, 0.045, 0.040), 0.3)


def test_moduli_are_converted_and_back():
    asked = target.parse("E=0.08, nu=0.29, zener=1.2")
    m = elasticity.moduli(np.array(asked.constants))
    # Closed formulas both ways: equal to rounding.
    np.testing.assert_allclose(
        [m["E"], m["nu"], m["zener"]], [0.08, 0.29, 1.2], rtol=1e-12
    )
    asked = target.parse("K=0.06,G=0.04,zener=0.9")
    m = elasticity.moduli(np.array(asked.constants))
    np.testing.assert_allclose(
        [m["K"], m["G"], m["zener"]], [0.06, 0.04, 0.9], rtol=1e-12
    )


def test_base_modulus_scales_the_target():
    asked = target.parse("23100,9450,8400", base=210000.0)
    np.testing.assert_allclose(asked.constants, (0.11, 0.045, 0.04), rtol=1e-12)
    moduli = target.parse("E=21000,nu=0.3,zener=1", base=210000.0)
    unit = target.parse("E=0.1,nu=0.3,zener=1")
    np.testing.assert_allclose(moduli.constants, unit.constants, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "volume", "part"),
    [
        ("0.1,0.2", None, "target '0.1,0.2' is not three constants."),
        ("a,b,c", None, "target 'a,b,c' holds something not a number."),
        ("E=1,nu=0.3", None, "is not three constants."),
        ("nan,0.1,0.1", None, "is not finite."),
        ("0.1,0.04,0.04", 1.5, "vf=1.5 is not between 0 and 1."),
        ("E=0.1,nu=0.7,zener=1", None, "nu=0.7, zener=1 is not a stable material"),
    ],
)
def test_unreadable_targets_say_what_was_seen(text, volume, part):
    with pytest.raises(InputError, match=re.escape(part)):
        target.parse(text, volume=volume)


def _message(constants, volume=None):
    with pytest.raises(InputError) as error:
        target.check(target.Target(constants, volume))
    return str(error.value)


def test_unstable_target():
    assert _message((0.04, 0.06, 0.02)) == (
        "target C11=0.04, C12=0.06, C44=0.02 is not a stable material: C11 - C12 = "
        "-0.02 must be positive (also C11 + 2*C12 > 0 and C44 > 0)."
    )
    assert "C44 = -0.01 must be positive" in _message((0.1, 0.04, -0.01))


def test_target_above_the_bulk_bound():
    # K = 0.21 at V = 0.3, where the bound is 0.8333 * 0.1404.
    message = _message((0.25, 0.19, 0.03), 0.30)
    assert message.startswith(
        "target bulk modulus 0.21 at vf 0.30 exceeds the Hashin-Shtrikman limit 0.117 "
        "for E=1, nu=0.3. Lower C or raise vf to at least "
    )
    assert message.endswith("To try anyway: --config.allow_infeasible=true")
    needed = float(re.search(r"at least (\d\.\d+)", message)[1])
    # The volume named is the one at which the bound meets the target, rounded.
    bound = elasticity.hashin_shtrikman(np.float64(needed))[0]
    assert abs(bound - 0.21) < 0.005


def test_target_above_the_shear_bound():
    assert "Voigt limit 0.115" in _message((0.15, 0.05, 0.2), 0.30)


def test_bounds_can_be_switched_off_but_not_stability():
    high = target.Target((0.25, 0.19, 0.03), 0.30)
    target.check(high, allow_infeasible=True)
    with pytest.raises(InputError, match="not a stable material"):
        target.check(target.Target((0.1, 0.2, 0.1), None), allow_infeasible=True)


def test_units_are_suspected():
    assert _message((2100.0, 900.0, 800.0)) == (
        "target C11=2100: this checkpoint expects stiffness divided by the base "
        "Young's modulus. Pass --config.base.E=210000 to give values in MPa."
    )


def test_the_solid_itself_is_allowed():
    solid = target.Target(tuple(0.99 * elasticity.isotropic()), None)
    assert target.check(solid) is None


def test_training_distance():
    known = np.array([[0.1, 0.04, 0.04, 0.3], [0.5, 0.2, 0.1, 0.6]])
    here = target.Target((0.1, 0.04, 0.04), 0.3)
    assert target.training_distance(here, known) == 0
    off = target.Target((0.1 + 0.1330768, 0.04, 0.04), 0.3)
    # One of four components is off by a tenth of its range.
    np.testing.assert_allclose(target.training_distance(off, known), 0.025, rtol=1e-6)
    free = target.Target((0.1 + 0.1330768, 0.04, 0.04), None)
    # A free volume does not count: one of three.
    expected = 0.1 / 3
    np.testing.assert_allclose(target.training_distance(free, known), expected)
