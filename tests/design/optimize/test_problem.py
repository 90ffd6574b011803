"""From what is asked to a problem: values, units, goals and how they are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.design.optimize import goal, problem
from mmdiff.errors import InputError
from mmdiff.topopt.optimize import STAGES
from mmdiff.topopt.problem import constraints

CONSTANTS = np.array([0.21, 0.06, 0.05])


def _value(asked, constants=CONSTANTS):
    tensor = jnp.asarray(elasticity.cubic_to_voigt(constants), jnp.float32)
    return float(asked.problem.objective(asked.limits.params)(tensor))


@pytest.mark.parametrize(
    ("objective", "modulus"), [("bulk", "K"), ("shear", "G"), ("young", "E")]
)
def test_moduli_are_told_by_their_bounds(objective, modulus):
    asked = problem.ask(objective, volume=0.4)
    value = _value(asked)
    # float32 against float64
    np.testing.assert_allclose(value, elasticity.moduli(CONSTANTS)[modulus], rtol=1e-6)
    share = bounds.hashin_shtrikman_ratios(CONSTANTS, 0.4)[modulus]
    np.testing.assert_allclose(asked.goal.score(value, 0.4), share, rtol=1e-6)
    assert asked.goal.show(0.98765) == f"{modulus}/{modulus}_HS 0.988"
    assert asked.goal.is_stiffness


def test_weights_are_those_of_the_three_moduli():
    asked = problem.ask("weighted", volume=0.4, weights=(0.5, 2.0, 1.0))
    k, g = (elasticity.moduli(CONSTANTS)[name] for name in "KG")
    want = 0.5 * k + 2 * g + (CONSTANTS[0] - CONSTANTS[1]) / 2
    np.testing.assert_allclose(_value(asked), want, rtol=1e-6)  # float32
    assert asked.goal.is_stiffness
    for weights in ((0.0, 0.0, 0.0), (np.nan, 1.0, 0.0)):
        with pytest.raises(InputError, match="weigh nothing. Give those of K"):
            problem.ask("weighted", volume=0.4, weights=weights)


def test_poisson_is_minimized_above_a_floor_of_stiffness():
    asked = problem.ask("poisson", volume=0.3, base=200.0)
    nu = elasticity.moduli(CONSTANTS)["nu"]
    np.testing.assert_allclose(_value(asked), -nu, rtol=1e-6)  # float32
    np.testing.assert_allclose(asked.goal.score(_value(asked), 0.3), nu, rtol=1e-6)
    assert asked.problem.stiff and asked.limits.young == 0.01
    assert "using min_E=2, 1 % of the solid's" in asked.notes[0]
    given = problem.ask("poisson", volume=0.3, base=200.0, min_young=10.0)
    assert given.limits.young == 0.05 and not given.notes


def test_a_target_is_read_in_units_of_the_base_material():
    asked = problem.ask("target", target="21,6,5", volume=0.4, base=100.0)
    assert asked.target.constants == (0.21, 0.06, 0.05)
    np.testing.assert_allclose(_value(asked), 0, atol=2e-6)  # sqrt(1e-12) inside
    off = CONSTANTS + 0.01 * elasticity.PAPER_RANGES
    # 1 % of the range on each constant is a distance of 1 %.
    found = asked.goal.score(_value(asked, off), 0.4)
    np.testing.assert_allclose(found, 0.01, rtol=1e-4)  # float32
    assert asked.goal.show(0.01) == "error 1 %"


@pytest.mark.parametrize("options", [{}, {"volume_is": "equal"}])
@pytest.mark.parametrize("isotropy", [0.0, 0.05])
@pytest.mark.parametrize("min_young", [0.0, 0.1])
def test_constraints_are_those_asked_for(options, isotropy, min_young):
    asked = problem.ask(
        "bulk", volume=0.4, isotropy=isotropy, min_young=min_young, **options
    )
    tensor = jnp.asarray(elasticity.cubic_to_voigt(CONSTANTS), jnp.float32)
    found = constraints(asked.problem, asked.limits, tensor, jnp.float32(0.3))
    assert len(found) == asked.problem.num_constraints
    zener, young = (elasticity.moduli(CONSTANTS)[k] for k in ("zener", "E"))
    expected = [0.3 / 0.4 - 1]
    if options:
        expected.append(1 - 0.3 / 0.4)
    if isotropy:
        expected += [np.log(zener) - np.log(1.05), -np.log(zener) - np.log(1.05)]
    if min_young:
        expected.append(1 - young / 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32


def test_a_function_of_the_user_is_found_by_file(tmp_path):
    path = tmp_path / "goals.py"
    path.write_text("def first(C):\n    return 2 * C[0, 0]\n")
    asked = problem.ask(f"{path}:first", volume=0.4)
    np.testing.assert_allclose(_value(asked), 0.42, rtol=1e-6)  # float32
    assert asked.goal.score(0.42, 0.4) == 0.42
    assert asked.goal.label == "first" and not asked.goal.is_stiffness


def test_a_function_of_the_user_is_found_by_module():
    function = goal.load("mmdiff.topopt.objectives:deviatoric")
    tensor = jnp.asarray(elasticity.cubic_to_voigt(CONSTANTS), jnp.float32)
    np.testing.assert_allclose(function(tensor), 0.075, rtol=1e-6)  # float32


def test_a_kink_at_isotropy_is_no_mistake():
    def anisotropy(tensor):
        return -abs(2 * tensor[3, 3] - tensor[0, 0] + tensor[0, 1])

    assert goal.check(anisotropy, "goals.py:anisotropy") is None  # not refused


def test_a_gradient_that_is_not_finite_is_refused():
    def kinked(tensor):
        return jnp.sqrt((tensor[0, 0] - tensor[1, 1]) ** 2)

    # The value is 0 and the slope of the root there infinite times 0.
    assert jnp.isnan(jax.grad(kinked)(jnp.eye(6))).any()
    with pytest.raises(InputError, match="2 entries that are not finite"):
        goal.check(kinked, "goals.py:kinked")


def test_a_target_of_the_optimizer_fixes_all_constants_and_no_other_volume():
    with pytest.raises(InputError, match="target=E=0.1 leaves constants free"):
        problem.ask("target", target="E=0.1", volume=0.4)
    with pytest.raises(InputError, match="another volume than vf=0.4. Give it once"):
        problem.ask("target", target="E=0.1,nu=0.3,zener=1,V=0.3", volume=0.4)
    # Starts of the model may be asked for by parts.
    assert problem.ask("bulk", target="E=0.1", volume=0.4).target.asked == (("E", 0.1),)


def test_bounds_may_be_skipped():
    with pytest.raises(InputError, match="min_E=0.5 is above 0.4"):
        problem.ask("bulk", volume=0.4, min_young=0.5)
    assert problem.ask("bulk", volume=0.4, min_young=0.5, allow_infeasible=True)


def test_settings_of_the_loop():
    found = problem.settings(resolution=64, radius=1.5, robust=0.1, nu=0.2)
    assert found.stages == STAGES
    assert found.etas == (0.6, 0.5, 0.4) and found.nu == 0.2 and found.radius == 1.5
    assert problem.settings(resolution=64).etas == (0.5,)


def test_as_many_steps_as_usual_change_nothing():
    assert problem.share_out(STAGES, sum(stage.steps for stage in STAGES)) == STAGES


@pytest.mark.parametrize("steps", [6, 7, 33, 105, 106, 500])
def test_steps_are_shared_out_exactly(steps):
    stages = problem.share_out(STAGES, steps)
    counts = [stage.steps for stage in stages]
    assert sum(counts) == steps and min(counts) >= 1
    assert [s._replace(steps=0) for s in stages] == [
        s._replace(steps=0) for s in STAGES
    ]
