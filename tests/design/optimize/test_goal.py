"""Objectives by name and from users' functions, and their scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import bounds, elasticity
from mmdiff.design.optimize import goal
from mmdiff.errors import InputError
from mmdiff.targets import target

CONSTANTS = np.array([0.21, 0.06, 0.05])
TENSOR = jnp.asarray(elasticity.cubic_to_voigt(CONSTANTS), jnp.float32)
GOALS = """
import jax.numpy as jnp

constant = 3.0

def vector(C):
    return C[:3, 0]

def undefined(C):
    return jnp.sqrt(-C[0, 0])

def kinked(C):
    return jnp.sqrt((C[0, 0] - C[1, 1]) ** 2)

def still(C):
    return 0.0 * C[0, 0]

def broken(C):
    return C[7]["a"]

def anisotropy(C):
    return -abs(2 * C[3, 3] - C[0, 0] + C[0, 1])

def first(C):
    return 2 * C[0, 0]
"""


def _value(found):
    return float(found.objective(found.params)(TENSOR))


@pytest.mark.parametrize(
    ("name", "modulus"), [("bulk", "K"), ("shear", "G"), ("young", "E")]
)
def test_moduli_are_compared_by_their_bounds(name, modulus):
    found = goal.choose(name)
    value = _value(found)
    # float32 against float64
    np.testing.assert_allclose(value, elasticity.moduli(CONSTANTS)[modulus], rtol=1e-6)
    share = bounds.hashin_shtrikman_ratios(CONSTANTS, 0.4)[modulus]
    np.testing.assert_allclose(found.score(value, 0.4), share, rtol=1e-6)
    assert found.show(0.98765) == f"{modulus}/{modulus}_HS 0.988"
    assert found.is_stiffness


@pytest.mark.parametrize("name", ["bulk", "shear", "young", "poisson", "target"])
def test_more_merit_is_better_in_every_objective(name):
    found = goal.choose(name, target.of_constants(CONSTANTS))
    value, volume = np.array([-0.02, 0.01, 0.03]), np.array([0.4, 0.4, 0.4])
    merit, score = (f(value, volume) for f in (found.merit, found.score))
    assert (np.diff(merit) > 0).all()
    sign = -1 if name in ("poisson", "target") else 1
    np.testing.assert_array_equal(score, sign * merit)


def test_weights_are_those_of_the_three_moduli():
    found = goal.choose("weighted", weights=(0.5, 2.0, 1.0))
    k, g = (elasticity.moduli(CONSTANTS)[name] for name in "KG")
    want = 0.5 * k + 2 * g + (CONSTANTS[0] - CONSTANTS[1]) / 2
    np.testing.assert_allclose(_value(found), want, rtol=1e-6)  # float32
    assert found.is_stiffness


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (np.nan, 1.0, 0.0)])
def test_weights_must_weigh_something(weights):
    with pytest.raises(InputError, match="weigh nothing. Give those of K"):
        goal.choose("weighted", weights=weights)


def test_poissons_ratio_is_minimized():
    found, nu = goal.choose("poisson"), elasticity.moduli(CONSTANTS)["nu"]
    np.testing.assert_allclose(_value(found), -nu, rtol=1e-6)  # float32
    assert found.score(_value(found), 0.3) == -_value(found)


def test_errors_are_scores_of_a_target():
    off = target.of_constants(CONSTANTS + 0.01 * elasticity.PAPER_RANGES)
    found = goal.choose("target", off)
    # 1 % of the range on each constant is a distance of 1 %.
    np.testing.assert_allclose(found.score(_value(found), 0.4), 0.01, rtol=1e-4)
    assert found.show(0.01) == "error 1 %"


@pytest.fixture
def goals(tmp_path, monkeypatch):
    """A file of functions in the current directory, a different one for each test."""
    goal._module.cache_clear()
    (tmp_path / "goals.py").write_text(GOALS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stiff", "objective 'stiff' is unknown. Use bulk, shear, young"),
        ("no_such_module:f", "no_such_module cannot be imported"),
        ("math:nothing", "math has no 'nothing'. Its functions: none."),
        ("goals.py:other", "Its functions: vector, undefined, kinked, still"),
        ("goals.py:constant", "is of type float, not a function"),
        ("goals.py:vector", r"returns an array of shape \(3,\)"),
        ("goals.py:undefined", "gives the value nan"),
        # The value is 0 and the slope of the root there infinite times 0.
        ("goals.py:kinked", "2 entries that are not finite"),
        ("goals.py:still", "does not change with the tensor"),
        ("goals.py:broken", "fails on a 6x6 tensor"),
    ],
)
def test_functions_that_cannot_be_used(goals, name, message):
    with pytest.raises(InputError, match=message):
        goal.choose(name)


def test_a_kink_at_isotropy_is_no_mistake(goals):
    assert goal.choose("goals.py:anisotropy").label == "anisotropy"


def test_a_function_of_the_user_is_found_by_file_or_module(goals):
    found = goal.choose("goals.py:first")
    np.testing.assert_allclose(_value(found), 0.42, rtol=1e-6)  # float32
    assert found.score(0.42, 0.4) == 0.42 and found.name == "goals.py:first"
    assert found.label == "first" and not found.is_stiffness
    function = goal.load("mmdiff.topopt.objectives:deviatoric")
    np.testing.assert_allclose(function(TENSOR), 0.075, rtol=1e-6)  # float32


def test_a_function_itself_is_no_objective_of_its_name():
    def bulk(tensor):
        return tensor[0, 0]

    found = goal.choose(bulk)
    assert found.label == "bulk" and not found.is_stiffness
    assert found.score(0.3, 0.4) == 0.3
    assert jax.grad(found.objective(None))(TENSOR)[0, 0] == 1
