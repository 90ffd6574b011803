"""Feasibility: what no cell can be is refused, what one can be passes."""

import re

import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.errors import InputError
from mmdiff.targets import feasibility, quantities, target


def _message(asked, volume=None):
    if isinstance(asked, str):
        asked = target.parse(asked, volume=volume)
    else:
        asked = target.of_constants(asked, volume)
    with pytest.raises(InputError) as error:
        feasibility.check_feasible(asked)
    return str(error.value)


def test_unstable_target():
    assert _message((0.04, 0.06, 0.02)) == (
        "target C11=0.04, C12=0.06, C44=0.02 is not a stable material: C11 - C12 = "
        "-0.02 must be positive (also C11 + 2*C12 > 0 and C44 > 0)."
    )
    assert "C44 = -0.01 must be positive" in _message((0.1, 0.04, -0.01))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("E=0.1,nu=0.7,zener=1", "nu=0.7, zener=1 is not a stable material: -1 < nu"),
        ("nu=-1", "-1 < nu < 0.5 and zener > 0 are needed. Change them."),
        ("zener=0", "-1 < nu < 0.5 and zener > 0 are needed."),
        ("E=-0.1", "E = -0.1 must be positive. Change it."),
        ("K=0,G=0.1", "K = 0 must be positive. Change it."),
        ("G=0", "G = 0 must be positive. Change it."),
        ("C11=-1", "C11 = -1 must be positive. Change it."),
        ("C44=0", "target C44=0 is not a stable material: C44 = 0 must be positive."),
        ("C11=0.1,C12=0.2", "C11 - C12 = -0.1 must be positive (also C11 + 2*C12 > 0)"),
        ("C11=0.1,E=0.2", "E = 0.2 must not exceed C11. Lower E or raise C11."),
        ("K=0.01,E=0.09", "no finite constants have these values together."),
        ("K=0.01,E=0.1", "must be positive"),
        ("E=0.1,zener=2,C44=0.05", "must be positive"),  # nu = 1
    ],
)
def test_unstable_parts(text, part):
    assert part in _message(text)


def test_target_above_the_bulk_bound():
    # K = 0.21 at V = 0.3, where the bound is 0.8333 * 0.1404.
    message = _message((0.25, 0.19, 0.03), 0.30)
    assert message.startswith(
        "target bulk modulus 0.21 at volume 0.30 exceeds the Hashin-Shtrikman limit "
        "0.117 for E=1, nu=0.3. Lower C or raise the volume to at least "
    )
    assert message.endswith("To try anyway: `allow_infeasible=True`")
    needed = float(re.search(r"at least (\d\.\d+)", message)[1])
    # The volume named is the one at which the bound meets the target, rounded.
    bound = bounds.hashin_shtrikman(np.float64(needed))[0]
    assert abs(bound - 0.21) < 0.005
    assert _message("K=0.21", 0.30) == message
    assert _message("K=0.21,nu=0.2", 0.30) == message


def test_target_above_the_shear_bound():
    assert "C44 = 0.2 at volume 0.30" in _message((0.15, 0.05, 0.2), 0.30)
    assert "Voigt limit 0.115" in _message("G=0.2", 0.30)
    assert "(C11 - C12)/2 = C44/zener = 0.2" in _message("zener=0.5,C44=0.1", 0.30)


@pytest.mark.parametrize(
    ("name", "sign"), [("E", 1), ("C11", 1), ("C12", 1), ("C12", -1)]
)
def test_bounds_of_one_quantity_are_those_of_all_tensors(name, sign):
    volume = 0.3
    bulk = float(bounds.hashin_shtrikman(np.float64(volume))[0])
    shear = volume / (2 * (1 + elasticity.NU))
    k, mu = np.meshgrid(np.linspace(1e-6, bulk, 400), np.linspace(1e-6, shear, 400))
    tensors = np.stack([k + 4 * mu / 3, k - 2 * mu / 3, mu], -1).reshape(-1, 3)
    most = sign * (sign * quantities.values(tensors, [name])).max()
    inside = target.parse(f"{name}={0.999 * most}", volume=volume)
    assert feasibility.check_feasible(inside) is None
    # The grid has the corner itself, but for 1e-6.
    outside = target.parse(f"{name}={1.001 * most}", volume=volume)
    with pytest.raises(InputError, match=f"target {name} = .* at volume 0.30"):
        feasibility.check_feasible(outside)
    feasibility.check_feasible(outside, allow_infeasible=True)


def test_shear_moduli_that_are_too_stiff_together():
    # Laminates have 0.116 and 0.070, or 0.070 and 0.135; Voigt's bound is 0.154.
    said = _message((0.31, 0.07, 0.11), 0.4)
    assert "C44 = 0.11 and (C11 - C12)/2 = 0.12 at volume 0.40 exceed together" in said
    assert said.endswith(feasibility.ANYWAY)
    for constants in ((0.24, 0.105, 0.114), (0.3233, 0.0633, 0.069)):
        feasibility.check_feasible(target.of_constants(constants, 0.4))
    feasibility.check_feasible(target.of_constants((0.31, 0.07, 0.11), None))


@pytest.mark.parametrize("other", ["E=0.2", "C11=0.2", "C12=-0.06"])
def test_a_zener_ratio_that_needs_too_much_shear(other):
    volume = 0.3
    bulk = float(bounds.hashin_shtrikman(np.float64(volume))[0])
    shear = volume / (2 * (1 + elasticity.NU))
    # The largest ratio of all tensors that have the other quantity.
    name, value = other.split("=")
    k, mu = np.meshgrid(np.linspace(1e-6, bulk, 2000), np.linspace(1e-6, shear, 2000))
    tensors = np.stack([k + 4 * mu / 3, k - 2 * mu / 3, mu], -1).reshape(-1, 3)
    near = abs(quantities.values(tensors, [name])[:, 0] - float(value)) < 2e-4
    most = shear / tensors[near, 2].min()
    feasibility.check_feasible(
        target.parse(f"{other},zener={0.98 * most}", volume=volume)
    )
    # 1 % for the grid.
    with pytest.raises(InputError, match="needs C44 of at least .* Lower zener or"):
        feasibility.check_feasible(
            target.parse(f"{other},zener={1.02 * most}", volume=volume)
        )


def test_bounds_can_be_switched_off_but_not_stability():
    high = target.of_constants((0.25, 0.19, 0.03), 0.30)
    feasibility.check_feasible(high, allow_infeasible=True)
    with pytest.raises(InputError, match="not a stable material"):
        feasibility.check_feasible(
            target.of_constants((0.1, 0.2, 0.1)), allow_infeasible=True
        )


@pytest.mark.parametrize("name", ["C11", "K", "E", "G", "C12"])
def test_units_are_suspected(name):
    start = f"target {name}=2100: this checkpoint expects stiffness divided by the base"
    assert _message(f"{name}=2100") == (
        f"{start} Young's modulus. Pass `base=210000` to give values in MPa."
    )


def test_the_solid_itself_is_allowed():
    solid = target.of_constants(0.99 * elasticity.isotropic())
    assert feasibility.check_feasible(solid) is None
    assert feasibility.check_feasible(target.parse("E=0.99")) is None
    assert feasibility.check_feasible(target.parse("nu=-0.9,zener=30")) is None


KNOWN = np.array([[0.1, 0.04, 0.04, 0.3], [0.5, 0.2, 0.1, 0.6]])


def test_training_distance():
    here = target.of_constants((0.1, 0.04, 0.04), 0.3)
    assert feasibility.training_distance(here, KNOWN) == 0
    off = target.of_constants((0.1 + 0.1330768, 0.04, 0.04), 0.3)
    # One of four components is off by a tenth of its range.
    got = feasibility.training_distance(off, KNOWN)
    np.testing.assert_allclose(got, 0.025, rtol=1e-6)
    free = target.of_constants((0.1 + 0.1330768, 0.04, 0.04))
    # A free volume does not count: one of three.
    np.testing.assert_allclose(feasibility.training_distance(free, KNOWN), 0.1 / 3)


def test_training_distance_of_what_is_asked_alone():
    exact = target.parse("K=0.06,C44=0.04")
    np.testing.assert_allclose(
        feasibility.training_distance(exact, KNOWN), 0, atol=1e-12
    )
    off = target.parse("K=0.06,C44=0.04", volume=0.45)
    # The volume is one of three.
    np.testing.assert_allclose(feasibility.training_distance(off, KNOWN), 0.05)


NINE = np.array([0.13, 0.11, 0.095, 0.04, 0.05, 0.045, 0.036, 0.042, 0.045])


def test_orthotropic_targets():
    def check(nine, volume=0.3, **options):
        asked = target.OrthotropicTarget(tuple(nine), volume)
        feasibility.check_feasible(asked, **options)

    check(NINE)
    check(NINE, None)
    check(NINE, 0.05, allow_infeasible=True)
    sheared = NINE.copy()
    sheared[6] = 0.118
    with pytest.raises(
        InputError, match="at volume 0.30 exceeds the Voigt limit .* for"
    ):
        check(sheared)
    with pytest.raises(InputError, match="target C11=27300: .* Pass `base=210000`"):
        check(210000 * NINE)
    coupled = NINE.copy()
    coupled[5] = 0.2
    with pytest.raises(InputError, match="not a stable material: its least eigenvalue"):
        check(coupled, allow_infeasible=True)
    # Voigt's bound itself: the solid's share.
    solid = elasticity.isotropic()[2]
    for share, fits in ((0.2999, True), (0.301, False)):
        sheared[6] = share * solid
        if fits:
            check(sheared)
            continue
        with pytest.raises(InputError, match="it has 0.301 of the energy of the solid"):
            check(sheared)


def test_the_bulk_bound_holds_for_any_symmetry():
    cubic = elasticity.from_k_g_zener(np.float64(0.13), np.float64(0.06), 1.0)
    nine = elasticity.voigt_to_orthotropic(elasticity.cubic_to_voigt(cubic))
    nine = nine + np.array([0.004, -0.004, *7 * [0.0]])
    with pytest.raises(
        InputError, match="bulk modulus 0.13 at volume 0.30 exceeds the H"
    ):
        feasibility.check_feasible(target.OrthotropicTarget(tuple(nine), 0.3))
