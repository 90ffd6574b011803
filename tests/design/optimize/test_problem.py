"""From a request to a problem: values, units, constraints and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiff import elasticity
from mmdiff.design.optimize.problem import Constraints, request
from mmdiff.errors import InputError
from mmdiff.targets.target import Target, of_constants
from mmdiff.topopt.problem import constraints

CONSTANTS = np.array([0.21, 0.06, 0.05])
LOOSE = Constraints(0.4)


def test_poisson_has_a_floor_of_stiffness():
    asked = request("poisson", Constraints(0.3), base=200.0)
    assert asked.problem.stiff and asked.limits.young == 0.01
    assert "using min_young=2, 1 % of the solid's" in asked.notes[0]
    given = request("poisson", Constraints(0.3, min_young=10.0), base=200.0)
    assert given.limits.young == 0.05 and not given.notes


def test_a_target_is_read_in_units_of_the_base_material():
    asked = request("target", LOOSE, target="21,6,5", base=100.0)
    assert asked.target.constants == (0.21, 0.06, 0.05)
    np.testing.assert_array_equal(asked.limits.params, CONSTANTS)
    asked = request("target", LOOSE, target=of_constants(CONSTANTS))
    assert asked.target == of_constants(CONSTANTS, 0.4)


@pytest.mark.parametrize("volume_is", ["at most", "equal"])
@pytest.mark.parametrize("isotropy", [0.0, 0.05])
@pytest.mark.parametrize("min_young", [0.0, 0.1])
def test_constraints_are_those_asked_for(volume_is, isotropy, min_young):
    asked = request("bulk", Constraints(0.4, volume_is, isotropy, min_young))
    tensor = jnp.asarray(elasticity.cubic_to_voigt(CONSTANTS), jnp.float32)
    found = constraints(asked.problem, asked.limits, tensor, jnp.float32(0.3))
    assert len(found) == asked.problem.num_constraints
    zener, young = (elasticity.moduli(CONSTANTS)[k] for k in ("zener", "E"))
    expected = [0.3 / 0.4 - 1]
    if volume_is == "equal":
        expected.append(1 - 0.3 / 0.4)
    if isotropy:
        expected += [np.log(zener) - np.log(1.05), -np.log(zener) - np.log(1.05)]
    if min_young:
        expected.append(1 - young / 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"volume_is": "about"}, "volume_is='about' is unknown. Use 'at most' or"),
        ({"min_young": 0.4}, "min_young=0.4 is above 0.4, the Voigt limit"),
        ({"objective": "target"}, "objective=target needs a target"),
        (
            {"objective": "target", "target": "0.1,0.04,0.04", "symmetry": "x"},
            "objective=target is for tensors of cubic cells, and symmetry=x",
        ),
        (
            {"objective": "target", "target": "0.45,0.39,0.03"},
            "exceeds the Hashin-Shtrikman limit",
        ),
        (
            {"objective": "target", "target": "E=0.1"},
            "target E=0.1 leaves constants free",
        ),
        (
            {"objective": "target", "target": Target((("E", 0.1),))},
            "target E=0.1 leaves constants free",
        ),
        (
            {"objective": "target", "target": "E=0.1,nu=0.3,zener=1,V=0.3"},
            "asks for volume 0.3 and volume=0.4 is given. Give it once",
        ),
    ],
    ids=str,
)
def test_refusals(values, message):
    rest = {"objective": "bulk"} | values
    limits = {k: rest.pop(k) for k in Constraints._fields if k in rest}
    with pytest.raises(InputError, match=message):
        request(constraints=LOOSE._replace(**limits), **rest)


def test_what_is_not_refused():
    # A target of parts is for the model that draws starts.
    assert request("bulk", LOOSE, target="E=0.1").target.asked == (("E", 0.1),)
    stiff = Constraints(0.4, min_young=0.5)
    assert request("bulk", stiff, allow_infeasible=True).limits.young == 0.5
