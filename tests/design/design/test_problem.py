"""Problems of a user's own: load cases, functions, constraints."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.design.design import loads, problem
from mmdiff.design.design.problem import Wish
from mmdiff.design.optimize import ranking
from mmdiff.design.optimize.problem import Constraints
from mmdiff.errors import InputError
from mmdiff.topopt.problem import constraints

CUBIC = np.array([0.2, 0.08, 0.05])
TENSOR = elasticity.cubic_to_voigt(CUBIC)
GOALS = """
import jax.numpy as jnp

def stiff(C):
    return C[0, 0]

def limits(C):
    return jnp.stack([0.06 - C[3, 3], C[0, 1] - 1.0])

def one(C):
    return 0.1 - C[0, 0]
"""


@pytest.fixture
def goals(tmp_path):
    path = tmp_path / "goals.py"
    path.write_text(GOALS)
    return path


def _value(goal, tensor=TENSOR):
    return float(goal.objective(goal.params)(jnp.asarray(tensor, jnp.float32)))


def test_unit_tension_gives_youngs_modulus():
    young = elasticity.moduli(CUBIC)["E"]
    found = _value(loads.goal_of("1,0,0,0,0,0", "stress"))
    assert found == pytest.approx(young, rel=1e-5)
    # Energies grow with the square of the load, weights are shares.
    twice = _value(loads.goal_of("2,0,0,0,0,0; 0,0,0,0,0,1", "stress", "1,3"))
    mean = (4 / young + 3 / CUBIC[2]) / 4
    assert twice == pytest.approx(1 / mean, rel=1e-5)


def test_strains_give_entries_of_the_tensor():
    goal = loads.goal_of("1,0,0,0,0,0; 0,0,0,1,0,0;", "strain", "2,1")
    assert _value(goal) == pytest.approx((2 * 0.2 + 0.05) / 3, rel=1e-5)
    assert goal.is_stiffness
    gradient = jax.grad(goal.objective(goal.params))(jnp.asarray(TENSOR, jnp.float32))
    assert np.count_nonzero(gradient) == 2


def test_energies_of_strain_and_stress_agree():
    strain = np.array([1, 0.5, 0, 0.2, 0, 0])
    stress = TENSOR @ strain
    texts = (",".join(map(str, load)) for load in (strain, stress))
    one, other = (
        loads.energies(TENSOR, text, kind)
        for text, kind in zip(texts, loads.KINDS, strict=True)
    )
    np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(one, strain @ stress / 2)


def test_functions_become_a_problem(goals):
    wish = Wish(objective=f"{goals}:stiff", constraints=f"{goals}:limits")
    limits = Constraints(0.3, "equal", 0.05, 0.01)
    ask = functools.partial(problem.request, wish, limits)
    found = pickle.loads(pickle.dumps(ask))()  # as workers get it
    assert found.problem.num_constraints == 2 + 2 + 1 + 2
    g = constraints(found.problem, found.limits, jnp.asarray(TENSOR, jnp.float32), 0.3)
    np.testing.assert_allclose(g[-2:], [0.01, -0.92], atol=1e-6)
    # The same function is the same problem: nothing is compiled again for it.
    assert ask().problem.extra is found.problem.extra


def test_unmet_constraints_are_named(goals):
    for name, part in (("limits", "constraint 0 is 0.01, above 0"), ("one", "")):
        wish = Wish(objective="bulk", constraints=f"{goals}:{name}")
        found = problem.request(wish, Constraints(0.3))
        flaws = ranking.unmet(CUBIC, 0.3, found.problem, found.limits)
        assert flaws == ((part,) if part else ())


def test_the_tiny_variant_is_one_of_the_configs():
    from mmdiff import main

    config = main.load_config("configs/design.py:tiny").config
    assert config.objective == config.loads == "" and config.load_kind == "strain"


@pytest.mark.parametrize(
    "text", ["1,2", "a,0,0,0,0,0", "0,0,0,0,0,0", "1,0,0,0,0,0;;", "inf,0,0,0,0,0"]
)
def test_loads_that_are_none_are_refused(text):
    if text.endswith(";;"):  # an empty end is none
        assert len(loads.parse_loads(text.strip(";"))) == 1
        return
    with pytest.raises(InputError, match="is no load case of six finite numbers"):
        loads.parse_loads(text)


def test_one_objective_is_asked_for():
    for words in ({}, {"objective": "bulk", "loads": "1,0,0,0,0,0"}):
        with pytest.raises(InputError, match="a design has one of them"):
            Wish(**words)
    with pytest.raises(InputError, match="load_kind=force is unknown"):
        loads.goal_of("1,0,0,0,0,0", "force")
    for weights in ("1,2", "0", "x", "nan"):
        with pytest.raises(InputError, match="are not 1 positive numbers"):
            loads.goal_of("1,0,0,0,0,0", "strain", weights)
